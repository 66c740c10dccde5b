"""Webhooks in the classes of django-hurricane, for applications that send events of their own.

The server sends those of start-up, liveness and readiness itself, from outside Python.
"""
from hurricane.webhooks.base import Webhook, WebhookStatus
from hurricane.webhooks.registry import WebhookRegistry, webhook_registry
from hurricane.webhooks.webhook_types import LivenessWebhook, ReadinessWebhook, StartupWebhook

__all__ = ["LivenessWebhook", "ReadinessWebhook", "StartupWebhook", "Webhook", "WebhookRegistry", "WebhookStatus",
           "webhook_registry"]

for webhook in (StartupWebhook, LivenessWebhook, ReadinessWebhook):
    webhook_registry.register(webhook)
