"""Requests that hold, hang or end the process. Each notes that it ran, under its number (`?n`)."""
import atexit
import ctypes
import os
import signal
import subprocess
import threading
import time

from notes import DIR, note, wait_for

if (DIR / "broken").exists():
    raise RuntimeError("broken for now")

atexit.register(note, "atexit ran")


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/")
    number = environ["QUERY_STRING"]
    note(f"ran {name} {number}")
    result = globals()[f"do_{name}"](number, environ)
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Pid", str(os.getpid()))])
    return result if hasattr(result, "__next__") else [str(result).encode()]


def do_quick(number, environ):
    return number


def do_hold(number, environ):
    """Until the test says go."""
    return number if wait_for("go") else "in vain"


def do_sleep(number, environ):
    """`number` milliseconds."""
    time.sleep(int(number) / 1000)
    return number


def do_exit(number, environ):
    os._exit(3)


def do_kill(number, environ):
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(30)


def do_gil(number, environ):
    """Holds the GIL, as a C extension may, until the test opens the other end of a pipe."""
    pipe = DIR / "gil"
    os.mkfifo(pipe)
    os.close(ctypes.PyDLL(None).open(os.fsencode(pipe), os.O_RDONLY))
    return number


def do_stream(number, environ):
    """A piece for each file `go0`, `go1` … that the test makes, `number` in all."""
    def body():
        for piece in range(int(number)):
            yield f"piece {piece}\n".encode() if wait_for(f"go{piece}") else b"in vain\n"
        note("stream ended")
    return body()


def do_length(number, environ):
    return f"{len(environ['wsgi.input'].read())} {type(environ['wsgi.input']).__name__}"


def do_threads(number, environ):
    return sum(thread.name.startswith("hurricane-wsgi") for thread in threading.enumerate())


def do_orphan(number, environ):
    """A process whose parent ends at once: init has to reap it."""
    shell = f"(sleep 0.2; : > {DIR}/orphan-ended) & echo $! > {DIR}/orphan"
    subprocess.run(["sh", "-c", shell], check=True)
    return "orphaned"
