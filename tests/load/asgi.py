"""What many WebSockets and large streams cost: starts Hurricane with the application below, and measures its processes.

    python tests/load/asgi.py websockets --hurricane target/release/hurricane    # 10,000 that say nothing
    python tests/load/asgi.py streams --hurricane target/release/hurricane       # 1 GiB down, and 1 GiB up

Memory is the proportional set (PSS), which counts what processes share once. The limit of open files has to be above
the number of WebSockets.
"""
import argparse
import contextlib
import os
import pathlib
import re
import sys
import threading
import time

from server import Server

PART = b"x" * 64 * 1024
HANDSHAKE = (b"GET /silent HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
             b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")


async def application(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        return
    assert scope["type"] == "http"
    if scope["path"] == "/up":
        length, more = 0, True
        while more:
            message = await receive()
            length, more = length + len(message["body"]), message["more_body"]
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"%d" % length})
    else:
        await send({"type": "http.response.start", "status": 200})
        for _ in range(int(scope["query_string"] or 0) // len(PART)):
            await send({"type": "http.response.body", "body": PART, "more_body": True})
        await send({"type": "http.response.body"})


class Measured(Server):
    """Hurricane with one worker, and how much memory both processes have."""

    def __init__(self, options):
        super().__init__(options, "--app", "asgi", "--interface", "asgi", "--no-access-log", "--max-body-size", "4G")
        self.pids = {"server": self.process.pid, "worker": self.workers[-1]}
        self.request("/")

    def memory(self):
        """Of each process, in bytes."""
        return {name: pss(pid) for name, pid in self.pids.items()}

    def request(self, path):
        with self.connect() as sock:
            sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            length = 0
            while got := len(sock.recv(1 << 18)):
                length += got
            return length


def pss(pid):
    rollup = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[1]) * 1024


def websockets(server, options):
    before = server.memory()
    started = time.perf_counter()
    sockets = []
    for _ in range(0, options.count, 200):
        batch = [server.connect() for _ in range(min(200, options.count - len(sockets)))]
        for sock in batch:
            sock.sendall(HANDSHAKE)
        for sock in batch:
            head = b""
            while b"\r\n\r\n" not in head:
                head += sock.recv(4096)
            assert head.startswith(b"HTTP/1.1 101"), head
        sockets.extend(batch)
    took = time.perf_counter() - started
    after = server.memory()
    print(f"{len(sockets)} WebSockets, opened in {took:.1f} s")
    for name, memory in after.items():
        each = (memory - before[name]) / len(sockets) / 1024
        print(f"  {name}: {before[name] / 2**20:.1f} MiB, then {memory / 2**20:.1f} MiB, {each:.2f} KiB for each")
    for sock in sockets:
        sock.close()
    time.sleep(2)
    for name, memory in server.memory().items():
        print(f"  {name}: {memory / 2**20:.1f} MiB two seconds after they were closed")


@contextlib.contextmanager
def watched(server, what):
    """Prints how much memory there was at most in the meantime."""
    most, over = server.memory(), threading.Event()
    before = dict(most)

    def look():
        while not over.wait(0.05):
            for name, memory in server.memory().items():
                most[name] = max(most[name], memory)

    looking = threading.Thread(target=look)
    looking.start()
    started = time.perf_counter()
    yield
    took = time.perf_counter() - started
    over.set()
    looking.join()
    grown = ", ".join(f"{name} {before[name] / 2**20:.1f} MiB, at most {most[name] / 2**20:.1f} MiB" for name in most)
    print(f"{what} in {took:.1f} s: {grown}")


def streams(server, options):
    length = options.count * len(PART)
    for _ in range(2):
        with watched(server, f"{length / 2**30:.2f} GiB down"):
            assert server.request(f"/down?{length}") > length
        with watched(server, f"{length / 2**30:.2f} GiB up"), server.connect() as sock:
            sock.sendall(b"POST /up HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % length)
            for _ in range(options.count):
                sock.sendall(PART)
            assert sock.recv(4096).endswith(b"%d" % length) or sock.recv(4096).endswith(b"%d" % length)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["websockets", "streams"])
    parser.add_argument("--hurricane", type=os.path.abspath, required=True, help="the binary")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the worker")
    parser.add_argument("--count", type=int, help="how many WebSockets, or parts of 64 KiB")
    options = parser.parse_args()
    options.count = options.count or {"websockets": 10_000, "streams": 2**30 // len(PART)}[options.what]
    with Measured(options) as server:
        {"websockets": websockets, "streams": streams}[options.what](server, options)


if __name__ == "__main__":
    main()
