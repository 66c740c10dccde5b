"""What a handler is given: how a message was delivered, its properties, and the way back to the broker."""
import calendar
import datetime
import decimal

from .exceptions import ChannelClosed

ACK, REQUEUE, REJECT, RETRY = range(4)

# Stands for all numbers up to the last one.
LAST = 2**31 - 1

TEXTS = {"content_type", "content_encoding", "correlation_id", "reply_to", "expiration", "message_id", "type",
         "user_id", "app_id", "cluster_id"}
OCTETS = {"delivery_mode", "priority"}
NAMES = TEXTS | OCTETS | {"headers", "timestamp"}


class Deliver:
    """How a message was delivered.

    The delivery tag is a number of this process's own, which stays the message's when the connection is made again.
    """

    __slots__ = ("attempt", "consumer_tag", "delivery_tag", "exchange", "redelivered", "routing_key")

    def __init__(self, delivery_tag, exchange, routing_key, redelivered, consumer_tag, attempt):
        self.delivery_tag = delivery_tag
        self.exchange = exchange
        self.routing_key = routing_key
        self.redelivered = redelivered
        self.consumer_tag = consumer_tag
        self.attempt = attempt

    def __repr__(self):
        return "<Deliver(" + ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__) + ")>"


class BasicProperties:
    """What the publisher says about a message: the properties of AMQP 0-9-1, ``None`` where it says nothing."""

    content_type = content_encoding = headers = delivery_mode = priority = correlation_id = reply_to = None
    expiration = message_id = timestamp = type = user_id = app_id = cluster_id = None

    def __init__(self, content_type=None, content_encoding=None, headers=None, delivery_mode=None, priority=None,
                 correlation_id=None, reply_to=None, expiration=None, message_id=None, timestamp=None, type=None,
                 user_id=None, app_id=None, cluster_id=None):
        given = locals()
        for name in NAMES:
            if given[name] is not None:
                setattr(self, name, given[name])

    def __eq__(self, other):
        return isinstance(other, BasicProperties) and vars(self) == vars(other)

    __hash__ = None

    def __repr__(self):
        return f"<BasicProperties({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})>"


def received(values):
    """Properties as they come from the server."""
    properties = BasicProperties.__new__(BasicProperties)
    if values is not None:
        if "_headers" in values:
            values["headers"] = {name: special(value) for name, value in values.pop("_headers").items()}
        properties.__dict__ = values
    return properties


def special(value):
    """A value in a table, in the types that pika has for them."""
    if type(value) is tuple:
        if value[0] == "T":
            return datetime.datetime.fromtimestamp(value[1], datetime.timezone.utc).replace(tzinfo=None)
        return decimal.Decimal(value[2]).scaleb(-value[1])
    if type(value) is list:
        return [special(item) for item in value]
    if type(value) is dict:
        return {name: special(item) for name, item in value.items()}
    return value


def sent(properties):
    """Properties as they go to the server, whatever has their attributes."""
    if properties is None:
        return []
    found = []
    for name in NAMES:
        value = getattr(properties, name, None)
        if value is None:
            continue
        if name in TEXTS:
            if not isinstance(value, str):
                raise TypeError(f"the property {name} is text, not {value!r}")
            value = str(value)
        elif name in OCTETS:
            value = int(value)
            if not 0 <= value <= 255:
                raise ValueError(f"the property {name} is a number from 0 to 255, not {value}")
        elif name == "timestamp":
            value = seconds(value)
        else:
            value = [table_item(key, item) for key, item in value.items()]
        found.append((name, value))
    return found


def table_item(name, value):
    if not isinstance(name, str):
        raise TypeError(f"the name of a header is text, not {name!r}")
    return str(name), field(value)


def field(value):
    """A value in a table, as the server reads it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        value = int(value)
        if -2**31 <= value < 2**31:
            return value
        if -2**63 <= value < 2**63:
            return "l", str(value)
        raise ValueError(f"the number {value} is too large for a header")
    if isinstance(value, float):
        return "d", repr(float(value))
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, datetime.datetime):
        return "T", str(seconds(value))
    if isinstance(value, decimal.Decimal):
        return "D", scaled(value)
    if isinstance(value, (list, tuple)):
        return [field(item) for item in value]
    if isinstance(value, dict):
        return "F", [table_item(key, item) for key, item in value.items()]
    raise TypeError(f"a header cannot be {value!r}")


def seconds(value):
    if isinstance(value, datetime.datetime):
        # Without a zone it is UTC, as pika has it.
        value = calendar.timegm(value.utctimetuple())
    value = int(value)
    if not 0 <= value < 2**60:
        raise ValueError(f"{value} is no time")
    return value


def scaled(value):
    sign, digits, exponent = value.as_tuple()
    number = int("".join(map(str, digits)) or "0") * 10**max(exponent, 0) if isinstance(exponent, int) else -1
    if sign or not 0 <= number < 2**32 or -exponent > 255:
        raise ValueError(f"{value} does not fit into a decimal number of AMQP")
    return f"{max(-exponent, 0)} {number}"


class Channel:
    """The way back to the broker, with the methods of pika's channels that a handler is for."""

    def __init__(self, clerk):
        self._clerk = clerk
        self.channel_number = 1

    @property
    def is_open(self):
        return not self._clerk.closed

    @property
    def is_closed(self):
        return self._clerk.closed

    def basic_ack(self, delivery_tag=0, multiple=False):
        """The message is done, and may be forgotten."""
        self._clerk.settle(delivery_tag or LAST, ACK, multiple or not delivery_tag)

    def basic_nack(self, delivery_tag=0, multiple=False, requeue=True):
        """The message goes back to its queue at once, or else to the dead letters."""
        self._clerk.settle(delivery_tag or LAST, REQUEUE if requeue else REJECT, multiple or not delivery_tag)

    def basic_reject(self, delivery_tag=0, requeue=True):
        self.basic_nack(delivery_tag, False, requeue)

    def retry(self, delivery_tag, after=None):
        """The message is delivered again later, as often as the consumer allows: after so many seconds, or the time
        that the consumer was told."""
        self._clerk.settle(delivery_tag, RETRY, False, None if after is None else max(0, int(after * 1000)))

    def basic_publish(self, exchange, routing_key, body, properties=None, mandatory=False):
        """Publishes a message.

        It does not wait. What becomes of the message that is being handled does: it is acknowledged when the broker has
        taken what was published before, and tried again when the broker has not.
        """
        if isinstance(body, str):
            body = body.encode()
        for text in (exchange, routing_key):
            if not isinstance(text, str):
                raise TypeError(f"an exchange and a routing key are text, not {text!r}")
        item = (str(exchange), str(routing_key), sent(properties), bytes(body), bool(mandatory))
        if self._clerk.closed:
            raise ChannelClosed("the server is gone, and nothing can be published")
        self._clerk.publish(*item)
