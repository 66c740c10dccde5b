"""``manage.py serve``: resolves the options, then becomes the ``hurricane`` binary."""
import json
import os

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hurricane import binary, logs, options
from hurricane.management import arguments


class Command(BaseCommand):
    help = "Serves the project: HTTP, probes and metrics in Rust, the project in Python workers."

    def add_arguments(self, parser):
        try:
            self.options = options.table(binary.options("serve"))
        except binary.NotFound as error:
            raise CommandError(str(error)) from None
        arguments.add(parser, self.options)

    def handle(self, *args, **given):
        try:
            words, environment = options.resolve(self.options, given, settings, os.environ)
            if "HURRICANE_LOG_FORMAT" not in environment and given.get("log_format") is None:
                plan = logs.plan()
                if plan is not None:
                    environment["HURRICANE_LOGGING"] = json.dumps(plan)
            # Nothing of this process is left but its id, its streams and its environment.
            binary.become(["serve", *words], environment)
        except (options.Wrong, binary.NotFound) as error:
            raise CommandError(str(error), returncode=2) from None
