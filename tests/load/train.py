"""Learns for the compiler what `hurricane` does most: builds it with counters, puts it to work, and writes a profile.

    python tests/load/train.py target/hurricane.profdata           # then: -Cprofile-use=…, see the Makefile
    python tests/load/train.py --hurricane target/debug/hurricane  # only puts a binary to work

What is not done here counts as rare for the compiler, and is made small instead of quick: so whatever has to be quick
is done here. It needs `llvm-profdata` of rustc's LLVM (`rustup component add llvm-tools`, or a package of the system),
and pika, websockets and RabbitMQ for messages.
"""
import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from amqp import SERVERS, Broker, Consumer, until
from server import HERE, PATIENCE, Server

ROOT = HERE.parent.parent
EXAMPLE = ROOT / "examples/django-polls"

BROWSER = ("Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
           "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
           "Cookie: csrftoken=pvmTN1e8Vq2ZpJ3b; sessionid=x0t8d3m5q7k9\r\n"
           "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
           "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\n")


# --- the applications

def wsgi(environ, start_response):
    path = environ["PATH_INFO"]
    body = [b"Hello World!"]
    if path == "/echo":
        body = [environ["wsgi.input"].read()]
    elif path == "/file":
        body = environ["wsgi.file_wrapper"](open(__file__, "rb"))
    elif path == "/stream":
        body = (b"a part of it" for _ in range(3))
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Frame-Options", "DENY")])
    return body


async def asgi(scope, receive, send):
    if scope["type"] == "websocket":
        await websocket(receive, send)
        return
    if scope["type"] == "lifespan":
        return
    headers = [(b"content-type", b"text/plain"), (b"x-frame-options", b"DENY")]
    body, more = b"Hello World!", False
    if scope["path"] == "/echo":
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
    elif scope["path"] == "/stream":
        more = True
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(3 if more else 0):
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": body})


async def websocket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


# --- the clients

class Trained(Server):
    """A server, and what is asked of it."""

    def load(self, seconds, *requests, connections=(1, 8, 64)):
        """Has each request answered over and over, on so many connections at once."""
        for request in requests:
            for count in connections:
                with contextlib.ExitStack() as stack:
                    sockets = [stack.enter_context(self.connect()) for _ in range(count)]
                    answers = [sock.makefile("rb") for sock in sockets]
                    end = time.monotonic() + seconds
                    while time.monotonic() < end:
                        for sock in sockets:
                            sock.sendall(request)
                        for answer in answers:
                            read_answer(answer)

    def probe(self, count):
        """Asks the probes, as Kubernetes and Prometheus do, each time on a new connection."""
        for path in ["/alive", "/ready", "/startup", "/metrics"] * count:
            urllib.request.urlopen(f"http://127.0.0.1:{self.probe_port}{path}", timeout=PATIENCE).read()


def request(path, headers="", body=b""):
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    method = "POST" if body else "GET"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{length}\r\n".encode() + body


