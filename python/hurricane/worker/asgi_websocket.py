"""One WebSocket of an ASGI application (the WebSocket part of the ASGI specification, version 2.5)."""
import sys
from collections import deque

from .asgi_http import ClientDisconnected, Stream, is_about_the_client, report

# So much may be on its way to the client before the application has to wait (characters or bytes, messages).
WINDOW = 256 * 1024
MESSAGES = 256
# The server is told that the application took so much (characters or bytes, messages).
STEP = 16 * 1024
STEP_MESSAGES = 64

# How far it is.
CONNECTING, DENYING, OPEN, CLOSED = range(4)


def begin(link, event):
    """Starts the task of a WebSocket."""
    stream, path, raw_path, query, version, client, headers, subprotocols = event
    scope = {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": version or "1.1",
        "scheme": "ws",
        "path": path,
        "raw_path": raw_path,
        "query_string": query,
        "root_path": link.root_path,
        "headers": headers,
        "client": client,
        "server": link.server,
        "subprotocols": subprotocols,
        "state": link.state.copy(),
        "extensions": {"websocket.http.response": {}},
    }
    socket = Socket(link, stream, path)
    link.streams[stream] = socket
    socket.task = link.tasks.start(socket.run(scope))


class Socket(Stream):
    """A WebSocket as the application has it in its hands: ``receive`` and ``send``."""

    __slots__ = ("path", "phase", "asked", "messages", "taken", "taken_length", "flying", "flying_length", "code",
                 "reason", "status", "headers", "denial")

    method = "WEBSOCKET"

    def __init__(self, link, stream, path):
        super().__init__(link, stream)
        self.path = path
        self.phase = CONNECTING
        self.asked = False            # the application has been told that a client wants to connect
        self.messages = deque()       # that have come and are not taken
        self.taken = 0                # what it took and the server has not been told of
        self.taken_length = 0
        self.flying = deque()         # the lengths of messages that the client has not taken
        self.flying_length = 0
        self.code = 1006              # how it was closed
        self.reason = ""
        self.status = self.headers = None
        self.denial = None

    async def run(self, scope):
        try:
            await self.link.application(scope, self.receive, self.send)
        except BaseException as error:
            if not self.is_over(error):
                report(self)
            self.link.emit((self.stream, None))
        else:
            if self.phase < OPEN and not self.gone:
                print(f"hurricane: the application returned without an answer to the WebSocket {self.path}",
                      file=sys.stderr, flush=True)
                self.link.emit((self.stream, None))
            else:
                self.link.emit((self.stream,))
        self.finish()

    def is_over(self, error):
        """Whether an exception says no more than that the client has gone, or that this task is to end since it has."""
        return self.gone and (is_about_the_client(error) or self.was_cancelled(error))

    # --- what the application calls

    async def receive(self):
        if not self.asked:
            self.asked = True
            return {"type": "websocket.connect"}
        messages = self.messages
        while True:
            if messages:
                data = messages.popleft()
                self.taken += 1
                self.taken_length += len(data)
                if self.taken_length >= STEP or self.taken >= STEP_MESSAGES:
                    self.link.emit((self.stream, self.taken))
                    self.taken = self.taken_length = 0
                if type(data) is str:
                    return {"type": "websocket.receive", "text": data}
                return {"type": "websocket.receive", "bytes": data}
            if self.gone or (self.phase == CLOSED and self.status is not None):
                return {"type": "websocket.disconnect", "code": self.code, "reason": self.reason}
            await self.wait()

    async def send(self, message):
        kind = message["type"]
        if self.gone:
            raise ClientDisconnected("the client has gone")
        if kind == "websocket.send" and self.phase == OPEN:
            data = message.get("text")
            if data is None:
                data = message["bytes"]
                if type(data) is not bytes:
                    data = bytes(data)
            elif type(data) is not str:
                data = "".join((data,))
            link, flying = self.link, self.flying
            link.out.append((self.stream, data))
            if not link.flushing:
                link.flush_soon()
            flying.append(len(data))
            self.flying_length += len(data)
            while self.flying_length > WINDOW or len(flying) > MESSAGES:
                await self.wait()
                if self.gone:
                    raise ClientDisconnected("the client has gone")
        elif kind == "websocket.accept" and self.phase == CONNECTING:
            subprotocol = message.get("subprotocol")
            if subprotocol is not None:
                subprotocol = "".join((subprotocol,))
            self.phase = OPEN
            self.link.emit((self.stream, subprotocol, list(message.get("headers") or ()), None))
        elif kind == "websocket.close" and self.phase == OPEN:
            code, reason = message.get("code"), message.get("reason")
            self.phase = CLOSED
            self.link.emit((self.stream, 1000 if code is None else int(code), "".join((reason or "",)), None))
        elif kind == "websocket.close" and self.phase == CONNECTING:
            self.deny(403, [], b"")
        elif kind == "websocket.http.response.start" and self.phase == CONNECTING:
            self.phase = DENYING
            self.headers = (message["status"], list(message.get("headers", ())))
            self.denial = []
        elif kind == "websocket.http.response.body" and self.phase == DENYING:
            self.denial.append(message.get("body", b""))
            if not message.get("more_body", False):
                self.deny(*self.headers, b"".join(self.denial))
        else:
            when = ("before it was accepted", "while it was denied", "while it was open", "after it was closed")
            raise RuntimeError(f"the application sent {kind!r} to a WebSocket {when[self.phase]}")

    def deny(self, status, headers, body):
        self.phase = CLOSED
        self.status = status
        self.link.emit((self.stream, status, headers, body, False))
        self.wake()

    # --- what the server tells

    def message(self, data):
        self.messages.append(data)
        if self.waiters:
            self.wake()

    def credit(self, count):
        """The client took so many messages."""
        if self.phase == OPEN:
            for _ in range(count):
                self.flying_length -= self.flying.popleft()
            self.wake()

    def closed(self, code, reason):
        self.code = code
        self.reason = reason
        self.disconnect()
