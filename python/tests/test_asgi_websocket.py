"""WebSockets on an event loop."""

from asgi_server import AsgiTest
from hurricane.worker import asgi_websocket


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
