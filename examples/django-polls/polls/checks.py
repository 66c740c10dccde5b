"""Checks that Hurricane's probes run, and that one can make fail by hand.

`touch` the file that the environment names and the probe turns red, remove the file and it turns green again.
"""

import os

from django.core.checks import Error, Warning, register


@register("liveness")
def liveness(app_configs, **kwargs):
    return _fails_while_file_exists("POLLS_LIVENESS_FAIL", "polls.E001")


@register("readiness")
def readiness(app_configs, **kwargs):
    return _fails_while_file_exists("POLLS_READINESS_FAIL", "polls.E002")


@register("liveness", "readiness")
def warning(app_configs, **kwargs):
    """A warning is reported and leaves the probe green."""
    if os.environ.get("POLLS_WARN"):
        return [Warning("POLLS_WARN is set", hint="Unset it.", id="polls.W001")]
    return []


def _fails_while_file_exists(variable, check_id):
    path = os.environ.get(variable)
    if path and os.path.exists(path):
        return [Error(f"the file named by {variable} exists", hint="Remove the file.", id=check_id)]
    return []
