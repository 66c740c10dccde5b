"""`hurricane serve`, started to be measured or trained."""
import os
import pathlib
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
# Nothing that is waited for takes so long (seconds).
PATIENCE = 120


class Server:
    """A server with what it is told, on ports of the system's choice."""

    def __init__(self, options, *words, cwd=HERE, **environment):
        command = [options.hurricane, "serve", "--python", options.python, "--host", "127.0.0.1", "--port", "0",
                   "--probe-port", "0", *words]
        self.process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **environment}, text=True,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        told = ""
        self.workers = []
        for line in self.process.stderr:
            told += line
            if worker := re.search(r"worker.pid=(\d+)", line):
                self.workers.append(int(worker[1]))
            if port := re.search(r"probe application running on port (\d+)", line):
                self.probe_port = int(port[1])
            # Before this it takes no connections.
            if port := re.search(r"serving on [\d.]+:(\d+)", line):
                self.port = int(port[1])
                break
        else:
            sys.exit(f"{' '.join(map(str, command))} ended:\n{told}")
        # Nobody reads its log any more, and it must not wait for that.
        self.reader = ThreadPoolExecutor(1)
        self.reader.submit(self.process.stderr.read)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        self.reader.shutdown()
        assert code == 0, f"it ended with {code}"

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
