"""The handlers for ``amqp.py`` and ``train.py``."""
import os
import time

from hurricane.amqp.basehandler import TopicHandler


class Noting(TopicHandler):
    """Notes what it has handled, in a file."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.notes = os.open(os.environ["LOAD_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def on_message(self, channel, basic_deliver, properties, body):
        time.sleep(0.001)
        os.write(self.notes, body + b"\n")
        self.acknowledge_message(basic_deliver.delivery_tag)


class Quick(TopicHandler):
    """Does nothing with what comes."""

    def on_message(self, channel, basic_deliver, properties, body):
        self.acknowledge_message(basic_deliver.delivery_tag)
