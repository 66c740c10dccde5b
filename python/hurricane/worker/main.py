"""The worker's main thread: start-up, then the control channel, until the server closes it."""
import faulthandler
import gc
import mmap
import os
import platform
import queue
import signal
import socket
import sys
import threading

from . import application, checks, files, frame, loaded
from .wsgi import Slot


class Config:
    """What the server tells a worker before anything else."""

    def __init__(self, values):
        self.app = values["app"]
        self.asgi_app = values["asgi_app"]
        self.root_path = values["root_path"]
        self.static_files = values["static_files"]
        self.media_files = values["media_files"]
        self.server_name = values["server_name"]
        self.server_port = values["server_port"]
        self.server_software = values["server_software"]
        self.multiprocess = values["multiprocess"]
        self.interface = values["interface"]
        self.lifespan = values["lifespan"]
        self.event_loop = values["event_loop"]
        self.disconnect_grace = values["disconnect_grace"] / 1000
        self.data = values["data"]
        self.lane = values["lane"]
        self.begun = values["begun"]
        self.handlers = values["handlers"]
        self.tell_files = values["tell_files"]
        self.debug = values["debug"]
        self.debuggers = values["debuggers"]
        self.multithread = len(self.data) > 1


class Worker:
    """The control channel and the slots behind it."""

    def __init__(self, control):
        self.control = frame.Channel(control)
        self.sending = threading.Lock()
        self.slots = []
        self.interface = None
        self.files = None
        self.checks = queue.SimpleQueue()
        self.loaded = None

    def run(self):
        _, values = self.control.receive()
        config = Config(values)
        if config.tell_files:
            loaded.cache_no_fresh_code()
            self.loaded = loaded.Loaded(lambda *news: self.send(frame.LOADED, news))
        if config.debuggers:
            self.attach(config.debuggers)
        try:
            if config.handlers is not None:
                # Only here, as it brings asyncio along.
                from . import amqp

                amqp.run(self, config)
                return 0
            if config.interface == "hybrid":
                self.interface = "hybrid"
                app, asgi_app = application.load_both(config.app, config.asgi_app)
            else:
                app, self.interface = application.load(config.app, config.interface)
            app, self.files = files.prepare(app, self.interface, config)
            begun = memoryview(mmap.mmap(config.begun, 0)).cast("I")
            if self.interface != "asgi":
                self.open_slots(app, config, begun)
            if self.interface == "wsgi":
                self.run_slots()
            else:
                # Only here, as it brings asyncio along.
                from . import asgi

                asgi.run(self, app if self.interface == "asgi" else asgi_app, config, begun)
        except application.LoadError as error:
            if self.loaded:
                self.loaded.look(error)
            self.send(frame.FAILED, (error.reason, str(error)))
            return 1
        return 0

    def open_slots(self, app, config, begun):
        for index, descriptors in enumerate(config.data):
            requests, answers = (socket.socket(fileno=descriptor) for descriptor in descriptors)
            requests.set_inheritable(False)
            answers.set_inheritable(False)
            self.slots.append(Slot(index, requests, answers, app, config, begun))

    def run_slots(self):
        self.ready()
        self.obey()
        for slot in self.slots:
            slot.join()

    def ready(self, kind=frame.READY, about=None):
        """From here on the server may send requests, or messages, and ask for checks."""
        # What the application has built so far lives as long as the process: keep the collector from visiting it.
        gc.collect()
        gc.freeze()
        for slot in self.slots:
            slot.start()
        running = threading.Thread(target=self.run_checks, name="hurricane-checks", daemon=True)
        keep_from_debuggers(running)
        running.start()
        if self.loaded:
            self.loaded.look()
            self.loaded.start()
        self.send(kind, about or self.about())

    def beat(self, lag):
        """The event loop turns, so many seconds later than it should."""
        self.send(frame.BEAT, max(0, int(lag * 1e6)))

    def about(self):
        """The protocol's version, Python's, Django's where the application is a Django project, the interface, and
        where the project's files are."""
        django = sys.modules["django"].get_version() if checks.has_django() else None
        return frame.PROTOCOL, platform.python_version(), django, self.interface, self.files

    def obey(self):
        """Does what the server asks for, until it closes the channel."""
        keep_from_debuggers(threading.current_thread())
        while True:
            try:
                message = self.control.receive()
            except ConnectionResetError:
                return
            if message is None:
                return
            kind, value = message
            if kind == frame.CHECK:
                self.checks.put(value)
            elif kind == frame.RECALL:
                self.send(frame.RECALLED, (value, self.slots[value].recall()))
            elif kind == frame.CANCEL:
                slot, stream = value
                self.slots[slot].cancelled = stream

    def attach(self, options):
        """Sets the debuggers up that were asked for."""
        # Only here, as nothing else needs it.
        from hurricane.server import debugging

        # That the modules of the interpreter itself are frozen is no reason for a warning.
        os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
        debugging.attach(options, lambda level, message: self.send(frame.LOG, (level, message)))

    def run_checks(self):
        while True:
            number, what = self.checks.get()
            status, message = checks.run(what)
            self.send(frame.CHECKED, (number, status, message))

    def send(self, kind, value):
        try:
            with self.sending:
                self.control.send(kind, value)
        except (BrokenPipeError, ConnectionResetError):
            pass    # the server is gone; `obey` sees the end of the channel


def keep_from_debuggers(thread):
    """At a breakpoint debuggers stop all threads, but for those with this mark: the server is to have its answers."""
    thread.pydev_do_not_trace = True


def yield_to_the_server():
    """Where they share a core, lets the server finish its turn instead of interrupting it with every request."""
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError):
        pass    # not on Linux, or not allowed: it is only quicker


def run(control):
    """Runs the worker on its control channel; the exit status of the process."""
    # On SIGABRT, which the server sends to a worker that hangs, every thread shows where it is.
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(control.fileno(), False)
    yield_to_the_server()
    return Worker(control).run()
