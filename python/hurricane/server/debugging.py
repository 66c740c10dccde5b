"""Debuggers in this interpreter: debugpy, which clients connect to, and PyCharm's, which connects to PyCharm.

``options`` is a dict of the options of ``manage.py serve`` by name, such as ``debugger_port``.
"""
import threading
import time

from .exceptions import IncompatibleOptions
from .loggers import logger

HOST, PORT = "127.0.0.1", 5678

# How often it is tried to listen on a port that is taken (seconds).
PAUSE = 1.0


def setup_debugging(options):
    """Sets the debuggers up that were asked for; raises ``IncompatibleOptions`` beside autoreload."""
    if options.get("autoreload") and (options.get("debugger") or options.get("pycharm_host")):
        raise IncompatibleOptions("Autoreload and debugger are not compatible")
    setup_debugpy(options)
    setup_pycharm(options)


def setup_debugpy(options):
    """Has debugpy listen, and waits for no client."""
    if options.get("debugger"):
        listen(options, log)


def setup_pycharm(options):
    """Connects to the debug server of PyCharm."""
    if options.get("pycharm_host"):
        connect(options, log)


def attach(options, log):
    """As ``setup_debugging``, for a worker: ``log`` is given a level and a message. Another worker that ends only now
    may have the port: then it is tried again."""
    if options.get("debugger"):
        try:
            listen(options, log)
        except Exception as error:
            log("warning", f"Cannot listen for debug clients at port {port(options)} yet: {error}")
            threading.Thread(target=listen_later, args=(options, log), name="hurricane-debugger", daemon=True).start()
    if options.get("pycharm_host"):
        connect(options, log)


def listen_later(options, log):
    while True:
        time.sleep(PAUSE)
        try:
            return listen(options, log)
        except Exception:
            pass    # it has been told


def listen(options, log):
    try:
        import debugpy
    except ImportError:
        log("warning", "Ignoring '--debugger' because there is no module 'debugpy': install it with "
                       "'pip install debugpy'.")
        return
    debugpy.listen((options.get("debugger_host") or HOST, port(options)))
    log("info", f"Listening for debug clients at port {port(options)}")


def port(options):
    return options.get("debugger_port") or PORT


def connect(options, log):
    try:
        import pydevd_pycharm
    except ImportError:
        log("warning", "Ignoring '--pycharm-host' because there is no module 'pydevd_pycharm': install the "
                       "'pydevd-pycharm' that goes with your PyCharm.")
        return
    host, port = options["pycharm_host"], options.get("pycharm_port")
    if not port:
        # Users of django-hurricane wait for this, to the last blank.
        log("warning", "No '--pycharm-port' was specified. The '--pycharm-host' option can only be used in combination "
                       "with the '--pycharm-port' option. ")
        return
    try:
        pydevd_pycharm.settrace(host, port=port, stdoutToServer=True, stderrToServer=True, suspend=False)
    except Exception:
        log("warning", f"Could not connect to debug server at {host}:{port}")
    else:
        log("info", f"Connected to debug server at {host}:{port}")


def log(level, message):
    getattr(logger, level)(message)
