"""WSGI applications, one for each thing that PEP 3333 allows or forbids; the path chooses."""
import io
import json
import os
import sys
from wsgiref.validate import validator

from notes import DIR, note, wait_for

PLAIN = ("Content-Type", "text/plain")


def application(environ, start_response):
    return globals()["view_" + environ["PATH_INFO"].split("/")[1]](environ, start_response)


def environ(environ, start_response):
    """The strings of the environ, whatever the path."""
    strings = {name: value for name, value in environ.items() if isinstance(value, str)}
    body = json.dumps(strings).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


class Closing:
    """An iterable that notes when it is closed."""

    def __init__(self, name, items):
        self.name = name
        self.items = iter(items)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.items)

    def close(self):
        note(f"closed {self.name}")


def view_hello(environ, start_response):
    start_response("200 OK", [PLAIN])
    return [b"hello"]


def view_environ(environ_, start_response):
    return environ(environ_, start_response)


def view_types(environ, start_response):
    """The values of the environ that are no strings."""
    body = json.dumps({
        "version": environ["wsgi.version"],
        "scheme": environ["wsgi.url_scheme"],
        "multithread": environ["wsgi.multithread"],
        "multiprocess": environ["wsgi.multiprocess"],
        "run_once": environ["wsgi.run_once"],
        "is_dict": type(environ) is dict,
        "thread": __import__("threading").current_thread().name,
    }).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]


# --- wsgiref.validate

def checked(environ, start_response):
    data = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or -1))
    environ["wsgi.errors"].flush()
    start_response("200 OK", [PLAIN, ("Content-Length", str(len(data) + 2))])
    return [b"<", data, b">"]


validated = validator(checked)


# --- start_response

def view_exc_info_before(environ, start_response):
    start_response("200 OK", [PLAIN, ("X-First", "1")])
    try:
        raise ValueError("too early to matter")
    except ValueError:
        start_response("500 Replaced", [PLAIN], sys.exc_info())
    return [b"replaced"]


def view_exc_info_after(environ, start_response):
    def body():
        start_response("200 OK", [PLAIN])
        yield b"begun"
        try:
            raise ValueError("the head is out")
        except ValueError:
            start_response("500 Too late", [PLAIN], sys.exc_info())
        note("went on")
        yield b"never sent"

    return Closing("exc_info_after", body())


def view_twice(environ, start_response):
    start_response("200 OK", [PLAIN])
    start_response("200 OK", [PLAIN])
    return [b"twice"]


def view_never(environ, start_response):
    return [b"no head"]


def view_late_head(environ, start_response):
    def body():
        start_response("201 Created", [PLAIN])
        yield b"late"

    return body()


def view_write(environ, start_response):
    write = start_response("200 OK", [PLAIN])
    write(b"one ")
    if not wait_for("go"):
        return [b"in vain"]
    write(b"two ")
    return [b"three"]


# --- bodies

def view_steps(environ, start_response):
    """The second piece is made when the test says so."""
    def body():
        yield b"first"
        yield b"second" if wait_for("go") else b"in vain"

    start_response("200 OK", [PLAIN])
    return Closing("steps", body())


def view_endless(environ, start_response):
    """64 KiB at a time for as long as somebody takes them; the count is in a file."""
    def body():
        count = 0
        try:
            while True:
                count += 1
                (DIR / "count.new").write_text(str(count))
                os.replace(DIR / "count.new", DIR / "count")
                yield b"x" * 65536
        except GeneratorExit:
            note("generator ended")
            raise

    start_response("200 OK", [PLAIN])
    return body()


def view_endless_class(environ, start_response):
    def body():
        while True:
            yield b"x" * 1000

    start_response("200 OK", [PLAIN])
    return Closing("endless", body())


def view_big(environ, start_response):
    """10 MB of which each byte can be told from its neighbours."""
    start_response("200 OK", [PLAIN])
    return [bytes(range(251)) * 41_833]


def view_parts(environ, start_response):
    start_response("200 OK", [PLAIN])
    return iter([b"", b"a", b"", b"b", b"c", b""])


