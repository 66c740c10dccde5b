"""An event loop's channel, driven as the server drives it."""
import asyncio
import contextlib
import contextvars
import io
import mmap
import sys
import threading
import time
import unittest
import weakref
from unittest import mock

from hurricane.worker import asgi_http, asgi_link, asgi_tasks, asgi_websocket, frame, lifespan
from hurricane.worker.application import LoadError
from server import PATIENCE, config, pair

OK = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]}


def event(stream, body=b"", method="GET", version=None, trailers=False):
    """An HTTP request as the server tells of it."""
    client, headers = ("127.0.0.1", 40000), [(b"host", b"h")]
    return (stream, method, "/\u00e4", b"/%C3%A4", b"q=1", version, client, headers, body, trailers)


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


class Requests(AsgiTest):
    def test_the_scope_is_that_of_the_specification(self):
        scopes = []

        async def application(scope, receive, send):
            scopes.append(scope)
            await send(OK)
            await send(body(b"ok"))

        server = self.serve(application, root_path="/app")
        self.assertEqual(server.ask(trailers=True), (200, [(b"a", b"b")], b"ok"))
        scope, = scopes
        self.assertEqual(scope, {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.5"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": "/\u00e4", "raw_path": b"/%C3%A4", "query_string": b"q=1", "root_path": "/app",
            "headers": [(b"host", b"h")], "client": ("127.0.0.1", 40000), "server": ("localhost", 8000),
            "state": {"key": "value"},
            "extensions": {"http.response.pathsend": {}, "http.response.trailers": {}}})
        self.assertIsNot(scope["state"], server.link.state)

        for version, method in (("1.0", "HEAD"), ("2", "GET")):
            server.ask(version=version, method=method)
            self.assertEqual([scopes[-1]["http_version"], scopes[-1]["method"]], [version, method])

    def test_requests_are_run_beside_each_other_and_share_a_frame(self):
        met = []

        async def application(scope, receive, send):
            met.append(scope)
            while len(met) < 3:
                await asyncio.sleep(0)
            await send(OK)
            await send(body(b"ok"))

        server = self.serve(application)
        server.tell(event(1), event(2), event(3))
        self.assertEqual(sorted(server.item()[0] for _ in range(3)), [1, 2, 3])
        self.assertEqual(server.begun[1], 3, "all have been taken")

    def test_a_whole_body_comes_at_once_and_then_the_end(self):
        async def application(scope, receive, send):
            first = await receive()
            await send(OK)
            await send(body(repr(first).encode()))
            self.assertEqual(await receive(), {"type": "http.disconnect"})

        said = self.serve(application).ask(body=b"abc")[2]
        self.assertEqual(said, b"{'type': 'http.request', 'body': b'abc', 'more_body': False}")

    def test_a_body_in_parts_is_given_room_as_it_is_read(self):
        async def application(scope, receive, send):
            length = 0
            more = True
            while more:
                message = await receive()
                length += len(message["body"])
                more = message["more_body"]
            await send(OK)
            await send(body(b"%d" % length))

        server = self.serve(application)
        server.tell(event(1, body=None))
        self.assertEqual(server.item(), (1, asgi_http.WINDOW))
        part = b"x" * asgi_http.STEP
        for _ in range(3):
            server.tell((1, part, True))
            self.assertEqual(server.item(), (1, len(part)))
        server.tell((1, b"", False))
        self.assertEqual(server.item()[3], b"%d" % (3 * len(part)))

    def test_a_body_that_waits_to_be_wanted_is_asked_for_by_receive(self):
        go = threading.Event()

        async def application(scope, receive, send):
            await asyncio.get_running_loop().run_in_executor(None, go.wait)
            message = await receive()
            await send(OK)
            await send(body(message["body"]))

        server = self.serve(application)
        server.tell(event(1, body=True), event(2, body=None))
        self.assertEqual(server.item(), (2, asgi_http.WINDOW), "nothing of the first one yet")
        go.set()
        self.assertEqual(server.item(), (1, asgi_http.WINDOW))

    def test_a_client_that_leaves_is_told_of_and_the_task_cancelled_in_the_end(self):
        seen = []

        async def application(scope, receive, send):
            await receive()
            seen.append(await receive())
            try:
                await send(OK)
            except OSError as error:
                seen.append(type(error))
            try:
                await asyncio.sleep(PATIENCE)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise

        server = self.serve(application, disconnect_grace=1)
        server.tell(event(1))
        server.tell((1,))
        self.assertEqual(server.item(), (1, None))
        self.assertEqual(seen, [{"type": "http.disconnect"}, asgi_http.ClientDisconnected, "cancelled"])
        self.assertNotIn("Traceback", self.log())

    def test_what_comes_for_a_request_that_has_ended_is_passed_over(self):
        server = self.serve(hello)
        self.assertEqual(server.ask()[2], b"hello")
        server.tell((1,), (1, 5), (1, b"", False), event(2))
        self.assertEqual(server.item()[0], 2)

    def test_a_frame_may_be_longer_than_the_buffer_and_come_in_parts(self):
        async def application(scope, receive, send):
            await send(OK)
            await send(body(b"%d" % len((await receive())["body"])))

        server = self.serve(application)
        for size in (3 * asgi_link.BUFFER, 10, 2 * asgi_link.BUFFER, 2 * asgi_link.KEEP, 10, asgi_link.BUFFER, 0):
            self.assertEqual(server.ask(body=b"x" * size)[2], b"%d" % size)


