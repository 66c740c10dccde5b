"""The channel between the server and an event loop, which all of its requests share.

Events come as the list in an ``EVENTS`` frame. They are told apart by how many fields they have:

======  ======================================================================================================
fields  meaning
======  ======================================================================================================
10      an HTTP request: ``(id, method, path, raw path, query string, HTTP version, (client's address, port)
        or None, [(name, value)], body, what the client takes)``. The version is ``None`` when it is 1.1. The body
        is ``bytes`` when it is whole, ``None`` when it is to come, ``True`` when the client waits to be told that
        it is wanted. What the client takes is the sum of 1 for trailers and 2 for early hints
8       a request for a WebSocket: ``(id, path, raw path, query string, HTTP version, (client's address, port) or
        None, [(name, value)], [subprotocol])``; the version likewise
4       ``(id, code, reason, None)``: a WebSocket has been closed
3       ``(id, bytes, more)``: a part of a request's body
2       ``(id, count)``: the client took so many bytes of the response, or so many messages of a WebSocket;
        ``(id, bytes)`` or ``(id, str)``: a message
1       ``(id,)``: the client has gone
======  ======================================================================================================

What the loop says goes as the list in a ``SENT`` frame, each item a tuple or a list:

- ``(id, status, [(name, value)], body, done)``: the head of a response. The body is ``bytes`` when it is whole,
  ``None`` when it is to follow, ``str`` when it is what is in the file of that path. ``done``: the application has
  returned
- ``(id, bytes)``: a part of the body; ``(id, bytes, True)``: the last one
- ``(id, [link], None)``: an early hint, with values of ``Link``
- ``(id, [(name, value)])``: trailers, after which the response is complete
- ``(id, count)``: room for so many more bytes of the request's body, or for so many more messages
- ``(id, subprotocol or None, [(name, value)], None)``: a WebSocket is accepted
- ``(id, bytes)`` or ``(id, str)``: a message
- ``(id, code, reason, None)``: it is to be closed
- ``(id, None)``: the application failed
- ``(id,)``: the application has returned
"""
import marshal
import sys

from .asgi_http import scope_of
from .asgi_tasks import Tasks
from .asgi_websocket import begin as begin_websocket
from .frame import HEADER, SENT

# How much one read takes at most (bytes), but for a frame that is longer.
BUFFER = 256 * 1024
# A buffer that was made longer for a frame, up to this size (bytes), is kept for the next ones.
KEEP = 1024 * 1024
# From this size on (bytes) a payload is not copied behind its head.
LARGE = 32 * 1024