def view_several(environ, start_response):
    start_response("200 OK", [PLAIN])
    return [b"a", b"b", b"", b"c"]


def view_empty(environ, start_response):
    start_response("200 OK", [PLAIN])
    return []


def view_bytearray(environ, start_response):
    start_response("200 OK", [PLAIN])
    return [bytearray(b"array")]


class Bytes(bytes):
    pass


class Str(str):
    pass


def view_subclasses(environ, start_response):
    start_response(Str("200 OK"), [(Str("Content-Type"), Str("text/plain")), (Str("X-Sub"), Str("class"))])
    return [Bytes(b"sub"), Bytes(b"class")]


def view_subclass_stream(environ, start_response):
    start_response(Str("200 OK"), [(Str("X-Sub"), Str("class"))])
    return iter([Bytes(b"sub"), bytearray(b"class"), memoryview(b"!")])


def view_str_body(environ, start_response):
    start_response("200 OK", [PLAIN])
    return ["text"]


def view_str_stream(environ, start_response):
    start_response("200 OK", [PLAIN])
    return Closing("str_stream", ["text"])


def view_short(environ, start_response):
    """Promises more than it sends."""
    start_response("200 OK", [PLAIN, ("Content-Length", "100")])
    return iter([b"short"])


def view_long(environ, start_response):
    """Sends more than it promised."""
    start_response("200 OK", [PLAIN, ("Content-Length", "4")])
    return iter([b"lo", b"ng and more", b"and more"])


def view_long_list(environ, start_response):
    start_response("200 OK", [PLAIN, ("Content-Length", "4")])
    return [b"long and more"]


# --- close()

def view_close(environ, start_response):
    start_response("200 OK", [PLAIN])
    return Closing("close", [b"a", b"b"])


def view_close_empty(environ, start_response):
    start_response("204 No Content", [])
    return Closing("close_empty", [])


def view_close_fails_first(environ, start_response):
    def body():
        raise RuntimeError("before the first piece")
        yield

    start_response("200 OK", [PLAIN])
    return Closing("close_fails_first", body())


def view_close_fails_later(environ, start_response):
    def body():
        yield b"begun"
        raise RuntimeError("after the first piece")

    start_response("200 OK", [PLAIN])
    return Closing("close_fails_later", body())


class Unclosable(Closing):
    def close(self):
        super().close()
        raise RuntimeError("close itself fails")


def view_unclosable(environ, start_response):
    start_response("200 OK", [PLAIN, ("Content-Length", "2")])
    return Unclosable("unclosable", [b"ok"])


def view_close_head(environ, start_response):
    """To HEAD nothing of the body need be made."""
    start_response("200 OK", [PLAIN, ("Content-Length", "1000")])
    return Closing("close_head", (note("made a piece") or b"x" for _ in range(1000)))


# --- files

def view_file(environ, start_response):
    """`?offset&length`: length is declared when given."""
    given = dict(pair.split("=") for pair in environ["QUERY_STRING"].split("&") if pair)
    path = DIR / "file"
    file = path.open("rb")
    file.seek(int(given.get("offset", 0)))
    headers = [PLAIN]
    if "length" in given:
        headers.append(("Content-Length", given["length"]))
    start_response("200 OK", headers)
    wrapper = environ["wsgi.file_wrapper"](file, 1000)
    close = wrapper.close

    def closing():
        close()
        note(f"file closed: {file.closed}")

    wrapper.close = closing
    return wrapper


def view_file_object(environ, start_response):
    """Something that reads but has no descriptor."""
    start_response("200 OK", [PLAIN])
    return environ["wsgi.file_wrapper"](io.BytesIO(b"y" * 5000), 100)


def view_pipe(environ, start_response):
    reader, writer = os.pipe()
    os.write(writer, b"through a pipe")
    os.close(writer)
    start_response("200 OK", [PLAIN])
    return environ["wsgi.file_wrapper"](os.fdopen(reader, "rb"))


# --- heads

def view_status(environ, start_response):
    """`/status/<the status line, with _ for a blank>`"""
    status = environ["PATH_INFO"].split("/", 2)[2].replace("_", " ")
    start_response(status, [PLAIN])
    return [b"body"]


