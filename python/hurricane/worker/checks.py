"""Answers the probes' questions about a Django project: its system checks by tag, and its databases."""
import sys
import traceback

from . import metrics, webhooks

PASS, WARN, FAIL = 0, 1, 2

# The tags that a probe stands for. `hurricane` is what django-hurricane's documentation tells its users to write.
TAGS = {"liveness": ("liveness", "hurricane"), "readiness": ("readiness",), "startup": ("startup",)}


def has_django():
    """Whether the application is a Django project that has been set up."""
    apps = sys.modules.get("django.apps")
    return apps is not None and apps.apps.ready


def run(what):
    """``(status, message)`` of the checks with a tag, or of ``database``; what is counted here for ``metrics``; which
    ``webhooks`` are the project's, and whether a ``webhook`` was begun with the event behind that word."""
    if what.startswith("webhook"):
        try:
            return PASS, webhooks.registered() if what == "webhooks" else webhooks.run(what.partition(" ")[2]) or ""
        except Exception:
            traceback.print_exc()
            return FAIL, "[]"
    if what == "metrics":
        try:
            return PASS, metrics.collect()
        except Exception:
            traceback.print_exc()
            return FAIL, "[]"
    if not has_django():
        return PASS, "no Django project: the interpreter answers"
    from django.db.utils import OperationalError

    try:
        return run_database() if what == "database" else run_tag(what)
    except OperationalError as error:
        return FAIL, detailed("database error", f"django database error: {error}")
    except BaseException as error:
        traceback.print_exc()
        return FAIL, detailed("check error", f"django check error: {error!r}")


def run_tag(tag):
    from django.core import checks
    from django.core.management.base import SystemCheckError

    try:
        messages = checks.run_checks(tags=TAGS[tag], include_deployment_checks=True)
    except SystemCheckError as error:
        return FAIL, detailed("check error", f"django check error: {error}")
    messages = [message for message in messages if not message.is_silenced()]
    serious = [message for message in messages if message.is_serious()]
    if serious:
        return FAIL, detailed("check error", "django check error: " + "; ".join(map(str, serious)))
    if messages:
        return WARN, "; ".join(map(str, messages)) if debug() else ", ".join(str(m.id) for m in messages)
    return PASS, ""


def run_database():
    """Asks every configured database something, so that a connection that was lost is seen."""
    from django.db import connections

    for alias in connections:
        connection = connections[alias]
        if connection.settings_dict["ENGINE"] == "django.db.backends.dummy":
            continue
        if connection.connection is not None and not connection.is_usable():
            connection.close()
        connection.ensure_connection()
    return PASS, ""


def detailed(short, full):
    return full if debug() else short


def debug():
    from django.conf import settings

    return bool(settings.DEBUG)
