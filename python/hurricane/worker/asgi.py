"""Runs an ASGI application: the event loop on the worker's main thread, from its start to its end. Beside it there may
be threads, for the requests that a hybrid application takes as WSGI."""
import asyncio
import contextlib
import importlib.util
import socket
import threading

from .application import LoadError
from .asgi_link import Link
from .lifespan import Lifespan

# The server hears from the loop so often (seconds).
BEAT = 1.0
# So long tasks that are cancelled may take to end (seconds).
LAST_MOMENT = 1.0


def run(worker, application, config, begun):
    """Serves until the server closes the worker's channels."""
    loop = new_loop(config.event_loop)
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(serve(loop, worker, application, config, begun))
    finally:
        try:
            loop.run_until_complete(end_tasks())
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def new_loop(name):
    if name == "uvloop" or (name == "auto" and importlib.util.find_spec("uvloop")):
        try:
            import uvloop
        except ModuleNotFoundError:
            raise LoadError("application", "--loop uvloop: uvloop is not installed for this Python") from None
        return uvloop.new_event_loop()
    return asyncio.new_event_loop()


async def serve(loop, worker, application, config, begun):
    lifespan = Lifespan(application, config.lifespan)
    await lifespan.start()
    events, sent = (socket.socket(fileno=descriptor) for descriptor in config.lane)
    events.set_inheritable(False)
    sent.set_inheritable(False)
    link = Link(loop, events, sent, application, config, begun, lifespan.state)
    link.open()
    worker.ready()
    threading.Thread(target=obey, args=(worker, loop, link), name="hurricane-control", daemon=True).start()
    beat(loop, worker, loop.time())
    await link.closed
    await end_requests(link)
    await end_slots(loop, worker.slots)
    await lifespan.stop()


def obey(worker, loop, link):
    """The control channel, on a thread of its own, so that it is heard while the loop is busy."""
    worker.obey()
    # The loop may have ended already.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(link.close)


def beat(loop, worker, due):
    """Shows the server that the loop turns, and how late it does what it is to do now."""
    now = loop.time()
    worker.beat(now - due)
    loop.call_at(now + BEAT, beat, loop, worker, now + BEAT)


async def end_requests(link):
    """The server has given up what is still going on."""
    tasks = []
    for stream in list(link.streams.values()):
        stream.disconnect()
        tasks.append(stream.task)
    if tasks:
        await asyncio.wait(tasks, timeout=min(link.grace, LAST_MOMENT))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=LAST_MOMENT)


async def end_slots(loop, slots):
    """The threads have no more requests. What one of them is still at the server has given up."""
    patience = loop.time() + LAST_MOMENT
    while any(slot.is_alive() for slot in slots) and loop.time() < patience:
        await asyncio.sleep(0.01)


async def end_tasks():
    """Cancels what the application left behind."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=LAST_MOMENT)