def view_no_content(environ, start_response):
    start_response("204 No Content", [])
    return [b""]


def view_not_modified(environ, start_response):
    start_response("304 Not Modified", [("ETag", '"abc"')])
    return []


def view_length(environ, start_response):
    start_response("200 OK", [PLAIN, ("Content-Length", "5")])
    return [b"hello"]


def view_set_headers(environ, start_response):
    start_response("200 OK", [
        PLAIN,
        ("Set-Cookie", "a=1; Path=/"),
        ("Set-Cookie", "b=2; Path=/"),
        ("X-Twice", "one"),
        ("X-Twice", "two"),
        ("X-Latin", "caf\xe9 \xff"),
        ("X-Empty", ""),
        ("x_under", "kept"),
        ("Connection", "close"),
        ("Keep-Alive", "timeout=1000"),
        ("Transfer-Encoding", "gzip"),
        ("Server", "the application"),
    ])
    return [b"ok"]


BAD = {
    "name_newline": [("X-A\r\nX-Evil", "1")],
    "value_newline": [("X-A", "1\r\nX-Evil: 1")],
    "value_lf": [("X-A", "1\nX-Evil: 1")],
    "value_nul": [("X-A", "1\0")],
    "name_blank": [("X A", "1")],
    "name_empty": [("", "1")],
    "name_colon": [("X:A", "1")],
    "value_not_latin": [("X-A", "\u20ac")],
    "value_bytes": [("X-A", b"1")],
    "value_number": [("X-A", 1)],
    "name_none": [(None, "1")],
    "no_pair": ["X-A"],
    "length_nonsense": [("Content-Length", "ten")],
}


def view_bad_header(environ, start_response):
    start_response("200 OK", [PLAIN, *BAD[environ["PATH_INFO"].split("/")[2]]])
    return [b"body"]


def view_bad_header_stream(environ, start_response):
    start_response("200 OK", [PLAIN, *BAD[environ["PATH_INFO"].split("/")[2]]])
    return Closing("bad_header_stream", [b"body"])


BAD_STATUS = {
    "number": 200,
    "bytes": b"200 OK",
    "none": None,
    "words": "fine",
    "short": "20",
    "glued": "200OK",
    "long": "2000 OK",
    "newline": "200 OK\r\nX-Evil: 1",
    "empty": "",
    "informational": "100 Continue",
    "switching": "101 Switching Protocols",
    "hints": "103 Early Hints",
}


def view_bad_status(environ, start_response):
    start_response(BAD_STATUS[environ["PATH_INFO"].split("/")[2]], [PLAIN])
    return [b"body"]


# --- requests

def view_echo(environ, start_response):
    data = environ["wsgi.input"].read()
    start_response("200 OK", [PLAIN, ("X-Length", environ.get("CONTENT_LENGTH", "none"))])
    return [data]


def view_input(environ, start_response):
    """All ways to read the body, and what comes at its end."""
    body = environ["wsgi.input"]
    found = [body.readline().decode(), body.read(3).decode(), body.readline(2).decode(),
             [line.decode() for line in body.readlines(4)], [line.decode() for line in body], body.read().decode()]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found).encode()]


def view_unread(environ, start_response):
    """Answers without having looked at the body."""
    start_response("200 OK", [PLAIN])
    return [b"not read"]


# --- failures and output

def view_raise(environ, start_response):
    kind = environ["PATH_INFO"].split("/")[2]
    raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt(), "error": RuntimeError("on purpose"),
           "base": GeneratorExit(), "stop": StopIteration()}[kind]


def view_pid(environ, start_response):
    start_response("200 OK", [PLAIN])
    return [str(os.getpid()).encode()]


def view_print(environ, start_response):
    """Prints, and does not answer before the test says so."""
    print("printed to stdout")
    print("printed to stderr", file=sys.stderr)
    environ["wsgi.errors"].write("written to wsgi.errors\n")
    environ["wsgi.errors"].flush()
    wait_for("go")
    start_response("200 OK", [PLAIN])
    return [b"printed"]
