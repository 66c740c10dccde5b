"""What goes wrong with webhooks."""


class WebhookCodeAlreadyRegistered(Exception):
    """There is a webhook of that code."""
