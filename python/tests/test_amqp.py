"""A clerk's channel, driven as the server drives it; and the classes that handlers are made of."""
import asyncio
import contextlib
import datetime
import decimal
import io
import logging
import marshal
import mmap
import os
import threading
import unittest
from unittest import mock

from hurricane.amqp import message
from hurricane.amqp.basehandler import TopicHandler, _AMQPConsumer
from hurricane.amqp.exceptions import ChannelClosed
from hurricane.amqp.worker import AMQPClient
from hurricane.worker import amqp, frame
from hurricane.worker.application import LoadError
from server import PATIENCE, pair


class Handler(TopicHandler):
    """Does what the test says."""

    def __init__(self, act):
        super().__init__("queue", "exchange", "host", 5672, "/")
        self.act = act

    def on_message(self, channel, basic_deliver, properties, body):
        return self.act(self, channel, basic_deliver, properties, body)


class AsyncHandler(Handler):
    async def on_message(self, channel, basic_deliver, properties, body):
        await self.act(self, channel, basic_deliver, properties, body)


def acknowledge(handler, channel, deliver, properties, body):
    handler.acknowledge_message(deliver.delivery_tag)


def event(number, body=b"body", properties=None):
    return (number, "exchange", "key", False, "tag", 1, properties, body)


class Server:
    """Gives messages to a clerk, and hears what it says."""

    def __init__(self, test, handler, cls=amqp.ThreadClerk, **values):
        # Else the clerk is slow, and says so, whenever the machine has other things to do.
        linger = mock.patch.object(amqp, "LINGER", PATIENCE)
        linger.start()
        test.addCleanup(linger.stop)
        self.channel, events = pair(test)
        self.begun = memoryview(mmap.mmap(-1, 8)).cast("I")
        # One socket for both directions, of which the clerk has two descriptors.
        descriptors = [os.dup(events.fileno()) for _ in range(2)]
        self.clerk = cls(1, descriptors, handler, self.begun, None, **values)
        self.test = test
        self.clerk.start()
        test.addCleanup(self.stop)

    def stop(self):
        self.channel.sock.close()
        self.clerk.join(PATIENCE)
        self.test.assertFalse(self.clerk.is_alive(), "the clerk goes on without its channel")
        for sock in (self.clerk.events.sock, self.clerk.sent):
            sock.close()

    def give(self, *events):
        self.channel.send(frame.EVENTS, list(events))

    def hear(self, count):
        """So many items, without the times in them."""
        items = []
        while len(items) < count:
            kind, said = self.channel.receive()
            self.test.assertEqual(kind, frame.SENT)
            items += said
        return [item if len(item) > 3 else (item[0], *item[2:]) for item in items]


