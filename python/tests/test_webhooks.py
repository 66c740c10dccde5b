import json
import socket
import threading
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

from hurricane import webhooks
from hurricane.webhooks.base import shown
from hurricane.webhooks.exceptions import WebhookCodeAlreadyRegistered
from server import PATIENCE

LOGGER = "hurricane.server.general"


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append((self.path, self.headers["content-type"], json.loads(body)))
        self.send_response(404 if self.path == "/nowhere" else 200)
        self.end_headers()

    def log_message(self, *args):
        pass


class Registry(unittest.TestCase):
    def test_a_code_is_taken_once(self):
        message = r"^Webhook Code \(startup\) is already registered\.$"
        with self.assertRaisesRegex(WebhookCodeAlreadyRegistered, message):
            webhooks.webhook_registry.register(webhooks.StartupWebhook)

    def test_a_webhook_of_ones_own(self):
        class Deployed(webhooks.Webhook):
            code = "deployed"

        webhooks.webhook_registry.register(Deployed)
        self.addCleanup(webhooks.webhook_registry.unregister, Deployed)
        webhook = Deployed.get_from_registry()
        webhook.set_status(webhooks.WebhookStatus.WARNING)
        self.assertEqual(webhook.data, {"info": "Deployed webhook", "type": "deployed", "status": "warning"})

    def test_the_names_of_django_hurricane_are_there(self):
        from hurricane.webhooks import base, registry, webhook_types

        self.assertIs(webhook_types.StartupWebhook, webhooks.StartupWebhook)
        self.assertIs(base.WebhookStatus("failed"), webhooks.WebhookStatus.FAILED)
        self.assertIs(registry.webhook_registry, webhooks.webhook_registry)


class OfTheProject(unittest.TestCase):
    def test_those_that_are_not_hurricanes_are_told_and_run(self):
        from hurricane.worker import checks

        done = threading.Event()

        class Own(webhooks.LivenessWebhook):
            def run(self, *args, **kwargs):
                Own.given = args, kwargs
                done.set()

        registry = webhooks.webhook_registry
        self.assertEqual(checks.run("webhooks"), (checks.PASS, "[]"))
        registry.unregister(webhooks.LivenessWebhook)
        registry.register(Own)
        self.addCleanup(registry.register, webhooks.LivenessWebhook)
        self.addCleanup(registry.unregister, Own)
        self.assertEqual(checks.run("webhooks"), (checks.PASS, '["liveness"]'))
        event = {"code": "liveness", "url": "http://h/", "status": "failed", "traceback": None}
        self.assertEqual(checks.run(f"webhook {json.dumps(event)}"), (checks.PASS, ""))
        self.assertTrue(done.wait(PATIENCE))
        self.assertEqual(Own.given, (("http://h/", webhooks.WebhookStatus.FAILED), {"error_trace": None}))


class Run(unittest.TestCase):
    def setUp(self):
        self.server = HTTPServer(("127.0.0.1", 0), Receiver)
        self.server.received = []
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.server.shutdown)
        # The version is of Django's settings, which are not configured here.
        version = {"set_version": lambda self: self.data.update(version=7)}
        self.webhook = type("Versioned", (webhooks.StartupWebhook,), version)()

    def test_the_payload_is_that_of_django_hurricane(self):
        with self.assertLogs(LOGGER, "INFO") as logs:
            self.webhook.run(f"{self.url}/webhook", webhooks.WebhookStatus.FAILED, error_trace="Traceback: …").join()
        self.assertEqual(logs.output, [f"INFO:{LOGGER}:Start sending startup webhook to {self.url}/webhook"])
        path, kind, payload = self.server.received[0]
        self.assertEqual((path, kind), ("/webhook", "application/json"))
        self.assertAlmostEqual(payload.pop("timestamp"), 2e9, delta=5e8)
        self.assertEqual(payload, {
            "info": "Startup webhook", "type": "startup", "traceback": "Traceback: …", "status": "failed",
            "podname": socket.gethostname(), "version": 7})
        # A traceback is that of the event.
        self.webhook.run(f"{self.url}/webhook", webhooks.WebhookStatus.SUCCEEDED).join()
        self.assertNotIn("traceback", self.server.received[1][2])

    def test_what_fails_is_logged_without_secrets(self):
        with self.assertLogs(LOGGER, "WARNING") as logs:
            self.webhook.run(f"{self.url}/nowhere", webhooks.WebhookStatus.SUCCEEDED).join()
            self.webhook.run("http://127.0.0.1:1/hook/secret", webhooks.WebhookStatus.SUCCEEDED).join()
        self.assertIn(f"Sending webhook to {self.url}/nowhere has failed due to HTTP Error 404", logs.output[0])
        self.assertIn("Sending webhook to http://127.0.0.1:1/hook/… has failed due to", logs.output[1])
        self.assertNotIn("secret", "".join(logs.output))

    def test_a_method_that_is_replaced_is_called(self):
        class Own(type(self.webhook)):
            def get_message(self):
                return {"text": f"{self.data['type']} {self.data['status']}"}

        Own().run(f"{self.url}/webhook", webhooks.WebhookStatus.WARNING).join()
        self.assertEqual(self.server.received[0][2], {"text": "startup warning"})

    def test_without_a_url_nothing_is_sent(self):
        self.assertIsNone(self.webhook.run(None, webhooks.WebhookStatus.SUCCEEDED))
        with self.assertLogs(LOGGER, "INFO") as logs:
            self.webhook.run("", webhooks.WebhookStatus.FAILED, close_loop=True)
        self.assertEqual(len(logs.output), 2, logs.output)

    def test_a_url_is_shown_without_what_may_be_secret(self):
        for url, text in (("https://a:b@hooks.slack.com/services/T/B?x=y#z", "https://hooks.slack.com/services/…"),
                          ("http://[::1]:80/", "http://[::1]:80/"), ("http://h:x/", "a URL that is none")):
            self.assertEqual(shown(url), text)


if __name__ == "__main__":
    unittest.main()
