"""The webhooks that the server runs."""
from hurricane.webhooks.base import Webhook


class StartupWebhook(Webhook):
    code = "startup"


class LivenessWebhook(Webhook):
    code = "liveness"


class ReadinessWebhook(Webhook):
    code = "readiness"
