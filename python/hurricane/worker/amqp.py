"""Handlers of messages: each message of a handler is handled by a clerk, a thread or an event loop.

A clerk has a channel of its own. Messages come as the list in an ``EVENTS`` frame, each ``(number, exchange, routing
key, redelivered, consumer tag, attempt, {property: value} or None, body)``. What it says goes as the list in a
``SENT`` frame, each item one of:

- ``(number, time, outcome or None)``: the handler has returned, after so many microseconds, and has settled the message
- ``(number, time)``: it has raised an exception, whose traceback has been shown; the message is tried again
- ``(number, outcome, multiple, milliseconds or None)``: a message is settled, or with ``multiple`` all up to it
- ``(number, exchange, routing key, [(property, value)], body, mandatory)``: something is to be published, while that
  message is handled, or none (0)
"""
import asyncio
import contextvars
import inspect
import logging
import mmap
import os
import platform
import socket
import sys
import threading
import traceback
from time import monotonic

from ..amqp import message
from ..amqp.basehandler import _AMQPConsumer
from . import application, checks, frame

logger = logging.getLogger("hurricane.amqp.general")

# Acknowledgements wait for each other at most so long (seconds), and not at all where messages take longer than this.
LINGER = 0.005
# Database connections of an event loop are looked at so often (seconds).
SWEEP = 1.0

# What may be overridden, and is not called: the server does it.
UNCALLED = (
    "connect", "close_connection", "on_connection_open", "on_connection_open_error", "on_connection_closed",
    "reconnect", "open_channel", "on_channel_open", "add_on_channel_close_callback", "on_channel_closed",
    "setup_exchange", "on_exchange_declareok", "setup_queue", "on_queue_declareok", "on_bindok", "set_qos",
    "on_basic_qos_ok", "start_consuming", "add_on_cancel_callback", "on_consumer_cancelled", "stop_consuming",
    "on_cancelok", "close_channel", "run", "stop",
)


def run(worker, config):
    """Handles messages until the server closes the worker's channels."""
    handlers, concurrency, timeout = config.handlers
    classes = load([handler[0] for handler in handlers])
    begun = memoryview(mmap.mmap(config.begun, 0)).cast("I")
    sweep = sweeper()
    clerks, facts = [], []
    for index, (cls, (_, *arguments)) in enumerate(zip(classes, handlers)):
        is_async = inspect.iscoroutinefunction(cls.on_message)
        for place in range(1 if is_async else concurrency):
            channel = index * concurrency + place
            handler = make(cls, arguments)
            wanted = channel, config.data[channel], handler, begun, sweep
            clerks.append(LoopClerk(*wanted, timeout=timeout / 1000) if is_async else ThreadClerk(*wanted))
        facts.append(fact(handler, is_async))
    for descriptors in unused(config.data, {clerk.index for clerk in clerks}):
        for descriptor in descriptors:
            os.close(descriptor)
    django = sys.modules["django"].get_version() if checks.has_django() else None
    worker.slots = clerks
    worker.ready(frame.HANDLING, (frame.PROTOCOL, platform.python_version(), django, facts))
    worker.obey()
    for clerk in clerks:
        clerk.join()


def load(names):
    """The classes, with Django set up where there is a project."""
    application.find()
    if os.environ.get("DJANGO_SETTINGS_MODULE") or application.settings_module_of_manage_py("manage.py"):
        application.set_up_django()
    return [load_class(name) for name in names]


def load_class(name):
    module, _, attribute = name.rpartition(".")
    found = application.importing(module)
    try:
        found = getattr(found, attribute)
    except AttributeError:
        raise application.LoadError("application", f"module {module!r} has no attribute {attribute!r}") from None
    if not (isinstance(found, type) and issubclass(found, _AMQPConsumer)):
        raise application.LoadError("application", f"The type {found} is not subclass of _AMQPConsumer")
    for method in UNCALLED:
        if getattr(found, method) is not getattr(_AMQPConsumer, method):
            logger.warning("%s overrides %s, which is not called: the server has the connection", name, method)
    return found


def make(cls, arguments):
    try:
        return cls(*arguments)
    except BaseException:
        application.show()
        raise application.LoadError("application", f"{cls.__module__}.{cls.__qualname__} cannot be made") from None


