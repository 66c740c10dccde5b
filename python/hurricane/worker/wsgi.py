"""Runs a WSGI application (PEP 3333): one ``Slot`` is one thread with data channels of its own."""
import os
import socket
import stat
import sys
import threading
import traceback
from collections import deque
from io import BytesIO
from time import perf_counter, thread_time

from . import debug
from .frame import ANSWERS, Channel, encode

# An answer with a larger body (bytes) than this does not wait for others to share a write with.
SMALL = 16 * 1024
# A larger body goes out in pieces of this size (bytes), each as the client takes it.
PIECE = 256 * 1024
# After so much work (seconds) the thread is asked how much of it was spent computing. Asking takes a system call.
SAMPLE = 0.001


class FileWrapper:
    """``wsgi.file_wrapper``: a file that the server sends by itself where it can, else read in blocks."""

    def __init__(self, filelike, blksize=64 * 1024):
        self.filelike = filelike
        self.blksize = blksize
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        data = self.filelike.read(self.blksize)
        if data:
            return data
        raise StopIteration


class ClientGone(BaseException):
    """Ends a response that is being streamed to a client that has gone away. Not an error of the application."""


class Slot(threading.Thread):
    """Runs requests one after the other, and answers them in the order they were begun."""

    def __init__(self, index, requests, answers, application, config, begun):
        super().__init__(name=f"hurricane-wsgi-{index}", daemon=True)
        self.index = index
        self.begun = begun                # memory shared with the server: the stream each slot began last
        # Two sockets, each for one direction: a thread that waits on a socket to which it also writes is woken
        # whenever the other side reads.
        self.channel = Channel(requests)
        self.answers = answers
        self.application = application
        self.debug = config.debug
        # Bound once, as they are needed for every request.
        self.respond, self.writer = self.start_response, self.write
        # What is the same for all requests, and the names of what is not: copying is quicker than building.
        self.environ = {
            "REQUEST_METHOD": None,
            "SCRIPT_NAME": config.root_path,
            "PATH_INFO": None,
            "QUERY_STRING": None,
            "SERVER_NAME": config.server_name,
            "SERVER_PORT": config.server_port,
            "SERVER_PROTOCOL": None,
            "SERVER_SOFTWARE": config.server_software,
            "REMOTE_ADDR": None,
            "REMOTE_PORT": None,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": None,
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": config.multithread,
            "wsgi.multiprocess": config.multiprocess,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
        }
        self.pending = deque()            # requests that have come and are not begun
        self.reading = threading.Lock()   # held by whoever reads the channel: this thread, or a recall
        self.sending = threading.Lock()   # likewise for writing
        self.held = []                    # answers that are not sent yet
        self.busy_since = 0.0             # when it began to work after the last flush
        self.worked = 0.0                 # for how long it has worked since the last sample
        self.had = 0.0                    # for how long this thread had had the processor by then
        self.computing = 0.0              # for which part of the time before it had
        self.stream = 0
        self.cancelled = 0                # the stream whose client has gone away
        self.status = self.headers = None
        self.started = False              # the head has been handed to the server

    # --- the loop

    def run(self):
        pending = self.pending
        while True:
            if not pending:
                self.flush()
                if not self.fill():
                    return
            try:
                request = pending.popleft()
            except IndexError:
                continue    # recalled just now
            self.handle(*request)

    def fill(self):
        """Waits for requests; false when the server has closed the channel."""
        with self.reading:
            try:
                frame = self.channel.receive()
            except ConnectionResetError:
                return False
            if frame is None:
                return False
            self.take(frame[1])
        self.busy_since = perf_counter()
        return True

    def recall(self):
        """Gives back the stream ids of the requests that are not begun, and sends the answers that are held.

        Called on the control thread while this one is busy with a request that takes long.
        """
        returned = []
        if self.reading.acquire(blocking=False):
            try:
                self.take_back(returned)
                try:
                    while True:
                        frame = self.channel.receive(socket.MSG_DONTWAIT)
                        if frame is None:
                            break
                        self.take(frame[1])
                        self.take_back(returned)
                except (BlockingIOError, ConnectionResetError):
                    pass
            finally:
                self.reading.release()
        self.flush()
        return sorted(returned)

    def take(self, requests):
        """Adds requests that have come, each with the file that its body was spooled to."""
        descriptors = self.channel.descriptors
        if descriptors:
            requests = [
                request if type(request[-1]) is bytes else (*request[:-1], os.fdopen(descriptors.popleft(), "rb"))
                for request in requests
            ]
        self.pending.extend(requests)

    def take_back(self, returned):
        try:
            while True:
                request = self.pending.popleft()
                if type(request[-1]) is not bytes:
                    request[-1].close()
                returned.append(request[0])
        except IndexError:
            pass

    def flush(self):
        """Sends the answers that are held."""
        held = self.held
        if not held:
            return
        with self.sending:
            # Meanwhile some may be added behind these, but whoever takes them away has the lock.
            answers = held[:]
            if answers:
                del held[:len(answers)]
                self.send(answers)

    def send(self, answers, descriptor=None):
        now = perf_counter()
        busy = now - self.busy_since
        self.busy_since = now
        self.worked += busy
        if self.worked >= SAMPLE and threading.get_ident() == self.ident:    # and not a recall, on another thread
            had = thread_time()
            self.computing = (had - self.had) / self.worked
            self.had = had
            self.worked = 0.0
        busy, computing = int(busy * 1e6), int(busy * self.computing * 1e6)
        try:
            data = encode(ANSWERS, (busy, computing, answers))
        except ValueError:
            data = encode(ANSWERS, (busy, computing, [plain(answer) for answer in answers]))
        try:
            if descriptor is None:
                self.answers.sendall(data)
            else:
                sent = socket.send_fds(self.answers, [data], [descriptor])
                self.answers.sendall(data[sent:])
        except (BrokenPipeError, ConnectionResetError):
            # The server is gone or has given this worker up; the channel's end will be seen when it is read.
            self.held.clear()

    # --- one request

    def handle(self, stream, method, path, query, protocol, address, port, headers, body):
        # Should this process be killed, the server still reads here what had begun and must not run again.
        self.begun[self.index] = stream
        environ = self.environ.copy()
        environ["REQUEST_METHOD"] = method
        environ["PATH_INFO"] = path
        environ["QUERY_STRING"] = query
        environ["SERVER_PROTOCOL"] = protocol
        environ["REMOTE_ADDR"] = address
        environ["REMOTE_PORT"] = port
        environ["wsgi.input"] = BytesIO(body) if type(body) is bytes else body
        environ.update(headers)
        self.stream = stream
        self.status = None
        self.started = False
        result = None
        try:
            result = self.application(environ, self.respond)
            if type(result) is list and self.status is not None and not self.started:
                # By far the most common answer, so without detours. It has nothing to be closed.
                data = result[0] if len(result) == 1 else b"".join(result)
                if len(data) > SMALL:
                    self.whole(data)
                else:
                    self.held.append((stream, self.status, self.headers, data))
                return
            self.answer(method, result)
        except ClientGone:
            self.send_now((stream, None))
        except BaseException:
            self.failed(method, path)
        finally:
            if type(result) is not list:
                self.close(result, method, path)
            if type(body) is not bytes:
                body.close()

    def close(self, result, method, path):
        try:
            if hasattr(result, "close"):
                result.close()
        except BaseException:
            # The answer is complete (or has failed) by now: the log is all that is left to tell.
            report(method, path)

    def start_response(self, status, headers, exc_info=None):
        if exc_info:
            try:
                if self.started:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise AssertionError("start_response was called a second time without exc_info")
        self.status = status
        self.headers = headers
        return self.writer

    def write(self, data):
        """The callable that ``start_response`` returns: what it is given has left when it returns."""
        self.piece(data)

    def answer(self, method, result):
        kind = type(result)
        if kind is FileWrapper and method != "HEAD" and not self.started and self.send_file(result):
            return
        if kind is tuple or kind is list or getattr(result, "streaming", None) is False:
            # All of the body is there: a sequence, or a Django response that does not stream.
            body = b"".join(result)
            if self.started:
                self.piece(body)
                self.end()
            else:
                self.whole(body)
            return
        if method == "HEAD":
            self.head_only(result)
            return
        remaining = None
        for data in result:
            if not data:
                continue
            if not self.started:
                remaining = self.content_length()
                if remaining is not None and len(data) >= remaining:
                    # Nothing may follow: need not ask the iterable whether something does.
                    self.whole(data)
                    return
            self.piece(data)
        if self.started:
            self.end()
        else:
            self.whole(b"")

    def head_only(self, result):
        """To HEAD no body is sent: ask the iterable only as far as it takes to know the head."""
        if self.status is None:
            for _ in result:
                if self.status is not None:
                    break
        if self.started:
            self.end()
        else:
            self.whole(b"")

    def whole(self, body):
        """A whole answer: held where it is small, to share a write with those that follow soon.

        The server gives a slot several requests at once only when they take no longer than a millisecond together,
        and asks for what is held (``recall``) when one of them does take long.
        """
        if self.status is None:
            raise AssertionError("the application returned without calling start_response")
        self.started = True
        if len(body) > PIECE:
            view = memoryview(body)
            self.send_now((self.stream, self.status, self.headers, None))
            for begin in range(0, len(body), PIECE):
                self.send_now((self.stream, view[begin:begin + PIECE]))
            self.send_now((self.stream,))
            return
        self.held.append((self.stream, self.status, self.headers, body))
        if len(body) > SMALL:
            self.flush()

    def piece(self, data):
        """A part of a body that is being made: sent at once, as PEP 3333 asks for."""
        view = memoryview(data)
        if not self.started:
            if self.status is None:
                raise AssertionError("the body began before start_response was called")
            self.started = True
            self.held.append((self.stream, self.status, self.headers, None))
        if self.cancelled == self.stream:
            raise ClientGone
        for begin in range(0, len(view), PIECE):
            self.send_now((self.stream, view[begin:begin + PIECE]))

    def end(self):
        self.send_now((self.stream,))

    def send_now(self, answer):
        self.held.append(answer)
        self.flush()

    def send_file(self, wrapper):
        """Hands the descriptor of a regular file to the server; false when it is not one."""
        try:
            descriptor = wrapper.filelike.fileno()
            about = os.fstat(descriptor)
            offset = wrapper.filelike.tell()
        except (AttributeError, OSError, ValueError):
            return False
        if self.status is None or not stat.S_ISREG(about.st_mode):
            return False
        length = max(0, about.st_size - offset)
        declared = self.content_length()
        if declared is not None:
            length = min(length, declared)
        self.started = True
        self.flush()
        with self.sending:
            self.send([(self.stream, self.status, self.headers, None)])
            self.send([(self.stream, offset, length)], descriptor)
        return True

    def content_length(self):
        for name, value in self.headers:
            if len(name) == 14 and name.lower() == "content-length":
                try:
                    return int(value)
                except ValueError:
                    return None
        return None

    def failed(self, method, path):
        report(method, path)
        if self.debug and not self.started:
            self.send_now((self.stream, debug.STATUS[1], *debug.page(method, path)))
        else:
            self.send_now((self.stream, None))


def report(method, path):
    """Shows the application's traceback, whole."""
    print(f"hurricane: the application failed on {method} {path}\n{traceback.format_exc()}",
          end="", file=sys.stderr, flush=True)


def plain(answer):
    """An answer without subclasses of ``str``, which marshal refuses; what is no text at all becomes a failure."""
    if len(answer) != 4:
        return answer
    stream, status, headers, body = answer
    try:
        answer = (stream, "".join((status,)), [("".join((name,)), "".join((value,))) for name, value in headers], body)
        encode(ANSWERS, answer)
        return answer
    except (TypeError, ValueError) as error:
        print(f"hurricane: the application's status or headers are not text: {status!r} {headers!r} ({error})",
              file=sys.stderr, flush=True)
        return (stream, None)


