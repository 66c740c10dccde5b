"""The server's end of a worker's channels, as the tests play it."""
import array
import mmap
import socket
import struct

from hurricane.worker import frame, main, wsgi

# What is bound to come, comes before this (seconds).
PATIENCE = 60


def pair(test):
    """A channel for the test, and the socket of the other end."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        test.addCleanup(sock.close)
    # Not `settimeout`: Python would wait even where it is told not to (MSG_DONTWAIT).
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", PATIENCE, 0))
    return frame.Channel(ours), theirs


def config(**values):
    """What the server tells a worker, as far as a slot needs it."""
    return main.Config({
        "app": None, "asgi_app": None, "root_path": "",
        "server_name": "localhost", "server_port": "8000", "server_software": "hurricane", "multiprocess": False,
        "static_files": False, "media_files": False, "interface": "auto", "data": [0],
        "lane": None, "lifespan": "auto", "event_loop": "asyncio", "disconnect_grace": 10_000, "begun": 0,
        "handlers": None, "tell_files": False, "debug": False, "debuggers": None, **values})


def request(stream, path="/", method="GET", headers=None, body=b""):
    return (stream, method, path, "", "HTTP/1.1", "127.0.0.1", "40000", headers or {}, body)


def send_with(sock, data, *files):
    """Sends bytes together with the descriptors of files."""
    numbers = array.array("i", [file.fileno() for file in files])
    sent = sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
    sock.sendall(data[sent:])


class Server:
    """Gives requests to a slot that runs an application, and takes its answers."""

    def __init__(self, test, application, begun=None, **values):
        self.channel, theirs = pair(test)
        self.begun = begun or memoryview(mmap.mmap(-1, 4)).cast("I")
        self.slot = wsgi.Slot(0, theirs, theirs, application, config(**values), self.begun)
        self.waiting = []
        self.spent = None          # the microseconds of the last frame, and for how many of them it was computing
        self.test = test
        self.slot.start()
        test.addCleanup(self.stop)

    def stop(self):
        self.channel.sock.close()
        self.slot.join(PATIENCE)
        self.test.assertFalse(self.slot.is_alive(), "the slot goes on without its channel")

    def give(self, *requests):
        self.channel.send(frame.REQUESTS, list(requests))

    def frame(self):
        """The answers of the next frame."""
        kind, (*self.spent, answers) = self.channel.receive()
        self.test.assertEqual(kind, frame.ANSWERS)
        self.test.assertGreaterEqual(self.spent[0], 0)
        return answers

    def answer(self):
        """The next answer."""
        while not self.waiting:
            self.waiting = self.frame()
        return self.waiting.pop(0)

    def response(self):
        """The next answer, put together when it comes in pieces; ``b"..."`` and ``None`` where it was cut off."""
        stream, *head = self.answer()
        if len(head) == 1:
            self.test.assertIsNone(head[0])
            return stream, None
        status, headers, body = head
        if body is not None:
            return stream, status, headers, body
        parts = []
        while True:
            piece = self.answer()
            self.test.assertEqual(piece[0], stream)
            if len(piece) == 1:
                return stream, status, headers, b"".join(parts)
            if piece[1] is None:
                return stream, status, headers, b"".join(parts), None
            parts.append(piece[1])

    def ask(self, **fields):
        """Gives one request; its response without the stream."""
        self.give(request(1, **fields))
        return self.response()[1:]
