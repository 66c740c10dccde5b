"""Requests that come together."""
import asyncio
import contextvars
import sys
import time
import unittest
import weakref
from unittest import mock

from asgi_server import OK, AsgiTest, body, event, hello
from hurricane.worker import asgi_tasks
from server import PATIENCE


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

    def test_what_comes_along_with_a_request_that_ends_at_once_is_passed_over(self):
        server = self.serve(hello)
        server.tell(event(1), event(2), (2,), event(3))
        # Where nothing is run at once, the client has gone before it can be answered.
        self.assertLessEqual({1, 3}, {server.item()[0] for _ in range(3)})
        server.tell(event(4))
        while server.item()[0] != 4:
            pass
        self.assertNotIn("Traceback", self.log())

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
