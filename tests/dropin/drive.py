"""Drives `manage.py serve` as the tests of django-hurricane's users do.

Output comes through pipes. The server counts as started at a moment when its banner has been read and half a second has
passed without a line; what is asked then is asked at once, by a client that does not try again and leaves its
connections open. SIGTERM is not waited for: the next server is started right away, on the same ports.

It runs in a network and a process namespace of its own, where the usual ports are free and nothing else runs.
"""
import fcntl
import http.client
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
SILENCE = 0.5
ROUNDS = 120
BANNER = "Tornado-powered Django web server"

SETTINGS = """
LOGGING = {
    'version': 1,
    'formatters': {'plain': {'format': '%(asctime)s %(levelname)-8s %(name)-12s %(message)s'}},
    'handlers': {'console': {'class': 'logging.StreamHandler', 'stream': 'ext://sys.stdout', 'formatter': 'plain'}},
    'loggers': {'hurricane': {'handlers': ['console'], 'level': 'INFO', 'propagate': False}},
}
INSTALLED_APPS += ['steps']
"""

GENERAL = "INFO     hurricane.server.general "
PROBES = (GENERAL + "Starting probe application running on port {} with route "
          "liveness-probe: {}, readiness-probe: /ready, startup-probe: /startup")
HTTP = GENERAL + "Starting HTTP Server on port {}"
METRICS = GENERAL + "Starting Prometheus metrics exporter on port {} with route /metrics"
NO_METRICS = GENERAL + "Running without Prometheus exporter, because --{} flag was set"

# What is given; what is said until the silence; what is asked then, of which port, and the answer; what that leaves in
# the log.
RUNS = {
    "ports": [
        dict(says=[PROBES.format(8001, "/alive"), METRICS.format(8001), HTTP.format(8000), "Startup time is "],
             asks=[("GET", 8000, "/", 200, "It works."), ("HEAD", 8000, "/", 200, ""),
                   ("GET", 8000, "/doesnotexist", 404, "Not Found"),
                   ("GET", 8001, "/alive", 200, "Average response time: "), ("POST", 8001, "/alive/", 200, ""),
                   ("GET", 8001, "/ready", 200, ""),
                   ("GET", 8001, "/startup", 200, "Startup was finished "), ("GET", 8001, "/alive//", 404, ""),
                   ("GET", 8001, "/metrics", 200, "path_requests_total")],
             told=["INFO     hurricane.server.access 200 GET / (", "hurricane.server.access 200 HEAD / (",
                   "WARNING  hurricane.server.access 404 GET /doesnotexist ("]),
        dict(args=["--probe-port", "8000", "--liveness-probe", "/probe/"],
             says=["Starting probe application with routes liveness-probe: /probe,", "running integrated on port 8000",
                   METRICS.format(8000)],
             asks=[("GET", 8000, "/probe", 200, "alive"), ("GET", 8000, "/", 200, "It works."),
                   ("GET", 8000, "/metrics", 200, "request_counter_total 1")]),
        dict(args=["--no-probe"], says=[GENERAL + "No probe application running", NO_METRICS.format("no-probe")],
             asks=[("GET", 8000, "/", 200, "It works."), ("GET", 8001, "/alive", None, "")]),
    ],
    "settings": [
        dict(args=["--no-metrics"], says=[NO_METRICS.format("no-metrics")],
             asks=[("GET", 8001, "/metrics", 404, ""), ("GET", 8001, "/alive", 200, "alive")]),
        dict(env={"HURRICANE_PORT": "8085", "HURRICANE_LIVENESS_PROBE": "/variable"},
             says=[PROBES.format(8086, "/variable"), HTTP.format(8085)],
             asks=[("GET", 8086, "/variable", 200, "alive")]),
        dict(settings="PORT = 8087", env={"HURRICANE_PORT": "8085"}, says=[HTTP.format(8087)],
             asks=[("GET", 8087, "/", 200, "It works.")]),
    ],
    "commands": [
        dict(args=["--command", "makemigrations", "--command", "step say 'a b' c"], waits=True,
             says=["Starting execution of management commands", "No changes detected", "a b|c",
                   "Command step was executed in ", HTTP.format(8000)],
             asks=[("GET", 8001, "/startup", 200, "Startup was finished "), ("GET", 8001, "/ready", 200, ""),
                   ("GET", 8000, "/", 200, "It works.")]),
        dict(args=["--check-migrations-apply"], waits=True,
             says=["Database was checked successfully", "There are 1 pending migrations", "Applying migrations",
                   "No pending migrations", HTTP.format(8000)],
             asks=[("GET", 8000, "/", 200, "It works.")]),
    ],
    "limits": [
        dict(args=["--req-queue-len", "0"], asks=[("GET", 8001, "/ready", 400, "request queue: ")]),
        dict(args=["--max-lifetime", "2"],
             asks=[("GET", 8000, "/", 200, ""), ("GET", 8000, "/", 200, ""), ("GET", 8001, "/alive", 200, ""),
                   ("GET", 8000, "/", 200, ""), ("GET", 8001, "/alive", 400, ""), ("GET", 8001, "/ready", 200, "")]),
        dict(args=["--static", "--media"], settings="STATIC_URL = '/static/'; MEDIA_URL = '/media/'",
             says=["Serving static files under /static/ from <STATIC_ROOT not set>",
                   "Serving media files under /media/ from "],
             asks=[("GET", 8000, "/media/manage.py", 404, ""), ("GET", 8000, "/static/x.css", 404, "")]),
        dict(args=["--max-memory", "512M", "--autoreload"],
             says=["Autoreload was performed", "Starting memory allocation check with maximum memory set to 512 Mb"],
             asks=[("GET", 8000, "/", 200, "It works.")]),
    ],
}


