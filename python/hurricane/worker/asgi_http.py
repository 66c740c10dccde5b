"""One HTTP request of an ASGI application (the HTTP part of the ASGI specification, version 2.5)."""
import asyncio
import sys
import traceback
from collections import deque

from . import debug

# A body goes out in pieces of at most this size (bytes).
PIECE = 128 * 1024
# So much of a body may be on its way before the other side has made room (bytes).
WINDOW = 256 * 1024
# The server is told of the room for more of a body when it is so much (bytes).
STEP = 64 * 1024

ASGI = {"version": "3.0", "spec_version": "2.5"}
# Of which none has parameters. By what the client takes: 1 is trailers, 2 early hints, 3 both.
EXTENSIONS = (
    {"http.response.pathsend": {}},
    {"http.response.pathsend": {}, "http.response.trailers": {}},
    {"http.response.pathsend": {}, "http.response.early_hint": {}},
    {"http.response.pathsend": {}, "http.response.early_hint": {}, "http.response.trailers": {}},
)

# How far the response is.
NOTHING, HEAD, BODY, TRAILERS, COMPLETE = range(5)


class ClientDisconnected(OSError):
    """``send`` after the client has gone."""


def scope_of(link):
    """What is the same for all requests, what is so for most, and the names of the rest."""
    return {
        "type": "http",
        "asgi": None,
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": None,
        "raw_path": None,
        "query_string": b"",
        "root_path": link.root_path,
        "headers": None,
        "client": None,
        "server": link.server,
        "state": None,
        "extensions": None,
    }


class Stream:
    """What a request and a WebSocket have in common."""

    __slots__ = ("link", "stream", "task", "waiters", "gone")

    def __init__(self, link, stream):
        self.link = link
        self.stream = stream
        self.task = None
        self.waiters = None
        self.gone = None             # once the client has left: the timer after which the task is cancelled

    def disconnect(self):
        """The client has left: the task has some time to end by itself."""
        if not self.gone:
            self.gone = self.link.loop.call_later(self.link.grace, self.cancel)
            self.wake()

    def cancel(self):
        self.task.cancel()

    def was_cancelled(self, error):
        """Whether it is how a task ends that has been cancelled after its client had left."""
        return self.gone and isinstance(error, asyncio.CancelledError)

    def wait(self):
        """To be awaited until something has happened: a future for each who waits, each may be cancelled by itself."""
        waiter = self.link.loop.create_future()
        if self.waiters is None:
            self.waiters = [waiter]
        else:
            self.waiters.append(waiter)
        return waiter

    def wake(self):
        waiters = self.waiters
        if waiters:
            self.waiters = None
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def finish(self):
        """The task ends."""
        del self.link.streams[self.stream]
        if self.gone:
            self.gone.cancel()


