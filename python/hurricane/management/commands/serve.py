"""``manage.py serve``: resolves the options, then becomes the ``hurricane`` binary."""
import json
import os

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from hurricane import binary, logs, options


class Command(BaseCommand):
    help = "Serves the project: HTTP, probes and metrics in Rust, the project in Python workers."

    def add_arguments(self, parser):
        try:
            self.options = options.table(binary.options("serve"))
        except binary.NotFound as error:
            raise CommandError(str(error)) from None
        groups = {}
        for option in self.options:
            title = option["group"]
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            add(groups[title], option)

    def handle(self, *args, **given):
        try:
            arguments, environment = options.resolve(self.options, given, settings, os.environ)
            if "HURRICANE_LOG_FORMAT" not in environment and given.get("log_format") is None:
                plan = logs.plan()
                if plan is not None:
                    environment["HURRICANE_LOGGING"] = json.dumps(plan)
            # Nothing of this process is left but its id, its streams and its environment.
            binary.become(["serve", *arguments], environment)
        except (options.Wrong, binary.NotFound) as error:
            raise CommandError(str(error), returncode=2) from None


def add(group, option):
    name = "--" + option["name"]
    text = (option["help"] or "").replace("%", "%%")
    if option["value"] is None:
        group.add_argument(name, action="store_true", default=None, help=text)
    elif option["repeated"]:
        group.add_argument(name, action="append", nargs="+", metavar=option["value"], help=text)
    else:
        group.add_argument(name, metavar=option["value"], help=text)