def read_answer(answer):
    status = answer.readline()
    assert status.startswith((b"HTTP/1.1 200", b"HTTP/1.1 302")), status
    length = None
    while (line := answer.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    if length is not None:
        return answer.read(length)
    while size := int(answer.readline(), 16):
        answer.read(size + 2)
    return answer.readline()


async def chat(port, seconds):
    """WebSockets, with one message on its way and with many, small and large, compressed and not."""
    from websockets.asyncio.client import connect

    async def one(size, ahead, compression):
        async with connect(f"ws://127.0.0.1:{port}/", compression=compression) as client:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for _ in range(ahead):
                    await client.send("x" * size)
                for _ in range(ahead):
                    assert len(await client.recv()) == size

    for size, ahead, compression in [(64, 1, None), (64, 16, None), (100_000, 1, None), (2_000, 4, "deflate")]:
        await asyncio.gather(*(one(size, ahead, compression) for _ in range(16)))


# --- the work

def threads(options):
    seconds = options.seconds
    get, browser = request("/"), request("/a%20path/?q=%C3%BC&page=2", BROWSER)
    with Trained(options, "--app", "train:wsgi", "--threads", "1", "--no-access-log") as server:
        server.load(seconds * 2, get, connections=(1, 8, 64, 256))
        server.load(seconds, browser, request("/echo", BROWSER, b"x" * 10_000), request("/stream"))
        server.load(seconds / 4, request("/file"), request("/echo", body=b"x" * 2_000_000), connections=(2,))
    with Trained(options, "--app", "train:wsgi", "--static-dir", f"/static={HERE}") as server:
        server.load(seconds, get, browser, request("/echo", BROWSER, b"x" * 500))
        server.load(seconds / 2, request("/static/train.py", BROWSER), connections=(8,))
        server.probe(options.probes)


def event_loop(options):
    seconds = options.seconds
    with Trained(options, "--app", "train:asgi", "--no-access-log") as server:
        server.load(seconds * 2, request("/"))
        server.load(seconds, request("/", BROWSER), request("/echo", BROWSER, b"x" * 10_000), request("/stream"))
        server.load(seconds / 4, request("/echo", body=b"x" * 2_000_000), connections=(2,))
        asyncio.run(chat(server.port, seconds / 2))
        server.probe(options.probes // 4)


def django(options, folder):
    environment = {"DJANGO_SETTINGS_MODULE": "mysite.settings", "POLLS_DB": str(folder / "db.sqlite3")}
    for words in (["migrate", "--verbosity", "0"], ["loaddata", "--verbosity", "0", "demo"]):
        command = [options.python, "manage.py", *words]
        subprocess.run(command, cwd=EXAMPLE, env={**os.environ, **environment}, check=True)
    for words in (["--log-format", "json"], ["--interface", "hybrid", "--no-access-log"]):
        with Trained(options, *words, cwd=EXAMPLE, **environment) as server:
            server.load(options.seconds, request("/hello", BROWSER), request("/", BROWSER), request("/api/questions"))
            server.probe(options.probes // 4)


def messages(options, folder):
    broker = Broker(folder)
    try:
        for words in (["--prefetch", "1"], ["--prefetch", "100"], ["--prefetch", "1000", "--workers", "1"]):
            broker.publish(["x" * 200] * max(1, int(options.seconds * 10_000)))
            consumer = Consumer(options, broker, folder, "noting.Quick", *words)
            until("nothing waits", lambda: broker.depth() == 0)
            consumer.stop()
    finally:
        broker.stop()


def work(options):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        threads(options)
        event_loop(options)
        django(options, pathlib.Path(folder))
        if not options.no_broker:
            messages(options, pathlib.Path(folder))


# --- the compiler

def profdata():
    """The program that merges profiles, as rustc's version of LLVM has it."""
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    host, llvm = re.search(r"host: (\S+)", version)[1], re.search(r"LLVM version: (\d+)", version)[1]
    sysroot = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True).stdout.strip()
    for candidate in (f"{sysroot}/lib/rustlib/{host}/bin/llvm-profdata", f"llvm-profdata-{llvm}"):
        if found := shutil.which(candidate):
            return found
    sys.exit(f"llvm-profdata of LLVM {llvm} is missing: rustup component add llvm-tools, or install llvm-{llvm}")


def build(target):
    """Builds the server with counters, and returns where it is."""
    flags = f"{os.environ.get('RUSTFLAGS', '')} -Cprofile-generate"
    # What build scripts and macros count is of no use.
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target), "RUSTFLAGS": flags, "LLVM_PROFILE_FILE": "/dev/null"}
    command = ["cargo", "build", "--release", "-p", "hurricane-cli", "--message-format", "json-render-diagnostics"]
    output = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    messages = map(json.loads, output.splitlines())
    return next(message["executable"] for message in messages if message.get("executable"))


def require_broker():
    """Says what is missing now, and not when the server has been built."""
    if not any(map(shutil.which, [*SERVERS, "rabbitmq-server"])):
        sys.exit("rabbitmq-server is missing: install it, or leave out the messages with --no-broker")
    if not importlib.util.find_spec("pika"):
        sys.exit("pika is missing: pip install -r requirements-dev.txt, or leave out the messages with --no-broker")


def learn(options):
    merge = profdata()
    options.hurricane = build(options.profile.parent / "training")
    with tempfile.TemporaryDirectory() as folder:
        # The workers are Python and count nothing; `%m` is the same for all runs of the server.
        os.environ["LLVM_PROFILE_FILE"] = f"{folder}/%m.profraw"
        work(options)
        subprocess.run([merge, "merge", "-o", options.profile, folder], check=True)
    print(f"{options.profile}: {options.profile.stat().st_size / 1e6:.1f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("profile", nargs="?", type=pathlib.Path, help="where the profile is written")
    what.add_argument("--hurricane", type=os.path.abspath, help="a binary that is put to work, without a profile")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the workers")
    parser.add_argument("--seconds", type=float, default=1, help="how long most requests are made")
    parser.add_argument("--probes", type=int, default=400, help="how often the probes are asked")
    parser.add_argument("--no-broker", action="store_true", help="leave out the messages")
    options = parser.parse_args()
    if not options.no_broker:
        require_broker()
    if options.profile:
        options.profile = options.profile.resolve()
        learn(options)
    else:
        work(options)


if __name__ == "__main__":
    main()