class Request(Stream):
    """A request and its response, as the application has them in its hands: ``receive`` and ``send``."""

    __slots__ = ("scope", "method", "path", "parts", "unread", "phase", "status", "headers", "trailers", "room",
                 "answer", "batch")

    def __init__(self, link, event):
        self.stream, self.method, self.path, raw_path, query, version, client, headers, body, takes = event
        # What `Stream` does, without the call.
        self.link = link
        self.task = self.waiters = self.gone = None
        # Copying is quicker than building, and what is in the copy need not be set.
        self.scope = scope = link.request_scope.copy()
        scope["asgi"] = ASGI.copy()
        if version is not None:
            scope["http_version"] = version
        if self.method != "GET":
            scope["method"] = self.method
        scope["path"] = self.path
        scope["raw_path"] = raw_path
        if query:
            scope["query_string"] = query
        scope["headers"] = headers
        scope["client"] = client
        scope["state"] = link.state.copy() if link.state else {}
        scope["extensions"] = EXTENSIONS[takes].copy()
        self.phase = NOTHING         # then come its status, headers and whether there will be trailers
        self.parts = body            # of the body that have come and are not taken; None after the last one
        if type(body) is not bytes:
            self.expect(body)

    def expect(self, wanted):
        """The body is to come: at once, or when the application asks for it, as the client waits for that."""
        self.parts = deque()
        if wanted:
            self.unread = WINDOW     # what the application took and the server has not been told of (bytes)
        else:
            self.unread = 0
            self.link.emit((self.stream, WINDOW))

    async def run(self):
        """All of it, in a task of its own; `Tasks.run` has the same for several."""
        try:
            await self.link.application(self.scope, self.receive, self.send)
        except BaseException as error:
            self.failed(error)
        else:
            self.returned()
        self.finish()

    def returned(self):
        """The application has returned."""
        link = self.link
        if self.phase != COMPLETE:
            self.incomplete()
        elif self.batch == link.batch:
            # The answer has not left yet: it goes along.
            self.answer[4] = True
        else:
            link.emit((self.stream,))

    def failed(self, error):
        """The application has raised an exception, which is being handled."""
        if not self.gone:
            report(self)
        elif is_about_the_client(error):
            # What follows the head of an answer to HEAD is for nobody, whoever stays.
            if self.method != "HEAD":
                report_gone(self)
        elif not self.was_cancelled(error):
            report(self)
        self.fail()

    # --- what the application calls

    async def receive(self):
        parts = self.parts
        if type(parts) is bytes:
            self.parts = None
            return {"type": "http.request", "body": parts, "more_body": False}
        while True:
            if self.phase == COMPLETE or self.gone:
                return {"type": "http.disconnect"}
            parts = self.parts
            if parts:
                data, more = parts.popleft()
                self.unread += len(data)
                if not more:
                    self.parts = None
                elif self.unread >= STEP:
                    self.make_room()
                return {"type": "http.request", "body": data, "more_body": more}
            if parts is not None and self.unread >= WINDOW:
                self.make_room()
            await self.wait()

    async def send(self, message):
        kind = message["type"]
        if self.gone:
            raise ClientDisconnected("the client has gone")
        if kind == "http.response.body":
            body = message["body"] if "body" in message else b""
            more = "more_body" in message and message["more_body"]
            if type(body) is not bytes:
                body = bytes(body)
            if self.phase == HEAD:
                if not more and not self.trailers and len(body) <= PIECE:
                    # By far the most common answer.
                    self.phase = COMPLETE
                    link = self.link
                    self.answer = answer = [self.stream, self.status, self.headers, body, False]
                    self.batch = link.batch    # with which the answer is sent
                    link.out.append(answer)
                    if not link.flushing:
                        link.flush_soon()
                    if self.waiters:
                        self.wake()
                    return
                self.link.emit((self.stream, self.status, self.headers, None, False))
                self.phase = BODY
                self.room = WINDOW    # for more of the response
            elif self.phase != BODY:
                raise self.unexpected(kind)
            await self.send_body(body, more)
        elif kind == "http.response.start":
            if self.phase != NOTHING:
                raise self.unexpected(kind)
            self.status = message["status"]
            self.headers = [*message["headers"]] if "headers" in message else []
            self.trailers = "trailers" in message and message["trailers"]
            self.phase = HEAD
        elif kind == "http.response.early_hint" and self.phase != COMPLETE:
            links = [bytes(link) for link in message["links"]]
            # Allowed within the body too, where it is of no use any more.
            if self.phase <= HEAD:
                self.link.emit((self.stream, links, None))
                # At once: what the application does next may hold up the loop.
                self.link.flush()
        elif kind == "http.response.pathsend" and self.phase == HEAD:
            self.link.emit((self.stream, self.status, self.headers, str(message["path"]), False))
            self.complete()
        elif kind == "http.response.trailers" and self.phase == TRAILERS:
            self.headers.extend(message.get("headers", ()))
            if not message.get("more_trailers", False):
                self.link.emit((self.stream, self.headers))
                self.complete()
        else:
            raise self.unexpected(kind)

    async def send_body(self, body, more):
        """Sends a part of the body, as the client takes it."""
        link, stream = self.link, self.stream
        if len(body) > PIECE:
            view = memoryview(body)
            last = (len(body) - 1) // PIECE * PIECE
            for start in range(0, last, PIECE):
                link.emit((stream, view[start:start + PIECE]))
                self.room -= PIECE
                await self.drain()
            body = bytes(view[last:])
        if more or self.trailers:
            if body:
                link.emit((stream, body))
                self.room -= len(body)
            if not more:
                self.phase = TRAILERS
                self.headers = []
            if self.room <= 0:
                await self.drain()
        else:
            link.emit((stream, body, True))
            self.complete()

    async def drain(self):
        """Waits until the client has made room."""
        while self.room <= 0 and not self.gone:
            await self.wait()
        if self.gone:
            raise ClientDisconnected("the client has gone")

    def complete(self):
        self.phase = COMPLETE
        self.batch = None
        self.wake()

    def unexpected(self, kind):
        after = ("before the response began", "after the response began", "within the body", "after the body",
                 "after the response was complete")[self.phase]
        return RuntimeError(f"the application sent {kind!r} {after}")

    # --- what the server tells

    def body(self, data, more):
        if type(self.parts) is deque:
            self.parts.append((data, more))
            self.wake()

    def credit(self, count):
        self.room += count
        self.wake()

    # --- in between

    def make_room(self):
        self.link.emit((self.stream, self.unread))
        self.unread = 0

    def incomplete(self):
        """The application returned before the response was complete."""
        if self.gone:
            self.link.emit((self.stream,))
            return
        what = "without a response" if self.phase <= HEAD else "before the response was complete"
        print(f"hurricane: the application returned {what} to {self.method} {self.path}", file=sys.stderr, flush=True)
        self.fail()

    def fail(self):
        """Nothing more will come: the server answers, or breaks the response off."""
        done = self.phase == COMPLETE
        if self.phase <= HEAD and self.link.debug and not self.gone:
            headers, body = debug.page(self.method, self.path)
            headers = [(name.encode(), value.encode()) for name, value in headers]
            self.link.emit((self.stream, debug.STATUS[0], headers, body, True))
            done = True
        self.phase = COMPLETE
        self.wake()
        self.link.emit((self.stream,) if done else (self.stream, None))


def is_about_the_client(error):
    """Whether it is what ``send`` raised, or something that was raised because of that."""
    while error is not None:
        if isinstance(error, ClientDisconnected):
            return True
        error = error.__cause__ or error.__context__
    return False


def report(request):
    """Shows the application's traceback, whole."""
    print(f"hurricane: the application failed on {request.method} {request.path}\n{traceback.format_exc()}",
          end="", file=sys.stderr, flush=True)


def report_gone(request):
    print(f"hurricane: the client left before the response to {request.method} {request.path} was complete",
          file=sys.stderr, flush=True)
