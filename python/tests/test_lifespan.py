"""The start and the end of an ASGI application."""
import asyncio
import unittest

from asgi_server import AsgiTest
from hurricane.worker import lifespan
from hurricane.worker.application import LoadError


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