def fact(handler, is_async):
    """What the server is to know of a handler."""
    try:
        kind = str(getattr(handler.EXCHANGE_TYPE, "value", handler.EXCHANGE_TYPE))
        keys = [str(key) for key in handler.get_routing_keys(handler._queue_name) or ()]
        prefetch = int(handler._prefetch_count)
        if not 0 <= prefetch < 2**16:
            raise ValueError(f"_prefetch_count is a number from 0 to 65535, not {prefetch}")
        return kind, keys, prefetch, is_async
    except BaseException:
        application.show()
        name = f"{type(handler).__module__}.{type(handler).__qualname__}"
        raise application.LoadError("application", f"{name} does not tell how its queue is bound") from None


def unused(data, used):
    return [descriptors for index, descriptors in enumerate(data) if index not in used]


def sweeper():
    """What is done between messages: connections to databases that are too old, or broken, are closed."""
    if not checks.has_django():
        return None
    from django.conf import settings
    from django.db import close_old_connections, connections, reset_queries

    engines = [values.get("ENGINE") for values in connections.settings.values()]
    if all(engine == "django.db.backends.dummy" for engine in engines):
        return None

    def sweep():
        close_old_connections()
        if settings.DEBUG:
            reset_queries()

    return sweep


def connected(handler, channel):
    """The handler has a channel, as if it had opened one itself."""
    handler._channel = channel
    handler._consuming = handler.was_consuming = True


class Clerk(threading.Thread):
    """Has a handler, and a channel to the server."""

    def __init__(self, index, descriptors, handler, begun, sweep):
        super().__init__(name=f"hurricane-handler-{index}", daemon=True)
        self.index = index
        events, self.sent = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        events.set_inheritable(False)
        self.sent.set_inheritable(False)
        self.events = frame.Channel(events)
        self.handler = handler
        self.channel = message.Channel(self)
        connected(handler, self.channel)
        self.begun = begun
        self.count = 0
        self.sweep = sweep
        self.out = []                   # what is to be sent with the next flush
        self.closed = False

    def begin(self):
        """Counts a message. Should this process be killed, the server still reads there what it had begun."""
        self.count = self.count + 1 & 0xFFFFFFFF
        self.begun[self.index] = self.count


