"""The frames between the server and a worker, the counterpart of ``hurricane-python/src/frame.rs``.

A frame is the length of its payload (4 bytes, little endian), its kind (1 byte) and the payload: one value in
CPython's ``marshal`` format, because both ends have a decoder in C or Rust for it and neither end needs a library.
Python writes version 2 of the format, which has no references between objects and so is simple to read. The server
writes some: what a request has in common with the first one of its frame is there once.

===========  ====  ==================  =======================================================================
kind         byte  sent by, on         payload
===========  ====  ==================  =======================================================================
SOURCES         1  server, control     ``{module name: (is package, source text)}``; always the first frame
CONFIG          2  server, control     ``{name: value}``, see ``main.Config``
READY           3  worker, control     ``(protocol, Python's version, Django's version or None, interface, files)``,
                                       see ``files.prepare``
FAILED          4  worker, control     ``(reason, message)``; the traceback has gone to standard error
CHECK           5  server, control     ``(id, what)``: run the checks with the tag, or another of the things that
                                       ``checks.run`` knows
CHECKED         6  worker, control     ``(id, status, message)``
RECALL          7  server, control     ``slot``: give back what it has not begun, send what it holds
RECALLED        8  worker, control     ``(slot, [stream id])``
CANCEL          9  server, control     ``(slot, stream id)``: its client has gone, no more of its body is wanted
BEAT           10  worker, control     ``lag``: the event loop turns, so many microseconds late
HANDLING       11  worker, control     ``(protocol, Python's version, Django's version or None, [handler])``: READY
                                       of a worker for messages, see ``amqp.fact``
LOADED         12  worker, control     ``([file], [folder])``: what the application was loaded from, as far as that is
                                       new: files, and folders of templates, as bytes; also before READY
TASKS          32  server, control     ``{name: value}``: what to do before the workers start, see ``startup.Startup``
LOG            33  worker, control     ``(level, message)``: a line for the server's log; also before READY
RECORD         35  server, control     ``(logger, level, seconds since 1970 as text, message)``: a line of the server
                                       for the project's loggers, see ``logs``
DONE           34  worker, control     ``None``, or ``(reason, message, traceback or None)``: the tasks are done, or not
REQUESTS       16  server, data        ``[request]``, see ``wsgi.Slot.handle``
ANSWERS        17  worker, data        ``(time, computing, [answer])``: the microseconds since the last such frame, or
                                       since the first request if that came later; for about how many of them the
                                       thread had the processor; and answers, each one of:

                                       - ``(id, status, headers, body)``: a whole answer
                                       - ``(id, status, headers, None)``: the head; its body follows
                                       - ``(id, chunk)``: a part of the body
                                       - ``(id,)``: the end of the body
                                       - ``(id, offset, length)``: the rest of the body is in the file whose
                                         descriptor comes with the frame
                                       - ``(id, None)``: the application failed
EVENTS         18  server, data        ``[event]``, see ``asgi_link``, and ``amqp`` for messages
SENT           19  worker, data        ``[item]``, likewise
===========  ====  ==================  =======================================================================

A request whose body was spooled to a file has a number in place of the body, and the descriptor comes
with the frame; descriptors arrive in the order of the requests.
"""
import array
import marshal
import socket
import struct
from collections import deque

PROTOCOL = 5

SOURCES, CONFIG, READY, FAILED, CHECK, CHECKED, RECALL, RECALLED, CANCEL, BEAT, HANDLING, LOADED = range(1, 13)
REQUESTS, ANSWERS, EVENTS, SENT = range(16, 20)
TASKS, LOG, DONE, RECORD = range(32, 36)

HEADER = struct.Struct("<IB")
BUFFER = 64 * 1024
DESCRIPTORS = 64
DESCRIPTOR_SPACE = socket.CMSG_SPACE(DESCRIPTORS * array.array("i").itemsize)


def encode(kind, value):
    """One frame as bytes. ``ValueError`` when the value holds something that marshal does not know."""
    payload = marshal.dumps(value, 2)
    return HEADER.pack(len(payload), kind) + payload


class Channel:
    """Reads frames, and the descriptors that come with them, from a stream socket."""

    def __init__(self, sock):
        self.sock = sock
        self.descriptors = deque()
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)
        self._whole = (self._view,)
        self._start = self._end = 0

    def receive(self, flags=0):
        """The next frame as ``(kind, value)``; ``None`` at the end of the stream.

        With ``MSG_DONTWAIT``: ``BlockingIOError`` when no whole frame is there; what has come of it is kept.
        """
        while True:
            start, end = self._start, self._end
            if end - start >= 5:
                length, kind = HEADER.unpack_from(self._buffer, start)
                stop = start + 5 + length
                if stop <= end:
                    value = marshal.loads(self._view[start + 5:stop])
                    if stop == end:
                        self._start = self._end = 0
                    else:
                        self._start = stop
                    return kind, value
                size = 5 + length
                if start or size > len(self._buffer) or size <= BUFFER < len(self._buffer):
                    self._make_room(size)
            elif start:
                self._make_room(5)
            room = (self._view[self._end:],) if self._end else self._whole
            got, ancillary, _, _ = self.sock.recvmsg_into(room, DESCRIPTOR_SPACE, flags)
            if ancillary:
                self._take_descriptors(ancillary)
            if not got:
                return None
            self._end += got

    def send(self, kind, value):
        """Sends one frame."""
        self.sock.sendall(encode(kind, value))

    def _make_room(self, size):
        """Moves what has come of a frame to the front of a buffer that can hold the frame."""
        rest = bytes(self._view[self._start:self._end])
        if size > len(self._buffer) or size <= BUFFER < len(self._buffer):
            self._buffer = bytearray(max(size, BUFFER))
            self._view = memoryview(self._buffer)
            self._whole = (self._view,)
        self._view[:len(rest)] = rest
        self._start, self._end = 0, len(rest)

    def _take_descriptors(self, ancillary):
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(data[:len(data) - len(data) % numbers.itemsize])
                self.descriptors.extend(numbers)
