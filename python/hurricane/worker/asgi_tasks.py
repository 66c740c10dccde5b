"""Starts requests of an event loop: several in one task, as long as nobody can tell.

Making a task, and having the loop come to it, is an eighth of a worker's instructions for a quick request. From Python
3.12 on a task's first step can be run at once, which is cheap when it is the last one, too. On 3.11 requests that come
together are run one after the other in one task. The task goes on to the next one only if nothing is left behind on it:
the one before did not wait for anything, nobody has kept the task or watches it, it is not to be cancelled, and its
context is as it was. Otherwise, and for a while after that, each request has a task of its own.
"""
import asyncio
import functools
import sys
from collections import deque
from contextvars import copy_context
from sys import getrefcount
from weakref import getweakrefcount

from .asgi_http import Request

# So many requests have tasks of their own before it is tried again to run several in one.
ALONE = 1000
# Given by us, as else each task makes itself one.
NAME = "request"


class Task(asyncio.Task):
    """A task that notices when something is done to it that would be of consequence to the next request."""

    __slots__ = ("touched",)

    def __init__(self, run, link, context):
        self.touched = False
        super().__init__(run, loop=link.loop, name=NAME, context=context)

    def add_done_callback(self, *args, **kwargs):
        self.touched = True
        return super().add_done_callback(*args, **kwargs)

    def cancel(self, *args, **kwargs):
        self.touched = True
        return super().cancel(*args, **kwargs)

    def set_name(self, value):
        self.touched = True
        return super().set_name(value)


class Tasks:
    """The tasks of the requests that have come."""

    def __init__(self, link):
        self.link = link
        self.start = functools.partial(asyncio.Task, loop=link.loop, name=NAME)
        self.eager = sys.version_info >= (3, 12)
        if self.eager:
            self.start = functools.partial(self.start, eager_start=True)
        # Before 3.11 a task could not be given its context.
        self.sharing = sys.version_info >= (3, 11) and not self.eager
        self.fresh = deque()       # the events of the requests that are not begun
        self.shared = None         # the task that is to run them, one after the other
        self.running = None        # the request that it is at
        self.alone = 0             # so many of the next ones have tasks of their own

    def launch(self):
        """Starts the requests that have come."""
        if self.shared is not None or not self.fresh:
            return    # it has not begun yet, and will come to them
        if not self.sharing or self.alone or len(self.fresh) == 1:
            self.launch_each()
            return
        context = copy_context()
        self.shared = Task(self.run(context), self.link, context)
        # Behind its first step.
        self.link.loop.call_soon(self.launch_rest)

    def launch_each(self):
        link, fresh = self.link, self.fresh
        self.alone = max(0, self.alone - len(fresh))
        while fresh:
            request = Request(link, fresh.popleft())
            link.streams[request.stream] = request
            request.task = self.start(request.run())

    def launch_rest(self):
        """Starts what the shared task has not come to, as it waits with one of them or was kept by one."""
        shared, self.shared = self.shared, None
        request, self.running = self.running, None
        if request is not None:
            # From now on the task is that of this request, and the server may have something to say about it.
            request.task = shared
            self.link.streams[request.stream] = request
            self.alone = ALONE
        if self.fresh:
            self.alone = ALONE
            self.launch_each()

    async def run(self, context):
        link, task, fresh = self.link, self.shared, self.fresh
        application, before, references = link.application, context.copy(), getrefcount(task)
        variables = len(before)
        while fresh:
            # Made only now, from the memory of the one before.
            self.running = request = Request(link, fresh.popleft())
            try:
                await application(request.scope, request.receive, request.send)
            except BaseException as error:
                request.failed(error)
            else:
                request.returned()
            if self.running is None:
                request.finish()
                return    # it had to wait for something
            self.running = None
            if (task.touched or getrefcount(task) != references or getweakrefcount(task) != 1
                    or len(context) != variables or variables and not same(context, before)):
                return


def same(context, before):
    """Whether all variables of a context have the values that they had."""
    return all(context.get(variable, variable) is value for variable, value in before.items())