async def hello(scope, receive, send):
    await send(OK)
    await send(body(b"hello"))


class Together(AsgiTest):
    """Requests that come together."""

    def ask(self, application, count=8, then=(), **values):
        """What is said of requests that come in one frame; answers by their streams."""
        server = self.serve(application, **values)
        server.tell(*[event(stream) for stream in range(1, count + 1)])
        for events in then:
            server.tell(*events)
        answers = {}
        while len(answers) < count:
            stream, *answer = server.item()
            if answer:
                answers[stream] = answer[2] if len(answer) == 4 else None
        return answers

    @unittest.skipUnless(sys.version_info[:2] == (3, 11), "each has a task of its own")
    def test_those_that_do_not_wait_share_a_task(self):
        tasks = set()

        async def application(scope, receive, send):
            tasks.add(asyncio.current_task())
            await hello(scope, receive, send)

        # The first keeps its task, so all others have their own; after a while it is tried again.
        with mock.patch.object(asgi_tasks, "ALONE", 4):
            self.assertEqual(self.ask(application), {stream: b"hello" for stream in range(1, 9)})
        self.assertEqual(len(tasks), 8)

        numbers = []

        async def numbered(scope, receive, send):
            numbers.append(id(asyncio.current_task()))
            await hello(scope, receive, send)

        self.ask(numbered)
        self.assertEqual(len(set(numbers)), 1, numbers)

    def test_none_can_tell_that_it_shares_a_task(self):
        inherited = contextvars.ContextVar("inherited")
        inherited.set("as it was")
        own = contextvars.ContextVar("own", default="as it was")
        held, ended, watched, numbers = [], [], weakref.WeakKeyDictionary(), []

        def leave(what, task):
            if what == "name":
                task.set_name("renamed")
            elif what == "context":
                own.set("changed")
            elif what == "inherited":
                inherited.set("changed")
            elif what == "reference":
                held.append(task)
            elif what == "method":
                held.append(task.cancel)
            elif what == "weak reference":
                watched[task] = what
            elif what == "callback":
                task.add_done_callback(ended.append)
            elif what == "cancel":
                task.cancel()

        for what in ("nothing", "name", "context", "inherited", "reference", "method", "weak reference", "callback",
                     "cancel"):
            async def application(scope, receive, send, what=what):
                task = asyncio.current_task()
                for method in held:
                    if callable(method):
                        method()    # as if a time were over that the request of before had set for itself
                if what == "cancel" and numbers.pop():
                    await asyncio.sleep(0)
                clean = (task.get_name() == "request" and own.get() == inherited.get() == "as it was"
                         and task not in held and task not in watched and not task._callbacks)
                await send(OK)
                await send(body(b"%d" % clean))
                leave(what, task)

            with self.subTest(what):
                del held[:]
                numbers[:] = reversed(range(8))
                self.assertEqual(self.ask(application), {stream: b"1" for stream in range(1, 9)})
                self.assertEqual(self.log(), "")
        until = time.monotonic() + PATIENCE
        while len(ended) < 8 and time.monotonic() < until:
            time.sleep(0.01)
        self.assertEqual(len(set(ended)), 8)

    def test_one_that_waits_holds_up_none_and_has_the_task(self):
        tasks, opened = {}, []

        async def application(scope, receive, send):
            number = len(tasks)
            tasks[number] = asyncio.current_task()
            if number == 2:
                opened.append(asyncio.Event())
                await asyncio.wait_for(opened[0].wait(), PATIENCE)
            elif number == 7:
                opened[0].set()
            self.assertIs(asyncio.current_task(), tasks[number])
            await hello(scope, receive, send)

        self.assertEqual(self.ask(application), {stream: b"hello" for stream in range(1, 9)})
        self.assertEqual(len({tasks[number] for number in range(2, 8)}), 6)

    def test_what_comes_along_with_a_request_finds_it(self):
        async def application(scope, receive, send):
            await receive()
            if scope["method"] == "PUT":
                self.assertEqual(await receive(), {"type": "http.disconnect"})
            else:
                await hello(scope, receive, send)

        server = self.serve(application)
        server.tell(event(1), event(2, method="PUT"), (2,), event(3), (9,))
        self.assertEqual(sorted(server.item()[0] for _ in range(3)), [1, 2, 3])
        self.assertEqual(self.log(), "")

    def test_one_that_waits_is_cancelled_alone(self):
        seen = []

        async def application(scope, receive, send):
            seen.append(len(seen))
            if seen[-1] == 1:
                try:
                    await asyncio.sleep(PATIENCE)
                except asyncio.CancelledError:
                    seen.append("cancelled")
                    raise
            await hello(scope, receive, send)

        answers = self.ask(application, count=4, then=[[(2,)]], disconnect_grace=0)
        self.assertEqual(answers, {1: b"hello", 2: None, 3: b"hello", 4: b"hello"})
        self.assertEqual(seen.count("cancelled"), 1)
        self.assertEqual(self.log(), "")