class ThreadClerk(unittest.TestCase):
    def test_a_batch_is_answered_in_one_write(self):
        server = Server(self, Handler(acknowledge))
        server.give(event(1))
        # So far nobody knows that it is quick.
        self.assertEqual(server.hear(2), [(1, message.ACK, False, None), (1, None)])
        server.give(*(event(number) for number in range(2, 30)))
        kind, said = server.channel.receive()
        self.assertEqual([(item[0], item[2]) for item in said], [(n, message.ACK) for n in range(2, 30)])
        self.assertEqual(server.begun[1], 29)

    def test_a_message_is_what_pika_gives(self):
        seen = []
        server = Server(self, Handler(lambda handler, *given: seen.append(given)))
        headers = {"at": ("T", 0), "price": ("D", 2, 314), "a": [("T", 1)]}
        properties = {"content_type": "text/plain", "_headers": headers}
        server.give(event(7, properties=properties), event(8))
        self.assertEqual(server.hear(2), [(7, None), (8, None)])
        (channel, deliver, properties, body), (_, _, nothing, _) = seen
        self.assertEqual((deliver.delivery_tag, deliver.exchange, deliver.routing_key), (7, "exchange", "key"))
        self.assertEqual((deliver.redelivered, deliver.consumer_tag, deliver.attempt), (False, "tag", 1))
        self.assertEqual(body, b"body")
        self.assertEqual(properties.content_type, "text/plain")
        self.assertIsNone(properties.app_id)
        self.assertEqual(properties.headers["at"], datetime.datetime(1970, 1, 1))
        self.assertEqual(properties.headers["price"], decimal.Decimal("3.14"))
        self.assertEqual(nothing, message.BasicProperties())
        self.assertTrue(channel.is_open)

    def test_what_a_handler_can_say_of_a_message(self):
        def act(handler, channel, deliver, properties, body):
            tag = deliver.delivery_tag
            {1: lambda: handler.reject_message(tag), 2: lambda: handler.reject_message(tag, requeue=True),
             3: lambda: channel.basic_nack(tag), 4: lambda: channel.basic_ack(tag, multiple=True),
             5: lambda: channel.basic_ack(multiple=True), 6: lambda: channel.retry(tag, after=1.5),
             7: lambda: channel.basic_reject(tag, requeue=False)}[tag]()

        server = Server(self, Handler(act))
        server.clerk.slow = False
        server.give(*(event(number) for number in range(1, 8)))
        self.assertEqual(server.hear(10), [
            (1, message.REJECT), (2, message.REQUEUE), (3, message.REQUEUE), (4, message.ACK, True, None), (4, None),
            (message.LAST, message.ACK, True, None), (5, None), (6, message.RETRY, False, 1500), (6, None),
            (7, message.REJECT)])

    def test_an_exception_is_shown_and_told(self):
        def act(handler, channel, deliver, properties, body):
            if deliver.delivery_tag == 2:
                handler.acknowledge_message(2)
            raise SystemExit(1) if deliver.delivery_tag == 3 else RuntimeError("on purpose")

        server = Server(self, Handler(act))
        server.clerk.slow = False
        with self.assertLogs("hurricane.amqp.general", logging.ERROR) as logs:
            server.give(event(1), event(2), event(3))
            # What was acknowledged before stays so.
            self.assertEqual(server.hear(4), [(1,), (2, message.ACK, False, None), (2,), (3,)])
        self.assertIn("RuntimeError: on purpose", logs.output[0])
        self.assertIn("(attempt 1); it is tried again", logs.output[0])

    def test_other_threads_settle_and_publish_at_once(self):
        release = threading.Event()
        self.addCleanup(release.set)

        def act(handler, channel, deliver, properties, body):
            def elsewhere():
                channel.basic_publish("x", "y", "text")
                handler.acknowledge_message(deliver.delivery_tag)

            threading.Thread(target=elsewhere).start()
            release.wait(PATIENCE)

        server = Server(self, Handler(act))
        server.give(event(1))
        said = server.hear(2)
        self.assertEqual(said, [(0, "x", "y", [], b"text", False), (1, message.ACK, False, None)])
        release.set()
        self.assertEqual(server.hear(1), [(1, None)])

    def test_what_cannot_be_published_fails_where_it_is_published(self):
        channel = message.Channel(mock.Mock(closed=False))
        properties = message.BasicProperties
        for wrong in (properties(content_type=b"text/plain"), properties(priority=256), properties(headers={1: 2}),
                      properties(headers={"a": object()}), properties(headers={"a": 2**64}),
                      properties(headers={"a": decimal.Decimal("NaN")}), properties(timestamp=-1)):
            with self.assertRaises((TypeError, ValueError)):
                channel.basic_publish("", "key", b"", wrong)
        with self.assertRaises(TypeError):
            channel.basic_publish(None, "key", b"")
        with self.assertRaises(ChannelClosed):
            message.Channel(mock.Mock(closed=True)).basic_publish("", "key", b"")

    def test_what_is_published_is_plain(self):
        class Text(str):
            pass

        headers = {"a": 1, "b": 2**40, "c": 0.5, "d": decimal.Decimal("-0.0").copy_abs(), "e": [b"x", {"f": None}],
                   "t": datetime.datetime(1970, 1, 2, tzinfo=datetime.timezone.utc), "s": Text("s")}
        sent = message.sent(message.BasicProperties(headers=headers, delivery_mode=2, app_id=Text("app")))
        marshal.dumps(sent, 2)
        self.assertEqual(dict(sent)["headers"], [
            ("a", 1), ("b", ("l", str(2**40))), ("c", ("d", "0.5")), ("d", ("D", "1 0")),
            ("e", [b"x", ("F", [("f", None)])]), ("t", ("T", "86400")), ("s", "s")])


