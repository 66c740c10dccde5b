"""ASGI applications that do one thing each, and those that should not be done."""
import asyncio
import json
import os
import pathlib
import tempfile

from notes import note, wait_for

DIR = pathlib.Path(os.environ.get("TEST_DIR", tempfile.gettempdir()))


def start(status=200, headers=(), **more):
    return {"type": "http.response.start", "status": status, "headers": headers, **more}


def body(data=b"", more=False):
    return {"type": "http.response.body", "body": data, "more_body": more}


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
    elif scope["type"] == "http":
        name, _, rest = scope["path"].strip("/").partition("/")
        await VIEWS[name](scope, receive, send, rest)
    else:
        name, _, rest = scope["path"].strip("/").partition("/")
        await VIEWS[name](scope, receive, send, rest)
        note(f"end of {name}")


async def lifespan(scope, receive, send):
    scope["state"]["begun"] = "at the start"
    for _ in range(2):
        kind = (await receive())["type"]
        if kind == "lifespan.shutdown" and (DIR / "slow-end").exists():
            await asyncio.sleep(0.5)
        note(kind)
        await send({"type": f"{kind}.complete"})


async def broken_start(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "Traceback of it\nno database"})


async def without_lifespan(scope, receive, send):
    assert scope["type"] == "http"
    await send(start())
    await send(body(b"hello"))


async def hello(scope, receive, send, rest):
    await send(start(headers=[(b"content-type", b"text/plain"), (b"content-length", b"5")]))
    await send(body(b"hello"))


async def show(scope, receive, send, rest):
    """The scope, as JSON."""
    def plain(value):
        return value.decode("latin-1") if isinstance(value, bytes) else repr(value)

    await send(start(headers=[(b"content-type", b"application/json")]))
    await send(body(json.dumps(scope, default=plain).encode()))


async def pid(scope, receive, send, rest):
    await send(start())
    await send(body(str(os.getpid()).encode()))


async def die(scope, receive, send, rest):
    os._exit(9)


async def echo(scope, receive, send, rest):
    """Each part of the body as it comes, and how many there were."""
    trailers = "http.response.trailers" in scope.get("extensions", ())
    await send(start(headers=[(b"trailer", b"x-parts")], trailers=trailers))
    count, more = 0, True
    while more:
        message = await receive()
        count, more = count + 1, message["more_body"]
        await send(body(message["body"], True))
    await send(body())
    if trailers:
        await send({"type": "http.response.trailers", "headers": [(b"x-parts", b"%d" % count)]})


async def stream(scope, receive, send, rest):
    """So many kilobytes, in as many parts."""
    await send(start())
    for _ in range(int(rest)):
        await send(body(b"x" * 1000, True))
    await send(body())


async def unread(scope, receive, send, rest):
    """Does not ask for the body."""
    await send(start(417))
    await send(body(b"not wanted"))


async def count(scope, receive, send, rest):
    """How long the body is, of which it notes the parts."""
    length, more = 0, True
    while more:
        message = await receive()
        length, more = length + len(message["body"]), message["more_body"]
        note(f"part {len(message['body'])}")
    await send(start())
    await send(body(b"%d" % length))


async def events(scope, receive, send, rest):
    """Server-sent events, one each time that a file appears."""
    await send(start(headers=[(b"content-type", b"text/event-stream")]))
    for number in range(int(rest)):
        await send(body(b"data: %d\n\n" % number, True))
        while not (DIR / f"go-{number}").exists():
            await asyncio.sleep(0.005)
    await send(body())


async def endless(scope, receive, send, rest):
    """Writes until the client leaves, and notes how much that was."""
    await send(start())
    length = 0
    try:
        while True:
            await send(body(b"x" * 10_000, True))
            length += 10_000
            (DIR / "sent").write_text(str(length))
    except OSError as error:
        note(f"{type(error).__name__}")
        raise


async def watch(scope, receive, send, rest):
    """Waits for the client to leave, and longer."""
    note("watching")
    await receive()
    note((await receive())["type"])
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        note("cancelled")
        raise


async def after(scope, receive, send, rest):
    """Goes on after the response."""
    await send(start())
    await send(body(b"done"))
    await receive()
    note((await receive())["type"])
    while not (DIR / "go").exists():
        await asyncio.sleep(0.005)
    note("after")


async def wait(scope, receive, send, rest):
    note(f"waiting {rest}")
    while not (DIR / "go").exists():
        await asyncio.sleep(0.005)
    await send(start())
    await send(body(rest.encode()))


async def block(scope, receive, send, rest):
    """Holds up the loop, until the test says go, or for so many seconds."""
    note("blocking")
    wait_for("go", float(rest))
    await hello(scope, receive, send, rest)