class Driven:
    """A server, and what it has said."""

    def __init__(self, folder, args=(), env=None, settings=""):
        environment = dict(os.environ, TEST_DIR=folder, TEST_SETTINGS=SETTINGS + settings, **(env or {}))
        self.process = subprocess.Popen([sys.executable, "manage.py", "serve", *args], cwd=PROJECT, env=environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        self.lines, self.said = queue.Queue(), []
        for stream in (self.process.stdout, self.process.stderr):
            threading.Thread(target=self.follow, args=(stream,), daemon=True).start()

    def follow(self, stream):
        for line in stream:
            self.lines.put(line)

    def until_silence(self):
        while True:
            try:
                self.said.append(self.lines.get(timeout=SILENCE))
            except queue.Empty:
                return "".join(self.said)

    def start(self):
        for _ in range(ROUNDS):
            if BANNER in self.until_silence():
                return
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {''.join(self.said)}"
        raise AssertionError(f"no banner: {''.join(self.said)}")


def ask(method, port, path, kept):
    """Status and body, at the first try; no status where nothing listens."""
    client = http.client.HTTPConnection("localhost", port, timeout=20)
    kept.append(client)
    try:
        client.request(method, path)
    except ConnectionRefusedError:
        return None, ""
    answer = client.getresponse()
    return answer.status, answer.read().decode()


def drive(folder, kept, says=(), asks=(), told=(), waits=False, **given):
    """Starts a server, asks it, and ends it. Commands take the time that they take, which is waited for."""
    server = Driven(folder, **given)
    server.start()
    for _ in range(ROUNDS if waits else 0):
        if says[-1] in server.until_silence():
            break
    for method, port, path, status, body in asks:
        answer = ask(method, port, path, kept)
        assert answer[0] == status and body in answer[1], f"{given}: {method} {path}: {answer}"
    said = server.until_silence()
    for text in (*says, *told):
        assert text in said, f"{given} does not say {text!r}: {said}"
    server.process.send_signal(signal.SIGTERM)
    return server


def bring_up_loopback():
    name = struct.pack("16sh", b"lo", 0x1 | 0x40)    # IFF_UP, IFF_RUNNING
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, 0x8914, name)    # SIOCSIFFLAGS


def others():
    """The processes beside this one, which is the first here and so has to wait for orphans."""
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]


def main(folder, which):
    bring_up_loopback()
    kept, servers = [], []
    for number, run in enumerate(RUNS[which]):
        data = Path(folder) / str(number)
        data.mkdir()
        servers.append(drive(str(data), kept, **run))
    for server in servers:
        code = server.process.wait(timeout=60)
        assert code == 0, f"it ended with {code}: {''.join(server.said)}"
    deadline = time.monotonic() + 20
    while others():
        assert time.monotonic() < deadline, f"{others()} are left"
        time.sleep(0.01)


if __name__ == "__main__":
    main(*sys.argv[1:])
