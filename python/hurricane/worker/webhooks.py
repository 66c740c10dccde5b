"""Webhooks that a project has put into the registry in place of hurricane's: the server has them run here."""
import json
import sys
import threading


def registered():
    """The codes of the project's own webhooks, as JSON."""
    package = sys.modules.get("hurricane.webhooks")
    webhooks = package.webhook_registry.webhooks.items() if package is not None else ()
    return json.dumps([code for code, webhook in webhooks if not is_ours(type(webhook))])


def is_ours(webhook_class):
    return webhook_class.__module__.startswith("hurricane.webhooks.")


def run(event):
    """Runs one of them, without waiting for it: ``{code, url, status, traceback}`` as JSON."""
    from hurricane.webhooks import WebhookStatus, webhook_registry

    event = json.loads(event)
    webhook = webhook_registry.get(event["code"])
    arguments = event["url"], WebhookStatus(event["status"])
    threading.Thread(target=webhook.run, args=arguments, kwargs={"error_trace": event["traceback"]},
                     name=f"hurricane-webhook-{event['code']}").start()