class Answers(AsgiTest):
    def test_a_stream_is_sent_part_by_part(self):
        async def application(scope, receive, send):
            await send(OK)
            await send(body(b"a", True))
            await asyncio.sleep(0)
            await send(body(b"b", True))
            await send(body(b""))

        server = self.serve(application)
        server.tell(event(1))
        self.assertEqual([server.item() for _ in range(5)],
                         [(1, 200, [(b"a", b"b")], None, False), (1, b"a"), (1, b"b"), (1, b"", True), (1,)])

    def test_a_long_body_waits_for_the_client(self):
        data = bytes(range(256)) * 4096

        async def application(scope, receive, send):
            await send(OK)
            await send(body(data))

        server = self.serve(application)
        server.tell(event(1), event(2, body=None))
        got = b""
        server.item()
        while len(got) < len(data):
            _, piece, *_ = server.item()
            if type(piece) is int:
                continue
            got += piece
            server.test.assertLessEqual(len(piece), asgi_http.PIECE)
            server.tell((1, len(piece)))
        self.assertEqual(got, data)

    def test_a_frame_may_be_longer_than_the_socket_has_room_for(self):
        async def application(scope, receive, send):
            await send(OK)
            await send((await receive()) | {"type": "http.response.body"})

        server = self.serve(application)
        bodies = [bytes([number]) * asgi_http.PIECE for number in range(20)]
        server.tell(*(event(number, body=data) for number, data in enumerate(bodies)))
        for number, data in enumerate(bodies):
            item = server.item()
            while len(item) == 1:
                item = server.item()
            self.assertEqual(item[:4], (number, 200, [(b"a", b"b")], data))

    def test_not_more_is_on_its_way_than_there_is_room_for(self):
        async def application(scope, receive, send):
            if scope["method"] == "PUT":
                return await hello(scope, receive, send)
            await send(OK)
            while True:
                await send(body(b"x" * 1000, True))

        server = self.serve(application)
        server.tell(event(1))
        server.item()
        length = 0
        while length < asgi_http.WINDOW:
            length += len(server.item()[1])
        server.tell(event(2, method="PUT"))
        self.assertEqual(server.item()[0], 2, "nothing more comes of the first")
        server.tell((1, 5000))
        self.assertEqual(len(server.item()[1]), 1000)

    def test_trailers_and_files_are_named(self):
        async def application(scope, receive, send):
            await send({**OK, "trailers": scope["method"] == "GET"})
            if scope["method"] == "GET":
                await send(body(b"x"))
                await send({"type": "http.response.trailers", "headers": [(b"t", b"1")]})
            else:
                await send({"type": "http.response.pathsend", "path": "/a/file"})

        server = self.serve(application)
        server.tell(event(1))
        self.assertEqual([server.item()[1] for _ in range(3)], [200, b"x", [(b"t", b"1")]])
        self.assertEqual(server.item(), (1,))
        self.assertEqual(server.ask(method="PUT"), (200, [(b"a", b"b")], "/a/file"))

    def test_headers_may_be_of_any_iterable_and_of_types_of_their_own(self):
        class Name(bytes):
            pass

        async def application(scope, receive, send):
            await send({"type": "http.response.start", "status": 201, "headers": ([Name(b"a"), b"b"] for _ in "x")})
            await send(body(bytearray(b"ok")))

        # A list or a tuple, as long as there are two in it.
        self.assertEqual(self.serve(application).ask(), (201, [[b"a", b"b"]], b"ok"))