class LoopClerk(unittest.TestCase):
    def test_messages_are_handled_at_the_same_time(self):
        both = []

        async def act(handler, channel, deliver, properties, body):
            both.append(deliver.delivery_tag)
            while len(both) < 2:
                await asyncio.sleep(0)
            channel.basic_publish("", "to", str(deliver.delivery_tag))
            handler.acknowledge_message(deliver.delivery_tag)

        server = Server(self, AsyncHandler(act), amqp.LoopClerk, timeout=0)
        server.give(event(1), event(2))
        said = server.hear(6)
        for number in (1, 2):
            mine = [item for item in said if item[0] == number]
            published = (number, "", "to", [], str(number).encode(), False)
            self.assertEqual(mine, [published, (number, message.ACK, False, None), (number, None)])
        self.assertEqual(server.begun[1], 2)

    def test_one_that_takes_too_long_is_ended(self):
        async def act(handler, channel, deliver, properties, body):
            await asyncio.sleep(PATIENCE)

        server = Server(self, AsyncHandler(act), amqp.LoopClerk, timeout=0.01)
        with self.assertLogs("hurricane.amqp.general", logging.ERROR) as logs:
            server.give(event(1))
            self.assertEqual(server.hear(1), [(1,)])
        self.assertIn("TimeoutError", logs.output[0])


class Loading(unittest.TestCase):
    def test_a_handler_says_how_its_queue_is_bound(self):
        self.assertEqual(amqp.fact(Handler(None), False), ("topic", [], 100, False))
        handler = Handler(None)
        handler.get_routing_keys = lambda queue: [queue + ".#"]
        handler._prefetch_count = 7
        self.assertEqual(amqp.fact(handler, True), ("topic", ["queue.#"], 7, True))
        handler._prefetch_count = 2**16
        with self.assertRaises(LoadError), contextlib.redirect_stderr(io.StringIO()) as shown:
            amqp.fact(handler, True)
        self.assertIn("_prefetch_count", shown.getvalue())

    def test_what_is_no_handler_is_refused(self):
        with self.assertRaisesRegex(LoadError, "The type <class 'unittest.case.TestCase'> is not subclass"):
            amqp.load_class("unittest.TestCase")
        with self.assertRaisesRegex(LoadError, "has no attribute 'Nothing'"):
            amqp.load_class("unittest.Nothing")


class Consumer(unittest.TestCase):
    """What those who drive the classes themselves do with them."""

    def setUp(self):
        self.consumer = _AMQPConsumer("test", "test", "localhost", 5672)

    def test_stopping_cancels_and_stops_the_loop(self):
        self.consumer._channel, self.consumer._connection = mock.Mock(), mock.Mock()
        self.consumer._consuming = True
        self.consumer.stop()
        self.consumer._channel.basic_cancel.assert_called_once()
        self.consumer._connection.ioloop.stop.assert_called_once_with()
        self.consumer.stop()
        self.consumer._channel.basic_cancel.assert_called_once()

    def test_the_end_of_subscription_and_connection(self):
        self.consumer._channel = channel = mock.Mock()
        self.consumer.on_consumer_cancelled("frame")
        self.consumer.on_cancelok(None, "frame")
        self.assertEqual(channel.close.call_count, 2)
        self.consumer._connection = mock.Mock()
        self.consumer._closing = True
        self.consumer.on_connection_closed(None, Exception("reason"))
        self.consumer._connection.ioloop.stop.assert_called_once_with()
        self.assertIsNone(self.consumer._channel)

    def test_a_handler_has_to_say_what_it_does(self):
        with self.assertRaises(NotImplementedError):
            self.consumer.on_message(None, None, None, b"")
        with self.assertRaisesRegex(NotImplementedError, "hurricane consume"):
            self.consumer.run()

    def test_the_client_runs_its_consumer(self):
        client = AMQPClient(_AMQPConsumer, "test", "test", "test", 5672, "/")
        client._consumer.run = mock.Mock(side_effect=KeyboardInterrupt)
        client.run(reconnect=True)
        client._consumer.run.assert_called_once_with()
        with self.assertRaises(TypeError), self.assertLogs("hurricane.amqp.general", logging.ERROR):
            AMQPClient(object, "test", "test", "test", 5672, "/")


if __name__ == "__main__":
    unittest.main()
