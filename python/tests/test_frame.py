"""Frames: as bytes, and as they come out of a socket."""
import ast
import marshal
import os
import socket
import tempfile
import threading
import unittest
from pathlib import Path

from hurricane.worker import frame
from server import pair, send_with

FRAMES = Path(__file__).parents[2] / "tests" / "frames.txt"


def vectors():
    """The frames that both sides agree on: ``(name, sender, kind, value, bytes)``."""
    for block in FRAMES.read_text(encoding="ascii").split("\n\n"):
        lines = [line.split(": ", 1) for line in block.splitlines() if not line.startswith("#")]
        if lines:
            fields = dict(lines)
            data = bytes.fromhex(" ".join(value for key, value in lines if key == "bytes"))
            yield fields["name"], fields["sender"], int(fields["kind"]), ast.literal_eval(fields["value"]), data


class AgreedFrames(unittest.TestCase):
    def test_there_are_some_of_each_side(self):
        self.assertEqual({sender for _, sender, *_ in vectors()}, {"server", "worker"})

    def test_a_worker_writes_the_agreed_bytes(self):
        for name, sender, kind, value, data in vectors():
            if sender == "worker":
                with self.subTest(name):
                    self.assertEqual(frame.encode(kind, value), data)

    def test_a_worker_reads_the_agreed_bytes(self):
        for name, sender, kind, value, data in vectors():
            if sender == "server":
                with self.subTest(name):
                    channel, other = pair(self)
                    other.sendall(data)
                    self.assertEqual(channel.receive(), (kind, value))

    def test_values_have_the_types_that_they_were_sent_with(self):
        for name, _, _, value, data in vectors():
            with self.subTest(name):
                self.assertEqual(repr(marshal.loads(data[frame.HEADER.size:])), repr(value))


class Encoding(unittest.TestCase):
    def test_a_view_of_bytes_is_sent_as_bytes(self):
        view = memoryview(b"0123456789")[2:5]
        same = frame.encode(frame.ANSWERS, (0, 0, [(1, b"234")]))
        self.assertEqual(frame.encode(frame.ANSWERS, (0, 0, [(1, view)])), same)

    def test_what_marshal_does_not_know_is_an_error(self):
        class Text(str):
            pass

        for value in (Text("a"), object(), [Text("a")]):
            with self.subTest(value=value), self.assertRaises(ValueError):
                frame.encode(frame.ANSWERS, value)


class Channel(unittest.TestCase):
    def setUp(self):
        self.channel, self.other = pair(self)

    def test_a_frame_may_come_byte_by_byte(self):
        data = frame.encode(frame.REQUESTS, ["a", "b"])
        for index in range(len(data)):
            with self.assertRaises(BlockingIOError):
                self.channel.receive(socket.MSG_DONTWAIT)
            self.other.sendall(data[index:index + 1])
        self.assertEqual(self.channel.receive(), (frame.REQUESTS, ["a", "b"]))

    def test_several_frames_may_come_in_one_read(self):
        frames = [(frame.REQUESTS, number) for number in range(5)]
        self.other.sendall(b"".join(frame.encode(*each) for each in frames))
        self.assertEqual([self.channel.receive() for _ in frames], frames)

    def test_a_frame_may_begin_in_the_read_of_another_and_end_later(self):
        second = frame.encode(frame.CHECK, (7, "x" * 1000))
        for split in (1, 4, 5, 6, 500):
            with self.subTest(split=split):
                self.other.sendall(frame.encode(frame.RECALL, 1) + second[:split])
                self.assertEqual(self.channel.receive(), (frame.RECALL, 1))
                with self.assertRaises(BlockingIOError):
                    self.channel.receive(socket.MSG_DONTWAIT)
                self.other.sendall(second[split:])
                self.assertEqual(self.channel.receive(), (frame.CHECK, (7, "x" * 1000)))

    def test_a_frame_may_be_larger_than_the_buffer(self):
        sizes = [frame.BUFFER - 5, frame.BUFFER - 10, frame.BUFFER, 3, 3_000_000, 0, 100_000]
        bodies = [os.urandom(size) for size in sizes]
        data = b"".join(frame.encode(frame.REQUESTS, body) for body in bodies)
        sender = threading.Thread(target=self.other.sendall, args=(data,))
        sender.start()
        self.addCleanup(sender.join)
        for body in bodies:
            self.assertEqual(self.channel.receive(), (frame.REQUESTS, body))

    def test_many_frames_of_all_sizes_come_in_order(self):
        bodies = [bytes(size * 97 % 9000) for size in range(300)]
        data = b"".join(frame.encode(frame.REQUESTS, body) for body in bodies)
        sender = threading.Thread(target=self.other.sendall, args=(data,))
        sender.start()
        self.addCleanup(sender.join)
        for body in bodies:
            self.assertEqual(self.channel.receive(), (frame.REQUESTS, body))

    def test_the_end_of_the_stream_is_none(self):
        self.other.sendall(frame.encode(frame.RECALL, 1))
        self.other.close()
        self.assertEqual(self.channel.receive(), (frame.RECALL, 1))
        self.assertIsNone(self.channel.receive())
        self.assertIsNone(self.channel.receive())

    def test_the_end_within_a_frame_is_none_too(self):
        self.other.sendall(frame.encode(frame.RECALL, 1)[:-1])
        self.other.close()
        self.assertIsNone(self.channel.receive())

    def test_descriptors_come_in_the_order_of_their_frames(self):
        files = [tempfile.TemporaryFile() for _ in range(3)]
        for number, file in enumerate(files):
            self.addCleanup(file.close)
            file.write(b"%d" % number)
            file.seek(0)
            send_with(self.other, frame.encode(frame.REQUESTS, number), file)
            self.other.sendall(frame.encode(frame.REQUESTS, "without"))
        for number in range(3):
            self.assertEqual(self.channel.receive()[1], number)
            self.assertEqual(self.channel.receive()[1], "without")
            with os.fdopen(self.channel.descriptors.popleft(), "rb") as file:
                self.assertEqual(file.read(), b"%d" % number)
        self.assertFalse(self.channel.descriptors)

    def test_several_descriptors_may_come_with_one_frame(self):
        files = [tempfile.TemporaryFile() for _ in range(4)]
        for file in files:
            self.addCleanup(file.close)
        send_with(self.other, frame.encode(frame.REQUESTS, None), *files)
        self.channel.receive()
        numbers = list(self.channel.descriptors)
        for number in numbers:
            self.addCleanup(os.close, number)
        self.assertEqual([os.fstat(number).st_ino for number in numbers],
                         [os.fstat(file.fileno()).st_ino for file in files])

    def test_what_is_sent_is_received(self):
        ours, theirs = self.channel, frame.Channel(self.other)
        ours.send(frame.CHECKED, (1, 0, "\u00e9"))
        self.assertEqual(theirs.receive(), (frame.CHECKED, (1, 0, "\u00e9")))


if __name__ == "__main__":
    unittest.main()
