"""A webhook: an event, posted as JSON."""
import json
import logging
import socket
import threading
import time
import urllib.request
from enum import Enum

from hurricane.webhooks.registry import webhook_registry

logger = logging.getLogger("hurricane.server.general")

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

    def get_message(self, error_trace, status):
        """The payload."""
        if error_trace:
            self.set_traceback(error_trace)
        self.set_status(status)
        self.set_timestamp()
        self.set_podname()
        self.set_version()
        return self.data

    def run(self, url, status, error_trace=None, close_loop=False, loop=None):
        """Posts the event, on a thread of its own. ``close_loop`` and ``loop`` are of no use without tornado."""
        logger.info(f"Start sending {self.code} webhook to {url}")
        message = json.dumps(self.get_message(error_trace, status)).encode()
        thread = threading.Thread(target=self.send, args=(url, message), name=f"hurricane-webhook-{self.code}")
        thread.start()
        return thread

    @staticmethod
    def send(url, message):
        try:
            request = urllib.request.Request(url, message, {"Content-Type": "application/json"})
            urllib.request.urlopen(request, timeout=TIMEOUT).close()
        except (OSError, ValueError) as error:
            logger.warning(f"Sending webhook to {url} has failed due to {error}")


class StartupWebhook(Webhook):
    code = "startup"


class LivenessWebhook(Webhook):
    code = "liveness"


class ReadinessWebhook(Webhook):
    code = "readiness"
