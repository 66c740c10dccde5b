"""Handlers for the tests."""
import asyncio
import os
import signal
import time

import notes
from hurricane.amqp.basehandler import DirectHandler, FanoutHandler, HeadersHandler, TopicHandler, _AMQPConsumer
from hurricane.amqp.message import BasicProperties


class Noting(TopicHandler):
    """Notes what comes, and does what the message says."""

    def on_message(self, channel, basic_deliver, properties, body):
        text = body.decode()
        notes.note(text)
        if text.startswith("wait"):
            notes.wait_for("go")
        elif text.startswith("fail"):
            raise RuntimeError(f"{text} on purpose")
        elif text.startswith("exit"):
            raise SystemExit(3)
        elif text.startswith("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        elif text.startswith("hang"):
            time.sleep(60)
        elif text.startswith("slow"):
            time.sleep(0.05)
        elif text.startswith("reject"):
            return self.reject_message(basic_deliver.delivery_tag)
        elif text.startswith("keep"):
            return None
        self.acknowledge_message(basic_deliver.delivery_tag)
        notes.note(f"{text} done")


class Careful(Noting):
    """Fails once: what fails is tried again."""

    def on_message(self, channel, basic_deliver, properties, body):
        if body.startswith(b"hang") and basic_deliver.attempt > 1:
            body = b"again"
        elif body.startswith(b"die") and basic_deliver.attempt > 1:
            body = b"alive"
        super().on_message(channel, basic_deliver, properties, body)


class Counting(TopicHandler):
    """Only counts."""

    def on_message(self, channel, basic_deliver, properties, body):
        notes.note(body.decode())
        self.acknowledge_message(basic_deliver.delivery_tag)


class Sleepy(TopicHandler):
    """Takes its time for each."""

    def on_message(self, channel, basic_deliver, properties, body):
        time.sleep(0.05)
        notes.note(body.decode())
        self.acknowledge_message(basic_deliver.delivery_tag)


class Concurrent(TopicHandler):
    """Many at the same time: nobody passes before eight are there."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.here = 0
        self.most = 0

    async def on_message(self, channel, basic_deliver, properties, body):
        self.here += 1
        self.most = max(self.most, self.here)
        for _ in range(1000):
            if self.most >= 8:
                break
            await asyncio.sleep(0.01)
        self.here -= 1
        notes.note(f"{body.decode()} of {self.most >= 8}")
        self.acknowledge_message(basic_deliver.delivery_tag)


class AsyncFails(TopicHandler):
    async def on_message(self, channel, basic_deliver, properties, body):
        notes.note(body.decode())
        if basic_deliver.attempt == 1:
            await asyncio.sleep(30 if body == b"hang" else 0)
            raise RuntimeError("on purpose")
        channel.basic_ack(basic_deliver.delivery_tag)
        notes.note(f"{body.decode()} done")


class Replying(TopicHandler):
    """Publishes all that it gets, as often as the message says."""

    def on_message(self, channel, basic_deliver, properties, body):
        notes.note(f"attempt {basic_deliver.attempt}")
        if body == b"nowhere":
            channel.basic_publish("no such exchange", "x", body)
        elif body == b"wait":
            notes.wait_for("go")
            channel.basic_publish("", properties.reply_to, body)
        elif body.isdigit():
            for number in range(int(body)):
                channel.basic_publish("", properties.reply_to, str(number), BasicProperties(delivery_mode=2))
        else:
            channel.basic_publish("", properties.reply_to, body, properties)
        self.acknowledge_message(basic_deliver.delivery_tag)


class Keyed(Noting):
    """Bound with a key of its own."""

    _prefetch_count = 7

    def get_routing_keys(self, queue_name):
        return [queue_name + ".#"]

    def setup_exchange(self, exchange_name):
        raise NotImplementedError("the server does it")


class Direct(DirectHandler, Noting):
    pass


class Fanout(FanoutHandler, Noting):
    pass


class Headers(HeadersHandler, Noting):
    pass


class NoHandler:
    pass


class Unmade(_AMQPConsumer):
    def __init__(self, *args):
        raise RuntimeError("made on purpose")
