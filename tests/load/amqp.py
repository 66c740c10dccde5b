"""That no message is lost: starts RabbitMQ, and Hurricane with a handler that notes, and kills one or the other.

    python tests/load/amqp.py kills --hurricane target/release/hurricane     # kills consumers and their workers
    python tests/load/amqp.py outage --hurricane target/release/hurricane    # the broker is away for 20 s

It needs pika for the other end of the queue, and Debian's rabbitmq-server, of which it starts one of its own on ports
of 127.0.0.1 that are free. It fails when a message is missing, or a probe says what it should not.
"""
import argparse
import collections
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from server import PATIENCE

QUEUE = "load"
SERVERS = ["/usr/lib/rabbitmq/bin/rabbitmq-server", "/usr/sbin/rabbitmq-server"]


class Broker:
    """RabbitMQ, with its data in a folder."""

    def __init__(self, folder):
        self.port, distribution, epmd = free_ports(3)
        self.folder = folder
        (folder / "rabbitmq.conf").write_text(f"listeners.tcp.1 = 127.0.0.1:{self.port}\n")
        (folder / "plugins").write_text("[].")
        self.environment = {
            **os.environ, "HOME": str(folder), "RABBITMQ_BASE": str(folder), "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1", "RABBITMQ_NODENAME": f"load-{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(folder / "data"), "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"), "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"), "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_DIST_PORT": str(distribution), "RUNNING_UNDER_SYSTEMD": "true",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        self.start()

    @property
    def url(self):
        return f"amqp://127.0.0.1:{self.port}"

    def start(self):
        """Starts it, and waits until it listens."""
        server = next((server for server in SERVERS if os.path.exists(server)), "rabbitmq-server")
        with open(self.folder / "output", "ab") as output:
            self.process = subprocess.Popen([server], env=self.environment, stdin=subprocess.DEVNULL, stdout=output,
                                            stderr=output)
        until("the broker listens", lambda: is_open(self.port))

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.kill()
        subprocess.run(["epmd", "-kill"], env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    @contextlib.contextmanager
    def channel(self):
        """A channel whose publications count together, or not at all."""
        import pika

        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        channel = connection.channel()
        channel.queue_declare(QUEUE, durable=True)
        channel.tx_select()
        yield channel
        connection.close()

    def publish(self, texts):
        import pika

        persistent = pika.BasicProperties(delivery_mode=2)
        with self.channel() as channel:
            for text in texts:
                channel.basic_publish("", QUEUE, text, persistent)
            channel.tx_commit()

    def depth(self):
        """Messages that wait; those that a consumer has are not among them."""
        with self.channel() as channel:
            return channel.queue_declare(QUEUE, durable=True, passive=True).method.message_count


class Consumer:
    """`hurricane consume`, and what its handlers have noted."""

    def __init__(self, options, broker, folder, handler, *words):
        self.notes, self.log = folder / "notes", folder / "log-of-hurricane"
        self.command = [options.hurricane, "consume", handler, "--python", options.python, "--queue", QUEUE,
                        "--durable", "--amqp-url", broker.url, "--probe-host", "127.0.0.1", "--probe-port", "0",
                        *words]
        self.start()

    def start(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.command, cwd=pathlib.Path(__file__).resolve().parent, stderr=log,
                                            env={**os.environ, "LOAD_NOTES": str(self.notes)})

    def workers(self):
        """The workers that are there now."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        """Ends it in good order."""
        self.process.terminate()
        code = self.process.wait(PATIENCE)
        assert code == 0, f"it ended with {code}: {self.log.read_text()}"

    def handled(self):
        """How often each text was handled."""
        return collections.Counter(self.notes.read_text().split()) if self.notes.exists() else collections.Counter()

    def probe(self, path):
        """What a probe says; 0 before the probes are there."""
        port = re.search(r"Probe application running on port (\d+)", self.log.read_text())
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port[1]}{path}", timeout=5).status if port else 0
        except urllib.error.HTTPError as error:
            return error.code


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]


def is_open(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def until(what, holds):
    """Waits until something holds, and tells for how long."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() < started + PATIENCE, f"waited in vain until {what}"
        time.sleep(0.02)
    return time.monotonic() - started


def start_consumer(options, broker, folder):
    return Consumer(options, broker, folder, "noting.Noting", "--workers", "2", "--concurrency", "2")


def kills(options, broker, folder):
    rng = random.Random(options.seed)
    texts = [str(number) for number in range(options.count)]
    broker.publish(texts)
    print(f"{options.count} messages, seed {options.seed}", flush=True)
    started = time.monotonic()
    consumer = start_consumer(options, broker, folder)
    killed, killed_workers = 0, 0
    while len(handled := consumer.handled()) < options.count:
        # In the middle of its work, wherever that is.
        goal = min(len(handled) + rng.randrange(10, 2000), options.count)
        until("messages come", lambda goal=goal: len(consumer.handled()) >= goal or consumer.process.poll() is not None)
        if consumer.process.poll() is not None:
            # It gives up when its first worker does not survive its start; Kubernetes starts it again.
            assert "ended while it was starting" in consumer.log.read_text(), consumer.log.read_text()
            consumer.start()
        elif rng.random() < 0.4:
            consumer.kill()
            consumer.start()
            killed += 1
        elif workers := consumer.workers():
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(workers), signal.SIGKILL)
                killed_workers += 1
    took = time.monotonic() - started
    # What was handled and not acknowledged comes again, until nothing waits and nothing is in hand.
    until("nothing waits", lambda: broker.depth() == 0)
    consumer.stop()
    handled, left = consumer.handled(), broker.depth()
    missing = set(texts) - set(handled)
    again = sum(handled.values()) - len(handled)
    print(f"in {took:.1f} s {killed} consumers and {killed_workers} workers killed")
    print(f"{len(handled)} messages handled, {again} times one came again, {len(missing)} missing, {left} left")
    assert not missing and left == 0


def outage(options, broker, folder):
    consumer = start_consumer(options, broker, folder)
    until("it has subscribed", lambda: consumer.probe("/startup") == 200)
    broker.publish(["before"])
    until("a message is handled", lambda: consumer.handled()["before"])
    broker.kill()
    down = until("readiness fails", lambda: consumer.probe("/ready") != 200)
    print(f"the broker was killed; readiness failed {down * 1000:.0f} ms later")
    asked, back = 0, time.monotonic() + options.seconds
    while time.monotonic() < back:
        ready, alive = consumer.probe("/ready"), consumer.probe("/alive")
        assert (ready, alive) == (500, 200), f"readiness {ready}, liveness {alive}"
        asked += 1
        time.sleep(0.1)
    broker.start()
    up = time.monotonic()

    def is_ready():
        assert consumer.probe("/alive") == 200, "liveness failed"
        return consumer.probe("/ready") == 200

    subscribed = until("it has subscribed again", is_ready)
    broker.publish(["after"])
    until("a message is handled", lambda: consumer.handled()["after"])
    print(f"asked {asked} times in {options.seconds} s, readiness was 500 and liveness 200")
    print(f"it was subscribed {subscribed:.1f} s after the broker listened, and consumed after "
          f"{time.monotonic() - up:.1f} s")
    consumer.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "outage"])
    parser.add_argument("--hurricane", type=os.path.abspath, required=True, help="the binary")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the workers")
    parser.add_argument("--count", type=int, default=100_000, help="how many messages")
    parser.add_argument("--seed", type=int, default=1, help="of the chance that kills")
    parser.add_argument("--seconds", type=int, default=20, help="how long the broker is away")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        broker = Broker(pathlib.Path(folder))
        try:
            {"kills": kills, "outage": outage}[options.what](options, broker, pathlib.Path(folder))
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
