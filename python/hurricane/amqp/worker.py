"""Runs a consumer that has a connection of its own."""
import time

from .basehandler import _AMQPConsumer, logger

LONGEST_PAUSE = 30


class AMQPClient:
    """Runs a consumer, and makes another one when it has lost its connection.

    ``manage.py consume`` and ``hurricane consume`` do without it: their connection is the server's.
    """

    def __init__(self, consumer_class, queue_name, exchange_name, amqp_host, amqp_port, amqp_vhost, username=None,
                 password=None):
        if not (isinstance(consumer_class, type) and issubclass(consumer_class, _AMQPConsumer)):
            logger.error("The type %s is not subclass of _AMQPConsumer", consumer_class)
            raise TypeError(f"{consumer_class!r} is not a subclass of _AMQPConsumer")
        self._pause = 0
        self._make = lambda: consumer_class(queue_name, exchange_name, amqp_host, amqp_port, amqp_vhost, username,
                                            password)
        self._consumer = self._make()

    def run(self, reconnect=False):
        while True:
            try:
                self._consumer.run()
                if not (reconnect and self._consumer.should_reconnect):
                    return
                self._consumer.stop()
                self._pause = 0 if self._consumer.was_consuming else min(self._pause + 1, LONGEST_PAUSE)
                logger.warning("Reconnecting after %s seconds", self._pause)
                time.sleep(self._pause)
                self._consumer = self._make()
            except KeyboardInterrupt:
                self._consumer.stop()
                return
