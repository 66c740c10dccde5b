"""A webhook: an event, posted as JSON."""
import json
import socket
import threading
import time
import urllib.parse
import urllib.request
from enum import Enum

from hurricane.server.loggers import logger
from hurricane.webhooks.registry import webhook_registry

TIMEOUT = 5


class WebhookStatus(Enum):
    FAILED = "failed"
    SUCCEEDED = "succeeded"
    WARNING = "warning"


class Webhook:
    """Registered by its class; ``run`` sends it."""

    code = ""

    def __init__(self, code=None):
        if code:
            self.code = code
        self.data = {"info": f"{self.code.capitalize()} webhook", "type": self.code}

    @classmethod
    def get_from_registry(cls):
        return webhook_registry.get(cls.code)

    def set_traceback(self, traceback):
        self.data["traceback"] = traceback

    def set_status(self, status):
        self.data["status"] = status.value

    def set_timestamp(self):
        self.data["timestamp"] = int(time.time())

    def set_podname(self):
        self.data["podname"] = socket.gethostname()

    def set_version(self):
        from django.conf import settings

        self.data["version"] = getattr(settings, "HURRICANE_VERSION", None)

    def get_message(self):
        """The payload."""
        return self.data

    def run(self, url, status, error_trace=None, close_loop=False, loop=None):
        """Posts the event on a thread of its own, and then stops a loop, if asked to. Without a URL nothing is sent."""
        if not url:
            if close_loop:
                logger.warning("No webhook can be sent, as no url is specified")
                self.close(loop)
            return None
        self.data.pop("traceback", None)
        if error_trace:
            self.set_traceback(error_trace)
        self.set_status(status)
        self.set_timestamp()
        self.set_podname()
        self.set_version()
        # The thread sends what there is to tell now.
        arguments = dict(self.get_message()), url, close_loop, loop
        thread = threading.Thread(target=self.deliver, args=arguments, name=f"hurricane-webhook-{self.code}")
        thread.start()
        return thread

    def deliver(self, data, url, close_loop, loop):
        try:
            self._send_webhook(data, url, close_loop)
        except Exception as error:
            logger.warning(f"Sending webhook to {shown(url)} has failed due to {error}")
        if close_loop:
            self.close(loop)

    def _send_webhook(self, data, webhook_url, close_loop):
        """Posts the payload; raises what goes wrong."""
        logger.info(f"Start sending {self.code} webhook to {shown(webhook_url)}")
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(webhook_url, json.dumps(data).encode(), head)
        urllib.request.urlopen(request, timeout=TIMEOUT).close()

    @staticmethod
    def close(loop):
        logger.info("Loop will be closed")
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)


def shown(url):
    """A URL without what may be secret in it, as the server shows it: the host and the first word of the path."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        return "a URL that is none"
    first, _, rest = parts.path.lstrip("/").partition("/")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    text = f"{parts.scheme}://{host}" + (f":{port}" if port else "") + f"/{first}"
    return text + ("/…" if rest else "")
