"""An event loop's channel, driven as the server drives it."""
import asyncio
import contextlib
import contextvars
import io
import mmap
import threading
import unittest

from hurricane.worker import asgi_link, frame
from server import PATIENCE, config, pair

OK = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}


def event(stream, body=b"", method="GET", version=None, takes=0):
    """An HTTP request as the server tells of it."""
    client, headers = ("127.0.0.1", 40000), [(b"host", b"h")]
    return (stream, method, "/\u00e4", b"/%C3%A4", b"q=1", version, client, headers, body, takes)


def body(data, more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


class Server:
    """Tells a loop of events, and takes what it sends."""

    def __init__(self, test, application, **values):
        self.channel, theirs = pair(test)
        self.loop = asyncio.new_event_loop()
        self.begun = memoryview(mmap.mmap(-1, 8)).cast("I")
        settings = config(**values)
        self.link = asgi_link.Link(self.loop, theirs, theirs, application, settings, self.begun, {"key": "value"})
        self.thread = threading.Thread(target=contextvars.copy_context().run, args=(self.run,))
        self.items = []
        self.test = test
        self.thread.start()
        test.addCleanup(self.stop)

    def run(self):
        asyncio.set_event_loop(self.loop)
        self.link.open()
        self.loop.run_until_complete(self.link.closed)
        # What a request that is not finished does at the end.
        tasks = asyncio.all_tasks(self.loop)
        for task in tasks:
            task.cancel()
        if tasks:
            self.loop.run_until_complete(asyncio.wait(tasks, timeout=PATIENCE))
        self.loop.close()

    def stop(self):
        self.channel.sock.close()
        self.thread.join(PATIENCE)
        self.test.assertFalse(self.thread.is_alive(), "the loop goes on without its channel")

    def tell(self, *events):
        self.channel.send(frame.EVENTS, list(events))

    def item(self):
        """The next thing that the loop says."""
        while not self.items:
            kind, self.items = self.channel.receive()
            self.test.assertEqual(kind, frame.SENT)
        return tuple(self.items.pop(0))

    def ask(self, **fields):
        """The answer to one request, which the application has returned from."""
        self.tell(event(1, **fields))
        stream, *answer, done = self.item()
        if not done:
            self.test.assertEqual(self.item(), (stream,))
        return tuple(answer)


class AsgiTest(unittest.TestCase):
    def setUp(self):
        redirected = contextlib.redirect_stderr(io.StringIO())
        self.log = redirected.__enter__().getvalue
        self.addCleanup(redirected.__exit__, None, None, None)

    def serve(self, application, **values):
        return Server(self, application, **values)


async def hello(scope, receive, send):
    await send(OK)
    await send(body(b"hello"))