async def hint(scope, receive, send, rest):
    """Hints, and then holds up the loop until the test says go."""
    links = {"": [b"</a.css>; rel=preload", b"</b.js>"], "wrong": [b"</a>\r\nx: y"], "one": [b"</a>"],
             "none": []}[rest]
    await send({"type": "http.response.early_hint", "links": links})
    await send(start())
    if not rest:
        assert wait_for("go", 20), "the hint has not come"
        await send({"type": "http.response.early_hint", "links": [b"</last>"]})
    await send(body(b"hello"))


async def file(scope, receive, send, rest):
    path = DIR / "file"
    if rest != "missing":
        path.write_bytes(b"from a file")
    await send(start(headers=[(b"content-length", b"11")]))
    await send({"type": "http.response.pathsend", "path": str(path) if rest != "relative" else "file"})


async def fail(scope, receive, send, rest):
    if rest == "late":
        await send(start())
        await send(body(b"first", True))
    raise {"exit": SystemExit(3), "error": ValueError("on purpose")}.get(rest, RuntimeError("on purpose"))


async def silent(scope, receive, send, rest):
    """Returns too early."""
    if rest:
        await send(start())
    if rest == "body":
        await send(body(b"first", True))


async def length(scope, receive, send, rest):
    """A body of another length than was promised: whole, or in parts."""
    promised, found, parts = rest.split("-")
    await send(start(headers=[(b"content-length", promised.encode())]))
    if parts == "parts":
        await send(body(b"", True))
    await send(body(b"x" * int(found)))


async def head(scope, receive, send, rest):
    """Heads that are not as they should be, and odd ones that are."""
    status, headers = {
        "name": (200, [(b"not a token", b"x")]),
        "value": (200, [(b"x", b"a\r\nb: c")]),
        "text": (200, [("x", "y")]),
        "status": (99, []),
        "hop": (200, [(b"transfer-encoding", b"chunked"), (b"keep-alive", b"x"), (b"x", b"kept")]),
        "close": (200, [(b"connection", b"close")]),
        "twice": (200, [(b"set-cookie", b"a"), (b"set-cookie", b"b")]),
        "empty": (204, []),
        "same": (304, [(b"content-length", b"7")]),
    }[rest]
    await send(start(status, headers))
    await send(body(b"content" if status == 304 else b""))


# --- WebSockets

async def accept(receive, send, **fields):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", **fields})


async def ws_show(scope, receive, send, rest):
    await accept(receive, send, headers=[(b"x-greeting", b"hello")],
                 subprotocol=scope["subprotocols"][-1] if scope["subprotocols"] else None)
    text = json.dumps(scope, default=lambda value: value.decode("latin-1"))
    await send({"type": "websocket.send", "text": text})
    await send({"type": "websocket.close", "code": 4001, "reason": "that was all"})
    note(f"after closing: {await receive()}")


async def ws_echo(scope, receive, send, rest):
    await accept(receive, send)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note(f"disconnect {message['code']} {message['reason']}")
            return
        await send({**message, "type": "websocket.send"})


async def ws_deny(scope, receive, send, rest):
    await receive()
    if rest == "answer":
        headers = [(b"www-authenticate", b"Basic")]
        await send({"type": "websocket.http.response.start", "status": 401, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": b"not ", "more_body": True})
        await send({"type": "websocket.http.response.body", "body": b"you"})
    elif rest == "close":
        await send({"type": "websocket.close", "code": 4000})
    elif rest == "error":
        raise ValueError("on purpose")


async def ws_fail(scope, receive, send, rest):
    await accept(receive, send)
    await receive()
    if rest == "error":
        raise ValueError("on purpose")


async def ws_flood(scope, receive, send, rest):
    """Sends until the client leaves."""
    await accept(receive, send)
    count = 0
    try:
        while True:
            await send({"type": "websocket.send", "bytes": b"x" * 10_000})
            count += 1
            (DIR / "sent").write_text(str(count * 10_000))
    except OSError as error:
        note(type(error).__name__)
        raise


async def ws_deaf(scope, receive, send, rest):
    """Does not listen until it is told to, and then counts."""
    await accept(receive, send)
    while not (DIR / "go").exists():
        await asyncio.sleep(0.005)
    length = 0
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            note(f"heard {length}")
            return
        length += len(message["bytes"])


async def ws_push(scope, receive, send, rest):
    """Accepts, and says nothing until it is closed."""
    await accept(receive, send)
    note("open")
    note(f"disconnect {(await receive())['code']}")


VIEWS = {name: view for name, view in list(globals().items()) if asyncio.iscoroutinefunction(view)}
VIEWS[""] = hello