class Link:
    """Reads events, starts a task for each request, and writes what they send, once for each turn of the loop."""

    def __init__(self, loop, events, sent, application, config, begun, state):
        self.loop = loop
        self.events = events
        self.sent = sent
        self.application = application
        self.grace = config.disconnect_grace
        self.debug = config.debug
        self.root_path = config.root_path
        self.server = (config.server_name, int(config.server_port))
        self.state = state
        self.request_scope = scope_of(self)
        self.begun = begun            # memory shared with the server: how many requests have been taken
        self.place = len(config.data)
        self.taken = 0
        self.streams = {}
        self.tasks = Tasks(self)
        self.out = []                 # what is to be sent with the next flush
        self.batch = 0                # how many there were
        self.flushing = False         # the next one is due
        self.unsent = b""             # what the socket had no room for
        self.closed = loop.create_future()
        self.buffer = bytearray(BUFFER)
        self.view = memoryview(self.buffer)
        self.end = 0                  # of what has come and is no whole frame yet
        events.setblocking(False)
        sent.setblocking(False)

    def open(self):
        self.loop.add_reader(self.events.fileno(), self.read)

    def close(self):
        """The server has nothing more to say: ends what is still going on."""
        if self.closed.done():
            return
        self.loop.remove_reader(self.events.fileno())
        self.loop.remove_writer(self.sent.fileno())
        self.closed.set_result(None)

    # --- from the server

    def read(self):
        try:
            got = self.events.recv_into(self.view[self.end:])
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:
            got = 0
        if not got:
            self.close()
            return
        end = self.end + got
        start = 0
        # What is sent below goes out at the end of this turn, together with what new tasks send at once.
        scheduled, self.flushing = self.flushing, True
        while end - start >= 5:
            length = HEADER.unpack_from(self.buffer, start)[0]
            stop = start + 5 + length
            if stop > end:
                break
            self.take(marshal.loads(self.view[start + 5:stop]))
            start = stop
        self.keep(start, end)
        if self.tasks.eager:
            self.flush()
            self.flushing = scheduled
        elif not scheduled:
            # Behind the first steps of the new tasks.
            self.loop.call_soon(self.flush)

    def keep(self, start, end):
        """Moves what is no whole frame to the front, and makes room for the rest of it."""
        rest = end - start
        size = len(self.buffer) if len(self.buffer) <= KEEP else BUFFER
        if rest >= 5:
            size = max(size, 5 + HEADER.unpack_from(self.buffer, start)[0])
        if size != len(self.buffer):
            buffer = bytearray(size)
            buffer[:rest] = self.view[start:end]
            self.buffer, self.view = buffer, memoryview(buffer)
        elif start and rest:
            self.view[:rest] = bytes(self.view[start:end])
        self.end = rest

    def take(self, events):
        streams, fresh, count = self.streams, self.tasks.fresh, 0
        for event in events:
            fields = len(event)
            if fields == 10:
                fresh.append(event)
                count += 1
                continue
            if fields == 8:
                self.launch(count + 1)
                count = 0
                begin_websocket(self, event)
                continue
            if fresh and any(request[0] == event[0] for request in fresh):
                self.launch(count)
                count = 0
                self.tasks.launch_each()
            stream = streams.get(event[0])
            if stream is None:
                continue    # it has ended in the meantime
            if fields == 2:
                value = event[1]
                if type(value) is int:
                    stream.credit(value)
                else:
                    stream.message(value)
            elif fields == 3:
                stream.body(event[1], event[2])
            elif fields == 4:
                stream.closed(event[1], event[2])
            else:
                stream.disconnect()
        if count:
            self.launch(count)

    def launch(self, count):
        # Should this process be killed, the server still reads here what must not run again.
        self.begun[self.place] = self.taken = self.taken + count & 0xFFFFFFFF
        self.tasks.launch()

    # --- to the server

    def emit(self, item):
        self.out.append(item)
        if not self.flushing:
            self.flush_soon()

    def flush_soon(self):
        self.flushing = True
        self.loop.call_soon(self.flush)

    def flush(self):
        self.flushing = False
        out = self.out
        if not out or self.unsent:
            return
        self.out = []
        self.batch += 1
        try:
            payload = marshal.dumps(out, 2)
        except ValueError:
            payload = marshal.dumps([plain(item) for item in out], 2)
        size = len(payload)
        head = HEADER.pack(size, SENT)
        try:
            count = self.sent.send(head + payload) if size < LARGE else self.sent.sendmsg((head, payload))
        except (BlockingIOError, InterruptedError):
            count = 0
        except (BrokenPipeError, ConnectionResetError):
            return    # the server is gone or has given this worker up; the channel's end will be seen when it is read
        left = len(head) + size - count
        if left:
            self.unsent = memoryview(payload)[-left:] if left <= size else memoryview(head + payload)[count:]
            self.loop.add_writer(self.sent.fileno(), self.write)

    def write(self):
        """Sends what the socket had no room for, and then what has come up since."""
        try:
            self.unsent = self.unsent[self.sent.send(self.unsent):]
        except (BlockingIOError, InterruptedError):
            return
        except (BrokenPipeError, ConnectionResetError):
            self.unsent = b""
        if not self.unsent:
            self.loop.remove_writer(self.sent.fileno())
            self.unsent = b""
            self.flush()


def plain(item):
    """What marshal takes of an item; the headers of applications may be of types of their own."""
    try:
        marshal.dumps(item, 2)
        return item
    except ValueError:
        pass
    stream, *fields = item
    try:
        fields = [
            [(bytes(name), bytes(value)) for name, value in field] if type(field) is list else field for field in fields
        ]
        if len(fields) == 4:
            fields[0] = int(fields[0])
        item = (stream, *fields)
        marshal.dumps(item, 2)
        return item
    except (TypeError, ValueError) as error:
        print(f"hurricane: the application's status or headers are not what ASGI asks for: {fields!r} ({error})",
              file=sys.stderr, flush=True)
        return (stream, None)
