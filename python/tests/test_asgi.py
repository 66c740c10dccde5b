"""Requests on an event loop."""
import asyncio
import threading

from asgi_server import OK, AsgiTest, body, event, hello
from hurricane.worker import asgi_http, asgi_link
from server import PATIENCE


class Requests(AsgiTest):
    def test_the_scope_is_that_of_the_specification(self):
        scopes = []

        async def application(scope, receive, send):
            scopes.append(scope)
            await send(OK)
            await send(body(b"ok"))

        server = self.serve(application, root_path="/app")
        self.assertEqual(server.ask(takes=3), (200, [(b"a", b"b")], b"ok"))
        scope, = scopes
        self.assertEqual(scope, {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.5"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": "/\u00e4", "raw_path": b"/%C3%A4", "query_string": b"q=1", "root_path": "/app",
            "headers": [(b"host", b"h")], "client": ("127.0.0.1", 40000), "server": ("localhost", 8000),
            "state": {"key": "value"},
            "extensions": {"http.response.pathsend": {}, "http.response.early_hint": {}, "http.response.trailers": {}}})
        self.assertIsNot(scope["state"], server.link.state)

        for version, method in (("1.0", "HEAD"), ("2", "GET")):
            server.ask(version=version, method=method)
            self.assertEqual([scopes[-1]["http_version"], scopes[-1]["method"]], [version, method])
            self.assertEqual(scopes[-1]["extensions"], {"http.response.pathsend": {}})

        for takes, extension in ((1, "trailers"), (2, "early_hint")):
            server.ask(takes=takes)
            self.assertEqual(scopes[-1]["extensions"], {"http.response.pathsend": {}, f"http.response.{extension}": {}})

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

    def test_an_early_hint_leaves_before_the_application_goes_on(self):
        go = threading.Event()

        async def application(scope, receive, send):
            hint = {"type": "http.response.early_hint", "links": (link for link in (b"</a>", bytearray(b"</b>")))}
            if scope["method"] == "GET":
                await send(OK)
                await send(hint)
            else:
                await send(hint)
                await send(OK)
            # As what holds up the loop does; no longer than the test waits for the hint.
            if not go.wait(PATIENCE / 4):
                raise TimeoutError("the hint has not come")
            await send(body(b"ok"))

        server = self.serve(application)
        for stream, method in ((1, "GET"), (2, "PUT")):
            server.tell(event(stream, method=method, takes=2))
            self.assertEqual(server.item(), (stream, [b"</a>", b"</b>"], None))
            go.set()
            self.assertEqual(server.item(), (stream, 200, [(b"a", b"b")], b"ok", True))

    def test_an_early_hint_within_the_body_is_left_out(self):
        async def application(scope, receive, send):
            await send(OK)
            await send(body(b"begun", True))
            await send({"type": "http.response.early_hint", "links": [b"</a>"]})
            await send(body(b"ended"))

        server = self.serve(application)
        server.tell(event(1, takes=2))
        items = [server.item() for _ in range(4)]
        self.assertEqual(items, [(1, 200, [(b"a", b"b")], None, False), (1, b"begun"), (1, b"ended", True), (1,)])

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

        async def hint(scope, receive, send):
            await hello(scope, receive, send)
            await send({"type": "http.response.early_hint", "links": [b"</a>"]})

        async def text(scope, receive, send):
            await send({"type": "http.response.early_hint", "links": ["</a>"]})

        self.fails(hint, "sent 'http.response.early_hint' after the response was complete")
        self.fails(text, "TypeError", "Traceback")
        self.fails(twice, "sent 'http.response.start' after the response began")
        self.fails(early, "sent 'http.response.body' before the response began")
        self.fails(unknown, "sent 'http.response.debug' before the response began")
        self.fails(late, "sent 'http.response.body' after the response was complete")
