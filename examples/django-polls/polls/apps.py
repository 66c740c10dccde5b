"""The configuration of the polls app."""

from django.apps import AppConfig


class PollsConfig(AppConfig):
    name = "polls"

    def ready(self):
        # Imported for its effect: it registers the checks that the probes run.
        from . import checks  # noqa: F401