class ThreadClerk(Clerk):
    """Handles one message after the other."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.sending = threading.Lock()
        self.flushed = 0.0
        self.slow = True                # so far as is known
        self.number = 0                 # of the message that is being handled
        self.verdict = None             # what its handler wants to become of it

    def run(self):
        receive, handle = self.events.receive, self.handle
        while True:
            try:
                received = receive()
            except ConnectionResetError:
                received = None
            if received is None:
                self.closed = True
                return
            if self.sweep is not None:
                self.sweep()
            self.flushed = monotonic()
            for event in received[1]:
                handle(event)
            self.flush()

    def handle(self, event):
        number, exchange, routing_key, redelivered, consumer_tag, attempt, properties, body = event
        self.begin()
        self.number = number
        self.verdict = None
        deliver = message.Deliver(number, exchange, routing_key, redelivered, consumer_tag, attempt)
        began = monotonic()
        try:
            self.handler.on_message(self.channel, deliver, message.received(properties), body)
        except BaseException:
            ended = monotonic()
            failed(self.handler, deliver)
            verdict = self.verdict
            if verdict is not None:
                self.out.append((number, verdict, False, None))
            self.out.append((number, int((ended - began) * 1e6)))
        else:
            ended = monotonic()
            self.out.append((number, int((ended - began) * 1e6), self.verdict))
        self.number = 0
        self.slow = ended - began > LINGER
        if self.sweep is not None:
            self.sweep()
        if ended - self.flushed > LINGER:
            self.flush()

    def settle(self, number, outcome, multiple, after=None):
        if threading.get_ident() != self.ident:
            self.send([(number, outcome, bool(multiple), after)])
        elif number == self.number and not multiple and after is None and self.verdict is None and not self.slow:
            # It goes along with the news that the handler has returned.
            self.verdict = outcome
        else:
            self.out.append((number, outcome, bool(multiple), after))
            if self.slow:
                self.flush()

    def publish(self, *item):
        if threading.get_ident() != self.ident:
            self.send([(0, *item)])
        else:
            self.out.append((self.number, *item))

    def flush(self):
        self.flushed = monotonic()
        if self.out:
            out, self.out = self.out, []
            self.send(out)

    def send(self, items):
        data = frame.encode(frame.SENT, items)
        try:
            with self.sending:
                self.sent.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True      # the server is gone, or has given this worker up


class LoopClerk(Clerk):
    """Handles messages at the same time, on an event loop."""

    def __init__(self, *arguments, timeout):
        super().__init__(*arguments)
        self.swept = 0.0
        self.timeout = timeout or None
        self.flushing = False
        self.tasks = set()
        self.current = contextvars.ContextVar("message", default=0)
        self.loop = None

    def run(self):
        from .asgi import end_tasks, new_loop

        self.loop = new_loop("auto")
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self.serve())
        finally:
            self.closed = True
            self.loop.run_until_complete(end_tasks())
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def serve(self):
        self.ended = self.loop.create_future()
        self.loop.add_reader(self.events.sock.fileno(), self.read)
        await self.ended
        self.loop.remove_reader(self.events.sock.fileno())

    def read(self):
        while True:
            try:
                received = self.events.receive(socket.MSG_DONTWAIT)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionResetError:
                received = None
            if received is None:
                if not self.ended.done():
                    self.ended.set_result(None)
                return
            for event in received[1]:
                task = self.loop.create_task(self.handle(*event))
                # The loop itself holds them weakly.
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)

    async def handle(self, number, exchange, routing_key, redelivered, consumer_tag, attempt, properties, body):
        self.begin()
        self.current.set(number)
        deliver = message.Deliver(number, exchange, routing_key, redelivered, consumer_tag, attempt)
        if self.sweep is not None and monotonic() - self.swept > SWEEP:
            self.swept = monotonic()
            await in_thread(self.sweep)
        began = monotonic()
        try:
            handling = self.handler.on_message(self.channel, deliver, message.received(properties), body)
            await (asyncio.wait_for(handling, self.timeout) if self.timeout else handling)
        except BaseException as error:
            if self.ended.done():
                raise
            failed(self.handler, deliver)
            self.emit((number, int((monotonic() - began) * 1e6)))
            if not isinstance(error, (Exception, asyncio.CancelledError)):
                raise
        else:
            self.emit((number, int((monotonic() - began) * 1e6), None))

    def settle(self, number, outcome, multiple, after=None):
        self.say((number, outcome, bool(multiple), after))

    def publish(self, *item):
        self.say((self.current.get(), *item))

    def say(self, item):
        if threading.get_ident() == self.ident:
            self.emit(item)
        elif not self.closed:
            self.loop.call_soon_threadsafe(self.emit, item)

    def emit(self, item):
        self.out.append(item)
        if not self.flushing:
            self.flushing = True
            self.loop.call_soon(self.flush)

    def flush(self):
        self.flushing = False
        out, self.out = self.out, []
        try:
            self.sent.sendall(frame.encode(frame.SENT, out))
        except (BrokenPipeError, ConnectionResetError):
            self.closed = True


async def in_thread(function):
    """Where code that is not asynchronous runs, and so where its connections are."""
    from asgiref.sync import sync_to_async

    await sync_to_async(function)()


def failed(handler, deliver):
    """Tells of the exception that is being handled."""
    name = f"{type(handler).__module__}.{type(handler).__qualname__}"
    kind, error, trace = sys.exc_info()
    while trace is not None and trace.tb_next is not None and application.is_ours(trace):
        trace = trace.tb_next
    if logger.hasHandlers():
        logger.error("%s failed at message %s (attempt %s); it is tried again", name, deliver.delivery_tag,
                     deliver.attempt, exc_info=(kind, error, trace))
    else:
        print(f"{name} failed at message {deliver.delivery_tag} (attempt {deliver.attempt}); it is tried again",
              file=sys.stderr)
        traceback.print_exception(kind, error, trace)
        sys.stderr.flush()
