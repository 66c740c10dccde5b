"""Handlers of a Django project."""
import os

from django.conf import settings
from django.db import connection
from hurricane.amqp.basehandler import TopicHandler


class Querying(TopicHandler):
    """Asks the database, and prints what comes."""

    def on_message(self, channel, basic_deliver, properties, body):
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 + 1")
            answer = cursor.fetchone()[0]
        print(f"{body.decode()} {answer} {settings.SECRET_KEY} {os.getppid()} {self._host} {self._vhost}", flush=True)
        if body == b"close":
            connection.connection.close()
        self.acknowledge_message(basic_deliver.delivery_tag)


class IncorrectHandler:
    pass
