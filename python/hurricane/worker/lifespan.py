"""Tells an ASGI application that its process starts and ends (the lifespan protocol)."""
import asyncio
import sys
import traceback

from .application import LoadError, show


class Lifespan:
    """The one call of the application whose scope has the type ``lifespan``.

    ``state`` is the application's to fill while it starts; every request gets a copy.
    """

    def __init__(self, application, mode):
        self.application = application
        self.mode = mode
        self.state = {}
        self.events = None
        self.task = None
        self.answer = None    # a future: what the application says to the event that it has been sent

    async def start(self):
        """Returns when the application is ready; ``LoadError`` when it cannot be."""
        if self.mode == "off":
            return
        self.events = asyncio.Queue()
        self.task = asyncio.ensure_future(self.run())
        said = await self.tell("lifespan.startup")
        if said is None:
            error = None if self.task.cancelled() else self.task.exception()
            self.task = None
            if self.mode == "on":
                if error is not None:
                    traceback.print_exception(type(error), error, error.__traceback__)
                    sys.stderr.flush()
                raise LoadError("application", "the application did not complete its lifespan start-up")
        elif said["type"] == "lifespan.startup.failed":
            message = said.get("message", "")
            if message:
                print(message, file=sys.stderr, flush=True)
            await self.end()
            raise LoadError("application", "the application's lifespan start-up failed" + last_line(message))

    async def stop(self):
        """Returns when the application has done what it does at its end."""
        if self.task is None:
            return
        said = await self.tell("lifespan.shutdown")
        if said is not None and said["type"] == "lifespan.shutdown.failed":
            print(f"hurricane: the application's lifespan shutdown failed: {said.get('message', '')}",
                  file=sys.stderr, flush=True)
        await self.end()

    async def tell(self, kind):
        """What the application says to an event; ``None`` when it returns or fails instead."""
        self.answer = asyncio.get_running_loop().create_future()
        self.events.put_nowait({"type": kind})
        await asyncio.wait({self.answer, self.task}, return_when=asyncio.FIRST_COMPLETED)
        return self.answer.result() if self.answer.done() else None

    async def end(self):
        """Waits for the call to return, and shows what it raises."""
        try:
            await self.task
        except BaseException as error:
            if not isinstance(error, asyncio.CancelledError):
                show()
        self.task = None

    async def run(self):
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        try:
            await self.application(scope, self.events.get, self.send)
        except (SystemExit, KeyboardInterrupt) as error:
            # They would end the loop, and not the application alone.
            raise RuntimeError(f"the application raised {error!r}") from error

    async def send(self, message):
        kind = message["type"]
        if not kind.startswith("lifespan.") or self.answer is None:
            raise RuntimeError(f"{kind!r} is no message of the lifespan protocol")
        if not self.answer.done():
            self.answer.set_result(message)


def last_line(message):
    lines = message.strip().splitlines()
    return f": {lines[-1]}" if lines else ""
