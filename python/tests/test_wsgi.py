"""A slot, driven as the server drives it."""
import contextlib
import io
import os
import sys
import tempfile
import threading
import time
import unittest

from hurricane.worker import frame, wsgi
from server import PATIENCE, Server, request, send_with


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode("latin-1")]


def app(make):
    """An application that starts a response and returns what ``make`` does."""
    def application(environ, start_response):
        start_response("200 OK", [])
        return make(environ)
    return application


class SlotTest(unittest.TestCase):
    def setUp(self):
        log = self.enter(contextlib.redirect_stderr(io.StringIO()))
        self.log = log.getvalue

    def enter(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def serve(self, application, **values):
        return Server(self, application, **values)

    def assert_fails(self, application, text):
        self.assertEqual(self.serve(application).ask(), (None,))
        self.assertIn(text, self.log())


class Requests(SlotTest):
    def test_the_environment_is_that_of_pep_3333(self):
        environs = []
        server = self.serve(app(lambda environ: environs.append(environ) or [b""]), root_path="/app", multiprocess=True)
        server.give((1, "POST", "/a", "b=c", "HTTP/1.1", "192.0.2.1", "40000", {"HTTP_HOST": "h"}, b"body"))
        server.response()
        environ, = environs
        self.assertIs(type(environ), dict)
        self.assertEqual(environ.pop("wsgi.input").read(), b"body")
        self.assertIs(environ.pop("wsgi.errors"), sys.stderr)
        self.assertEqual(environ, {
            "REQUEST_METHOD": "POST", "SCRIPT_NAME": "/app", "PATH_INFO": "/a", "QUERY_STRING": "b=c",
            "SERVER_NAME": "localhost", "SERVER_PORT": "8000", "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_SOFTWARE": "hurricane", "REMOTE_ADDR": "192.0.2.1", "REMOTE_PORT": "40000", "HTTP_HOST": "h",
            "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input_terminated": True,
            "wsgi.multithread": False, "wsgi.multiprocess": True, "wsgi.run_once": False,
            "wsgi.file_wrapper": wsgi.FileWrapper})

    def test_nothing_of_a_request_is_left_to_the_next(self):
        def application(environ, start_response):
            start_response("200 OK", [])
            return [b"old" if environ.setdefault("seen", environ["PATH_INFO"]) != environ["PATH_INFO"]
                    or "HTTP_A" in environ and environ["PATH_INFO"] == "/2" else b"new"]

        server = self.serve(application)
        server.give(request(1, "/1", headers={"HTTP_A": "a"}), request(2, "/2"))
        self.assertEqual([server.response()[3] for _ in range(2)], [b"new", b"new"])

    def test_a_spooled_body_is_read_from_its_file_and_closed(self):
        bodies = []
        server = self.serve(app(lambda environ: bodies.append(environ["wsgi.input"]) or [bodies[-1].read()]))
        file = self.enter(tempfile.TemporaryFile())
        file.write(b"spooled")
        file.seek(0)
        send_with(server.channel.sock, frame.encode(frame.REQUESTS, [request(1, body=0)]), file)
        self.assertEqual(server.response()[3], b"spooled")
        self.assertEqual(server.ask(), ("200 OK", [], b""), "an empty body")
        self.assertTrue(bodies[0].closed)

    def test_the_page_tells_what_was_begun(self):
        seen = []
        server = self.serve(app(lambda environ: seen.append(server.begun[0]) or [b""]))
        self.assertEqual(server.begun[0], 0)
        server.give(*[request(stream) for stream in (5, 6, 7)])
        for _ in range(3):
            server.response()
        self.assertEqual(seen, [5, 6, 7])


class Answers(SlotTest):
    def test_requests_are_answered_in_their_order(self):
        server = self.serve(hello)
        server.give(*[request(stream, f"/{stream}") for stream in range(1, 50)])
        for stream in range(1, 50):
            self.assertEqual(server.response(),
                             (stream, "200 OK", [("Content-Type", "text/plain")], b"/%d" % stream))

    def test_answers_share_a_frame(self):
        server = self.serve(hello)
        server.give(*[request(stream) for stream in range(1, 6)])
        self.assertEqual(len(server.frame()), 5)

    def test_it_tells_how_much_of_its_time_it_was_computing(self):
        def work(environ):
            if environ["PATH_INFO"] == "/compute":
                end = time.thread_time() + 0.02
                while time.thread_time() < end:
                    pass
            else:
                time.sleep(0.02)
            return [b""]

        server = self.serve(app(work))
        server.ask(path="/compute")
        took, computing = server.spent
        self.assertTrue(20_000 <= computing <= took + 1000, server.spent)
        server.ask(path="/wait")
        took, computing = server.spent
        self.assertTrue(took >= 20_000 and computing < 10_000, server.spent)

    def test_a_body_may_be_any_iterable_of_bytes(self):
        class Django:
            streaming = False

            def __iter__(self):
                return iter([b"a", b"b"])

        for make in (lambda: [b"a", b"b"], lambda: (b"a", b"b"), lambda: iter([b"a", b"", b"b"]), lambda: [b"ab"],
                     Django, lambda: (part for part in (b"a", b"b"))):
            with self.subTest(make=make):
                body = make()
                self.assertEqual(self.serve(app(lambda environ, body=body: body)).ask()[2], b"ab")

    def test_an_empty_body_is_an_answer(self):
        for make in (list, tuple, lambda: iter(()), lambda: iter([b"", b""]), lambda: [b""]):
            body = make()
            self.assertEqual(self.serve(app(lambda environ, body=body: body)).ask(), ("200 OK", [], b""))

    def test_a_large_body_comes_in_pieces(self):
        large = os.urandom(wsgi.PIECE * 3 + 1)
        for make in (lambda: [large], lambda: iter([large]), lambda: (large[:9], large[9:])):
            body = make()
            server = self.serve(app(lambda environ, body=body: body))
            server.give(request(1))
            self.assertEqual(server.answer(), (1, "200 OK", [], None))
            pieces = [server.answer()[1] for _ in range(4)]
            self.assertEqual([len(piece) for piece in pieces], [wsgi.PIECE] * 3 + [1])
            self.assertEqual(b"".join(pieces), large)
            self.assertEqual(server.answer(), (1,))

    def test_a_part_is_sent_before_the_next_is_asked_for(self):
        go = threading.Semaphore(0)

        def parts(environ):
            yield b"a"
            go.acquire(timeout=PATIENCE)
            yield b"b"

        server = self.serve(app(parts))
        server.give(request(1))
        self.assertEqual([server.answer(), server.answer()], [(1, "200 OK", [], None), (1, b"a")])
        go.release()
        self.assertEqual([server.answer(), server.answer()], [(1, b"b"), (1,)])

    def test_an_iterable_with_all_of_its_declared_length_is_whole(self):
        def application(environ, start_response):
            start_response("200 OK", [("content-LENGTH", "2")])
            return iter([b"ab"])

        server = self.serve(application)
        server.give(request(1))
        self.assertEqual(server.answer(), (1, "200 OK", [("content-LENGTH", "2")], b"ab"))

    def test_the_body_is_closed(self):
        class Body:
            closed = 0

            def __iter__(self):
                return iter([b"a"])

            def close(self):
                self.closed += 1

        class Broken(Body):
            def __iter__(self):
                raise RuntimeError("no parts")

        for kind in (Body, Broken):
            body = kind()
            server = self.serve(app(lambda environ, body=body: body))
            server.ask()
            server.stop()
            self.assertEqual(body.closed, 1)

    def test_an_error_in_close_leaves_the_answer(self):
        class Body(tuple):
            def close(self):
                raise RuntimeError("not closed")

        server = self.serve(app(lambda environ: Body((b"a",))))
        self.assertEqual(server.ask()[2], b"a")
        self.assertEqual(server.ask()[2], b"a", "the slot goes on")
        self.assertIn("not closed", self.log())

    def test_to_head_the_body_is_not_computed(self):
        asked = []

        def parts(environ):
            asked.append(environ)
            yield b"a"

        server = self.serve(app(parts))
        self.assertEqual(server.ask(method="HEAD"), ("200 OK", [], b""))
        self.assertEqual(asked, [])

    def test_a_generator_may_start_the_response(self):
        def application(environ, start_response):
            start_response("201 Created", [])
            yield b"a"

        for method, body in (("GET", b"a"), ("HEAD", b"")):
            self.assertEqual(self.serve(application).ask(method=method), ("201 Created", [], body))


class StartResponse(SlotTest):
    def test_it_has_to_be_called(self):
        for make in (lambda: [b""], lambda: iter([b"a"]), lambda: iter(())):
            body = make()
            self.assert_fails(lambda environ, start_response, body=body: body, "start_response")

    def test_it_may_not_be_called_twice(self):
        def application(environ, start_response):
            start_response("200 OK", [])
            start_response("200 OK", [])

        self.assert_fails(application, "start_response was called a second time without exc_info")

    def test_it_may_be_called_again_for_an_error(self):
        def application(environ, start_response):
            start_response("200 OK", [])
            try:
                raise ValueError("late")
            except ValueError:
                start_response("500 Oops", [("A", "b")], sys.exc_info())
            return [b"sorry"]

        self.assertEqual(self.serve(application).ask(), ("500 Oops", [("A", "b")], b"sorry"))

    def test_an_error_after_the_head_was_sent_is_raised(self):
        def application(environ, start_response):
            start_response("200 OK", [])(b"half")
            try:
                raise ValueError("too late")
            except ValueError:
                start_response("500 Oops", [], sys.exc_info())

        self.assertEqual(self.serve(application).ask(), ("200 OK", [], b"half", None))
        self.assertIn("ValueError: too late", self.log())

    def test_write_comes_before_the_body(self):
        def application(environ, start_response):
            write = start_response("200 OK", [])
            write(b"a")
            write(b"")
            write(b"b")
            return [b"c"]

        self.assertEqual(self.serve(application).ask(), ("200 OK", [], b"abc"))


class Failures(SlotTest):
    def test_an_error_is_shown_whole_and_the_slot_goes_on(self):
        def application(environ, start_response):
            if environ["PATH_INFO"] == "/bad":
                raise RuntimeError("it broke")
            return hello(environ, start_response)

        server = self.serve(application)
        self.assertEqual(server.ask(path="/bad", method="PUT"), (None,))
        self.assertEqual(server.ask(path="/good")[2], b"/good")
        for text in ("PUT /bad", "Traceback", "RuntimeError: it broke"):
            self.assertIn(text, self.log())

    def test_exit_does_not_end_the_worker(self):
        def application(environ, start_response):
            sys.exit(3)

        server = self.serve(application)
        self.assertEqual(server.ask(), (None,))
        self.assertEqual(server.ask(), (None,))

    def test_an_error_in_the_middle_of_the_body_cuts_it_off(self):
        def parts(environ):
            yield b"half"
            raise RuntimeError("the rest is missing")

        self.assertEqual(self.serve(app(parts)).ask(), ("200 OK", [], b"half", None))

    def test_texts_may_be_of_a_subclass(self):
        class Text(str):
            pass

        def application(environ, start_response):
            start_response(Text("200 OK"), [(Text("A"), Text("b"))])
            return [b"c"]

        answer = self.serve(application).ask()
        self.assertEqual(answer, ("200 OK", [("A", "b")], b"c"))
        self.assertIs(type(answer[0]), str)

    def test_what_marshal_does_not_know_fails_its_request_alone(self):
        def application(environ, start_response):
            start_response("200 OK", [("A", object() if environ["PATH_INFO"] == "/bad" else "b")])
            return [b""]

        server = self.serve(application)
        server.give(request(1), request(2, "/bad"), request(3))
        answers = [server.response() for _ in range(3)]
        self.assertEqual(answers, [(1, "200 OK", [("A", "b")], b""), (2, None), (3, "200 OK", [("A", "b")], b"")])

    def test_what_is_no_iterable_of_bytes_fails(self):
        for body in (None, 5, [None], [5], ["a", "b"], ("a",)):
            with self.subTest(body=body):
                self.assertEqual(self.serve(app(lambda environ, body=body: body)).ask(), (None,))

    def test_a_text_as_the_first_part_fails_before_the_head_is_sent(self):
        self.assertEqual(self.serve(app(lambda environ: iter(["text"]))).ask(), (None,))


class Files(SlotTest):
    def file(self, content=b"0123456789"):
        file = self.enter(tempfile.TemporaryFile())
        file.write(content)
        file.seek(0)
        return file

    def ask(self, file, headers=(), method="GET"):
        def application(environ, start_response):
            start_response("200 OK", list(headers))
            return environ["wsgi.file_wrapper"](file, 4)

        server = self.serve(application)
        server.give(request(1, method=method))
        return server

    def test_a_file_is_handed_over_from_where_it_is(self):
        file = self.file()
        file.seek(3)
        inode = os.fstat(file.fileno()).st_ino
        server = self.ask(file)
        self.assertEqual([server.answer(), server.answer()], [(1, "200 OK", [], None), (1, 3, 7)])
        descriptor = server.channel.descriptors.popleft()
        self.addCleanup(os.close, descriptor)
        self.assertEqual(os.fstat(descriptor).st_ino, inode)
        server.stop()
        self.assertTrue(file.closed)

    def test_no_more_of_a_file_is_sent_than_was_declared(self):
        server = self.ask(self.file(), [("Content-Length", "4")])
        server.answer()
        self.assertEqual(server.answer(), (1, 0, 4))
        os.close(server.channel.descriptors.popleft())

    def test_what_is_no_regular_file_is_read(self):
        reader, writer = os.pipe()
        with os.fdopen(writer, "wb") as file:
            file.write(b"from a pipe")
        for file, body in ((io.BytesIO(b"in memory"), b"in memory"), (os.fdopen(reader, "rb"), b"from a pipe")):
            self.assertEqual(self.ask(file).response(), (1, "200 OK", [], body))

    def test_to_head_no_file_is_sent(self):
        server = self.ask(self.file(), method="HEAD")
        self.assertEqual(server.answer(), (1, "200 OK", [], b""))


class Recalls(SlotTest):
    """A server whose first request waits until it is let go."""

    def setUp(self):
        super().setUp()
        self.begun, self.go = threading.Event(), threading.Event()

        def application(environ, start_response):
            if environ["PATH_INFO"] == "/slow":
                self.begun.set()
                self.go.wait(PATIENCE)
            return hello(environ, start_response)

        self.server = self.serve(application)
        self.addCleanup(self.go.set)

    def wait(self):
        self.assertTrue(self.begun.wait(PATIENCE))

    def test_what_is_not_begun_is_given_back_and_what_is_held_is_sent(self):
        self.server.give(request(1, "/quick"), request(2, "/slow"), request(3), request(4))
        self.wait()
        self.assertEqual(self.server.slot.recall(), [3, 4])
        self.assertEqual([answer[0] for answer in self.server.frame()], [1])
        self.go.set()
        self.assertEqual([answer[0] for answer in self.server.frame()], [2])
        self.assertEqual(self.server.slot.recall(), [])
        self.server.give(request(5))
        self.assertEqual(self.server.response()[0], 5)

    def test_what_is_still_in_the_channel_is_given_back_too(self):
        self.server.give(request(1, "/slow"), request(2))
        self.wait()
        self.server.give(request(3))
        self.server.give(request(4), request(5))
        self.assertEqual(self.server.slot.recall(), [2, 3, 4, 5])

    def test_an_idle_slot_has_nothing_to_give_back(self):
        self.server.give(request(1))
        self.server.response()
        self.assertEqual(self.server.slot.recall(), [])

    def test_a_frame_that_is_half_there_stays(self):
        self.server.give(request(1, "/slow"))
        self.wait()
        data = frame.encode(frame.REQUESTS, [request(2)])
        self.server.channel.sock.sendall(data[:20])
        self.assertEqual(self.server.slot.recall(), [])
        self.server.channel.sock.sendall(data[20:])
        self.go.set()
        self.assertEqual([self.server.response()[0], self.server.response()[0]], [1, 2])

    def test_the_files_of_what_is_given_back_are_closed(self):
        self.server.give(request(1, "/slow"))
        self.wait()
        with tempfile.TemporaryFile() as file:
            send_with(self.server.channel.sock, frame.encode(frame.REQUESTS, [request(2, body=0)]), file)
        self.assertEqual(self.server.slot.recall(), [2])
        self.assertFalse(self.server.slot.channel.descriptors)

    def test_a_request_that_begins_during_a_recall_gets_its_own_file(self):
        recalled = []

        class Page:
            """The page of what was begun, on which writing takes as long as a recall."""

            def __setitem__(self, slot, stream):
                recall = threading.Thread(target=lambda: recalled.extend(server.slot.recall()))
                recall.start()
                recall.join(PATIENCE)

        server = self.serve(app(lambda environ: [environ["wsgi.input"].read()]), begun=Page())
        with tempfile.TemporaryFile() as one, tempfile.TemporaryFile() as two:
            requests = []
            for stream, file in ((1, one), (2, two)):
                file.write(b"body of %d" % stream)
                file.seek(0)
                requests.append(request(stream, body=0))
            send_with(server.channel.sock, frame.encode(frame.REQUESTS, requests), one, two)
            self.assertEqual(server.response()[3], b"body of 1")
        self.assertEqual(recalled, [2])


class Cancellation(SlotTest):
    def test_a_stream_whose_client_has_gone_is_ended_and_closed(self):
        closed, ended = threading.Event(), []

        def parts(environ):
            try:
                while True:
                    yield b"more"
            except GeneratorExit:
                ended.append("generator")
                closed.set()
                raise

        server = self.serve(lambda environ, start_response: hello(environ, start_response)
                            if environ["PATH_INFO"] == "/next" else app(parts)(environ, start_response))
        server.give(request(1))
        self.assertEqual(server.answer()[0], 1)
        server.slot.cancelled = 1
        while server.answer() != (1, None):
            pass
        self.assertTrue(closed.wait(PATIENCE))
        self.assertEqual(self.log(), "", "it is no error")
        self.assertEqual(server.ask(path="/next")[2], b"/next")

    def test_write_raises_when_the_client_has_gone(self):
        caught = []

        def application(environ, start_response):
            write = start_response("200 OK", [])
            try:
                while True:
                    write(b"more")
            except wsgi.ClientGone as gone:
                caught.append(gone)
                raise

        server = self.serve(application)
        server.give(request(1))
        server.answer()
        server.slot.cancelled = 1
        while server.answer() != (1, None):
            pass
        self.assertEqual(len(caught), 1)

    def test_another_stream_goes_on(self):
        server = self.serve(app(lambda environ: iter([b"a", b"b"])))
        server.slot.cancelled = 7
        self.assertEqual(server.ask()[2], b"ab")

    def test_the_slot_ends_with_its_channel(self):
        server = self.serve(hello)
        server.ask()
        server.stop()

    def test_the_slot_ends_when_the_server_is_gone_while_it_answers(self):
        go = threading.Event()
        server = self.serve(app(lambda environ: go.wait(PATIENCE) and [b""]))
        server.give(request(1))
        server.channel.sock.close()
        go.set()
        server.stop()


if __name__ == "__main__":
    unittest.main()
