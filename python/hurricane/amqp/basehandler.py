"""The classes that handlers of messages are made of.

The server has the connection to the broker, and declares exchange and queue. A worker makes a handler and gives it the
messages. What a handler overrides, apart from ``on_message``: ``EXCHANGE_TYPE``, ``_prefetch_count`` and
``get_routing_keys``, from which the server takes how to declare, and whatever is its own.
"""
import logging

logger = logging.getLogger("hurricane.amqp.general")


class _AMQPConsumer:
    """A consumer of a queue."""

    EXCHANGE_TYPE = "topic"

    # How many messages the broker hands out ahead of their acknowledgement; `--prefetch` goes before it.
    _prefetch_count = 100

    def __init__(self, queue_name, exchange_name, host, port, vhost=None, username=None, password=None):
        self.should_reconnect = False
        self.was_consuming = False
        self._queue_name = queue_name
        self._exchange_name = exchange_name
        self._host = host
        self._port = port
        self._vhost = vhost
        self._username = username
        self._password = password
        self._connection = None
        self._channel = None
        self._closing = False
        self._consumer_tag = None
        self._consuming = False

    # --- what handlers are about

    def on_message(self, channel, basic_deliver, properties, body):
        """Handles a message; may be ``async``.

        It says what becomes of the message, by :meth:`acknowledge_message`, :meth:`reject_message` or the channel. When
        it raises an exception the message is tried again later.
        """
        raise NotImplementedError

    def get_routing_keys(self, queue_name):
        """The keys that the queue is bound with; for none its name."""
        return []

    def acknowledge_message(self, delivery_tag):
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("Acknowledging message %s", delivery_tag)
        self._channel.basic_ack(delivery_tag)

    def reject_message(self, delivery_tag, requeue=False):
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("Rejecting message %s", delivery_tag)
        self._channel.basic_nack(delivery_tag, requeue=requeue)

    # --- the connection, for those who bring one of their own; the server calls none of these

    def connect(self):
        raise NotImplementedError(
            "messages are consumed by `manage.py consume` or `hurricane consume`, which has the connection")

    def close_connection(self):
        self._consuming = False
        if self._connection is not None:
            logger.info("Closing connection")
            self._connection.close()

    def on_connection_open(self, connection):
        logger.info("Connection opened")
        self.open_channel()

    def on_connection_open_error(self, connection, error):
        logger.error("Connection open failed: %s", error)
        self.reconnect()

    def on_connection_closed(self, connection, reason):
        self._channel = None
        if self._closing:
            self._connection.ioloop.stop()
        else:
            logger.warning("Connection closed, reconnect necessary: %s", reason)
            self.reconnect()

    def reconnect(self):
        self.should_reconnect = True
        self.stop()

    def open_channel(self):
        logger.info("Creating a new channel")
        self._connection.channel(on_open_callback=self.on_channel_open)

    def on_channel_open(self, channel):
        logger.info("Channel opened")
        self._channel = channel
        self.add_on_channel_close_callback()
        self.setup_exchange(self._exchange_name)

    def add_on_channel_close_callback(self):
        logger.info("Adding channel close callback")
        self._channel.add_on_close_callback(self.on_channel_closed)

    def on_channel_closed(self, channel, reason):
        logger.warning("Channel %s was closed: %s", channel, reason)
        self.close_connection()

    def setup_exchange(self, exchange_name):
        logger.info("Declaring exchange: %s", exchange_name)
        self._channel.exchange_declare(exchange=exchange_name, exchange_type=self.EXCHANGE_TYPE,
                                       callback=self.on_exchange_declareok)

    def on_exchange_declareok(self, frame, userdata=None):
        logger.info("Exchange declared: %s", self._exchange_name)
        self.setup_queue(self._queue_name)

    def setup_queue(self, queue_name):
        logger.info("Declaring queue %s", queue_name)
        self._channel.queue_declare(queue=queue_name, callback=self.on_queue_declareok)

    def on_queue_declareok(self, frame, userdata=None):
        self._queue_name = frame.method.queue
        logger.info("Binding to %s", self._queue_name)
        for key in self.get_routing_keys(self._queue_name) or [self._queue_name]:
            self._channel.queue_bind(self._queue_name, self._exchange_name, routing_key=key, callback=self.on_bindok)

    def on_bindok(self, frame, userdata=None):
        logger.info("Queue bound: %s", self._queue_name)
        self.set_qos()

    def set_qos(self):
        self._channel.basic_qos(prefetch_count=self._prefetch_count, callback=self.on_basic_qos_ok)

    def on_basic_qos_ok(self, frame):
        logger.info("QOS set to: %s", self._prefetch_count)
        self.start_consuming()

    def start_consuming(self):
        logger.info("Issuing consumer")
        self.add_on_cancel_callback()
        self._consumer_tag = self._channel.basic_consume(self._queue_name, self.on_message)
        self.was_consuming = True
        self._consuming = True

    def add_on_cancel_callback(self):
        logger.info("Adding consumer cancellation callback")
        self._channel.add_on_cancel_callback(self.on_consumer_cancelled)

    def on_consumer_cancelled(self, frame):
        logger.info("Consumer was cancelled remotely, shutting down: %s", frame)
        if self._channel is not None:
            self._channel.close()

    def stop_consuming(self):
        if self._channel is not None:
            logger.info("Stopped consuming")
            self._channel.basic_cancel(self._consumer_tag, self.on_cancelok)

    def on_cancelok(self, frame, userdata=None):
        self._consuming = False
        self.close_channel()

    def close_channel(self):
        if self._channel is not None:
            self._channel.close()

    def run(self):
        self._connection = self.connect()
        self._connection.ioloop.start()

    def stop(self):
        if self._closing:
            return
        self._closing = True
        logger.info("Stopping")
        if self._consuming:
            self.stop_consuming()
        if self._connection is not None:
            self._connection.ioloop.stop()


class TopicHandler(_AMQPConsumer):
    """Of a topic exchange, which finds queues by patterns: ``*`` is one word, ``#`` any number."""

    EXCHANGE_TYPE = "topic"


class DirectHandler(_AMQPConsumer):
    """Of a direct exchange, which finds queues by the same key."""

    EXCHANGE_TYPE = "direct"


class FanoutHandler(_AMQPConsumer):
    """Of a fanout exchange, which finds all queues that are bound to it."""

    EXCHANGE_TYPE = "fanout"


class HeadersHandler(_AMQPConsumer):
    """Of a headers exchange, which finds queues by the headers of the message."""

    EXCHANGE_TYPE = "headers"