class Failures(AsgiTest):
    def fails(self, application, *texts):
        server = self.serve(application)
        server.tell(event(1))
        item = server.item()
        for text in texts:
            self.assertIn(text, self.log())
        self.assertEqual(server.link.streams, {})
        return item

    def test_an_exception_before_the_response_is_a_failure_with_a_traceback(self):
        for error in (ValueError("on purpose"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()):
            async def application(scope, receive, send, error=error):
                await send(OK)
                raise error

            with self.subTest(error):
                self.assertEqual(self.fails(application, "Traceback", type(error).__name__), (1, None))

    def test_an_exception_after_the_response_began_breaks_it_off(self):
        async def application(scope, receive, send):
            await send(OK)
            await send(body(b"x", True))
            raise ValueError("on purpose")

        server = self.serve(application)
        server.tell(event(1))
        self.assertEqual([server.item()[1] for _ in range(3)], [200, b"x", None])

    def test_an_exception_after_the_response_is_only_shown(self):
        async def application(scope, receive, send):
            await hello(scope, receive, send)
            raise ValueError("on purpose")

        server = self.serve(application)
        self.assertEqual(server.ask()[2], b"hello")
        self.assertIn("on purpose", self.log())

    def test_returning_too_early_is_a_failure_with_one_line(self):
        async def nothing(scope, receive, send):
            pass

        async def head(scope, receive, send):
            await send(OK)

        for application in (nothing, head):
            self.assertEqual(self.fails(application, "returned without a response to GET"), (1, None))
        self.assertNotIn("Traceback", self.log())

    def test_messages_out_of_order_are_refused(self):
        async def twice(scope, receive, send):
            await send(OK)
            await send(OK)

        async def early(scope, receive, send):
            await send(body(b"x"))

        async def unknown(scope, receive, send):
            await send({"type": "http.response.debug"})

        async def late(scope, receive, send):
            await hello(scope, receive, send)
            await send(body(b"more"))

        self.fails(twice, "sent 'http.response.start' after the response began")
        self.fails(early, "sent 'http.response.body' before the response began")
        self.fails(unknown, "sent 'http.response.debug' before the response began")
        self.fails(late, "sent 'http.response.body' after the response was complete")


class WebSockets(AsgiTest):
    CONNECT = (1, "/", b"/", b"", None, ("127.0.0.1", 40000), [], ["a", "b"])

    def open(self, application):
        """A WebSocket that the application accepts."""
        server = self.serve(application)
        server.tell(self.CONNECT)
        self.assertEqual(server.item(), (1, None, [], None))
        return server

    def test_the_scope_is_that_of_the_specification(self):
        scopes = []

        async def application(scope, receive, send):
            scopes.append(scope)
            self.assertEqual(await receive(), {"type": "websocket.connect"})
            await send({"type": "websocket.accept", "subprotocol": "b", "headers": [(b"x", b"y")]})

        server = self.serve(application)
        server.tell(self.CONNECT)
        self.assertEqual([server.item() for _ in range(2)], [(1, "b", [(b"x", b"y")], None), (1,)])
        scope, = scopes
        self.assertEqual(scope, {
            "type": "websocket", "asgi": {"version": "3.0", "spec_version": "2.5"}, "http_version": "1.1",
            "scheme": "ws", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "", "headers": [],
            "client": ("127.0.0.1", 40000), "server": ("localhost", 8000), "subprotocols": ["a", "b"],
            "state": {"key": "value"}, "extensions": {"websocket.http.response": {}}})

    def test_messages_are_what_they_were_sent_as(self):
        class Text(str):
            pass

        async def application(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            self.assertEqual(await receive(), {"type": "websocket.receive", "text": "\u00e4"})
            self.assertEqual(await receive(), {"type": "websocket.receive", "bytes": b""})
            await send({"type": "websocket.send", "text": Text("out"), "bytes": None})
            await send({"type": "websocket.send", "bytes": bytearray(b"out")})
            self.assertEqual(await receive(), {"type": "websocket.disconnect", "code": 4000, "reason": "bye"})

        server = self.open(application)
        server.tell((1, "\u00e4"), (1, b""))
        self.assertEqual([server.item() for _ in range(2)], [(1, "out"), (1, b"out")])
        server.tell((1, 4000, "bye", None))
        self.assertEqual(server.item(), (1,))
        self.assertEqual(self.log(), "")

    def test_what_is_taken_is_told_and_what_is_not_taken_holds_up(self):
        async def application(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            for _ in range(asgi_websocket.STEP_MESSAGES):
                await receive()
            for _ in range(asgi_websocket.MESSAGES + 2):
                await send({"type": "websocket.send", "text": ""})

        server = self.open(application)
        server.tell(*[(1, "")] * asgi_websocket.STEP_MESSAGES)
        self.assertEqual(server.item(), (1, asgi_websocket.STEP_MESSAGES))
        for _ in range(asgi_websocket.MESSAGES + 1):
            self.assertEqual(server.item(), (1, ""))
        server.tell((1, 10))
        self.assertEqual([server.item() for _ in range(2)], [(1, ""), (1,)])

    def test_it_may_be_denied(self):
        async def close(scope, receive, send):
            await send({"type": "websocket.close"})
            self.assertEqual((await receive())["type"], "websocket.connect")
            self.assertEqual((await receive())["type"], "websocket.disconnect")

        async def answer(scope, receive, send):
            await send({"type": "websocket.http.response.start", "status": 401, "headers": [(b"a", b"b")]})
            await send({"type": "websocket.http.response.body", "body": b"no", "more_body": True})
            await send({"type": "websocket.http.response.body"})

        for application, item in ((close, (1, 403, [], b"", False)), (answer, (1, 401, [(b"a", b"b")], b"no", False))):
            server = self.serve(application)
            server.tell(self.CONNECT)
            self.assertEqual([server.item() for _ in range(2)], [item, (1,)])

    def test_what_is_sent_out_of_order_or_after_the_end_is_refused(self):
        async def early(scope, receive, send):
            await send({"type": "websocket.send", "text": ""})

        async def late(scope, receive, send):
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": 4001})
            await send({"type": "websocket.send", "text": ""})

        async def gone(scope, receive, send):
            await send({"type": "websocket.accept"})
            await receive()
            await receive()
            await send({"type": "websocket.send", "text": ""})

        server = self.serve(early)
        server.tell(self.CONNECT)
        self.assertEqual(server.item(), (1, None))
        self.assertIn("sent 'websocket.send' to a WebSocket before it was accepted", self.log())
        server = self.open(late)
        self.assertEqual([server.item() for _ in range(2)], [(1, 4001, "", None), (1, None)])
        self.assertIn("after it was closed", self.log())
        shown = len(self.log())
        server = self.open(gone)
        server.tell((1, 1006, "", None))
        self.assertEqual(server.item(), (1, None))
        self.assertEqual(self.log()[shown:], "", "a client may go at any time")


class Lifespans(AsgiTest):
    def run_lifespan(self, application, mode="auto"):
        async def live():
            span = lifespan.Lifespan(application, mode)
            await span.start()
            state = dict(span.state)
            await span.stop()
            return state

        return asyncio.run(live())

    def test_the_application_is_told_of_start_and_end(self):
        seen = []

        async def application(scope, receive, send):
            seen.append(scope["type"])
            for _ in range(2):
                kind = (await receive())["type"]
                seen.append(kind)
                scope["state"][kind] = True
                await send({"type": f"{kind}.complete"})

        self.assertEqual(self.run_lifespan(application), {"lifespan.startup": True})
        self.assertEqual(seen, ["lifespan", "lifespan.startup", "lifespan.shutdown"])

    def test_one_that_does_not_want_to_know_is_left_alone(self):
        async def application(scope, receive, send):
            raise KeyError(scope["type"])

        self.assertEqual(self.run_lifespan(application), {})
        self.assertEqual(self.log(), "")
        self.assertEqual(self.run_lifespan(None, "off"), {})

    def test_one_that_has_to_know_fails_with_its_traceback(self):
        async def application(scope, receive, send):
            raise SystemExit(3)

        with self.assertRaises(LoadError):
            self.run_lifespan(application, "on")
        self.assertIn("SystemExit(3)", self.log())

    def test_a_start_that_fails_is_told(self):
        async def application(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "Traceback\nno database"})
            raise ValueError("no database")

        with self.assertRaises(LoadError) as caught:
            self.run_lifespan(application)
        self.assertEqual(str(caught.exception), "the application's lifespan start-up failed: no database")
        self.assertIn("Traceback", self.log())

    def test_an_end_that_fails_is_shown(self):
        async def application(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            raise ValueError("at the end")

        self.run_lifespan(application)
        self.assertIn("ValueError: at the end", self.log())


if __name__ == "__main__":
    unittest.main()
