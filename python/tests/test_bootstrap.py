"""A worker process, started and told what to do as the server does it."""
import mmap
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from hurricane.worker import frame
from server import PATIENCE, pair, request

PACKAGE = Path(__file__).parents[1] / "hurricane"
BOOTSTRAP = (PACKAGE / "worker" / "bootstrap.py").read_text(encoding="utf-8")

APP = """
import hurricane.worker.frame, os, sys
def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/die":
        os._exit(9)
    start_response("200 OK", [])
    if path == "/argv":
        return [repr(sys.argv).encode()]
    if path == "/origin":
        return [hurricane.worker.frame.__spec__.origin.encode()]
    return [environ["SCRIPT_NAME"].encode()]
"""


def sources():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("hurricane", *path.relative_to(PACKAGE).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        found[".".join(parts[:-1] if is_package else parts)] = (is_package, path.read_text(encoding="utf-8"))
    return found


class Bootstrap(unittest.TestCase):
    def start(self, app="site_app:app", slots=1):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        Path(folder.name, "site_app.py").write_text(APP, encoding="utf-8")
        Path(folder.name, "site_broken.py").write_text("1 / 0\n", encoding="utf-8")
        page = tempfile.TemporaryFile()
        self.addCleanup(page.close)
        page.truncate(4 * slots)
        self.begun = memoryview(mmap.mmap(page.fileno(), 4 * slots)).cast("I")
        self.control, control = pair(self)
        ends = [pair(self) for _ in range(slots)]
        self.slots = [channel for channel, _ in ends]
        # The test talks to a slot over one socket, of which the worker has two descriptors, one for each direction.
        theirs = [control, *(end for _, sock in ends for end in (sock, sock.dup()))]
        numbers = [sock.fileno() for sock in theirs]
        # No PYTHONPATH: the package is to come over the channel.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOOTSTRAP, str(numbers[0]), "hurricane.worker.main"],
            cwd=folder.name, env=environment, text=True,
            pass_fds=[*numbers, page.fileno()], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end)
        for sock in theirs:
            sock.close()
        self.control.send(frame.SOURCES, sources())
        self.control.send(frame.CONFIG, {
            "app": app, "asgi_app": None, "root_path": "/root", "server_name": "localhost", "server_port": "8000",
            "server_software": "hurricane", "multiprocess": True, "static_files": False, "media_files": False,
            "data": list(zip(numbers[1::2], numbers[2::2])),
            "interface": "auto", "lane": None, "lifespan": "auto", "event_loop": "auto", "disconnect_grace": 0,
            "begun": page.fileno(), "handlers": None, "tell_files": False, "debug": False, "debuggers": None})

    def end(self):
        self.process.kill()
        self.process.communicate()

    def ready(self):
        kind, value = self.control.receive()
        self.assertEqual(kind, frame.READY, value)
        return value

    def ask(self, path, slot=0, stream=1):
        self.slots[slot].send(frame.REQUESTS, [request(stream, path)])
        kind, (_, _, answers) = self.slots[slot].receive()
        self.assertEqual(kind, frame.ANSWERS)
        return answers

    def test_it_is_ready_serves_and_ends_with_its_channels(self):
        self.start(slots=2)
        self.assertEqual(self.ready(), (frame.PROTOCOL, platform.python_version(), None, "wsgi", None))
        for slot in range(2):
            self.assertEqual(self.ask("/", slot, 7 + slot), [(7 + slot, "200 OK", [], b"/root")])
        self.assertEqual(list(self.begun), [7, 8])
        for channel in (self.control, *self.slots):
            channel.sock.shutdown(socket.SHUT_RDWR)
        output = self.process.communicate(timeout=PATIENCE)
        self.assertEqual((self.process.returncode, *output), (0, "", ""))

    def test_its_code_is_what_it_was_sent(self):
        self.start()
        self.ready()
        self.assertEqual(self.ask("/origin")[0][3], b"<hurricane>/hurricane.worker.frame")
        self.assertEqual(self.ask("/argv")[0][3], b"['hurricane']")

    def test_what_does_not_load_is_told(self):
        self.start("nowhere:app")
        kind, (reason, message) = self.control.receive()
        self.assertEqual((kind, reason), (frame.FAILED, "application"))
        self.assertIn("'nowhere'", message)
        output = self.process.communicate(timeout=PATIENCE)
        self.assertEqual((self.process.returncode, *output), (1, "", ""))

    def test_a_traceback_begins_in_the_application(self):
        self.start("site_broken:app")
        self.assertEqual(self.control.receive()[0], frame.FAILED)
        lines = self.process.communicate(timeout=PATIENCE)[1].splitlines()
        self.assertIn("Traceback", lines[0])
        self.assertIn("site_broken.py", lines[1])
        self.assertIn("ZeroDivisionError", lines[-1])

    def test_checks_are_answered_and_recalls_too(self):
        self.start()
        self.ready()
        self.control.send(frame.CHECK, (3, "liveness"))
        kind, (number, status, _) = self.control.receive()
        self.assertEqual((kind, number, status), (frame.CHECKED, 3, 0))
        self.control.send(frame.RECALL, 0)
        self.assertEqual(self.control.receive(), (frame.RECALLED, (0, [])))

    def test_the_page_outlives_it(self):
        self.start()
        self.ready()
        self.slots[0].send(frame.REQUESTS, [request(4), request(5, "/die"), request(6)])
        self.assertEqual(self.process.wait(PATIENCE), 9)
        self.assertEqual(list(self.begun), [5])

    def test_an_interrupt_is_for_the_server(self):
        self.start()
        self.ready()
        self.process.send_signal(signal.SIGINT)
        self.assertEqual(self.ask("/")[0][3], b"/root")


if __name__ == "__main__":
    unittest.main()
