"""The webhooks of this process, by code."""
from hurricane.webhooks.exceptions import WebhookCodeAlreadyRegistered


class WebhookRegistry:
    """Makes the one instance of each class that is registered."""

    def __init__(self):
        self.webhooks = {}

    def register(self, webhook_class):
        webhook = webhook_class()
        if webhook.code in self.webhooks:
            raise WebhookCodeAlreadyRegistered(f"Webhook Code ({webhook.code}) is already registered.")
        self.webhooks[webhook.code] = webhook

    def unregister(self, webhook_class):
        self.webhooks.pop(webhook_class.code, None)

    def get(self, code):
        return self.webhooks[code]


webhook_registry = WebhookRegistry()
