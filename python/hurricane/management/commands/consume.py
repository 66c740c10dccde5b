"""``manage.py consume``: resolves the options, then becomes the ``hurricane`` binary."""
import json
import os

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

from hurricane import binary, logs, options
from hurricane.amqp.basehandler import _AMQPConsumer, logger
from hurricane.management import arguments

MISSING = ("The amqp {0} must not be empty: set it either as environment AMQP_{1}, in the django settings as AMQP_{1} "
           "or as optional argument --amqp-{0}")


class Command(BaseCommand):
    help = "Consumes queues of RabbitMQ: connection, probes and metrics in Rust, the handlers in Python workers."

    def add_arguments(self, parser):
        parser.add_argument("handler", nargs="+", metavar="HANDLER",
                            help="The handler classes, as package.module.Class")
        try:
            self.options = binary.options("consume")
        except binary.NotFound as error:
            raise CommandError(str(error)) from None
        # One value each, since handlers may stand behind them.
        arguments.add(parser, self.options, several=None)

    def handle(self, *args, handler, **given):
        logger.info("Starting a Tornado-powered Django AMQP consumer")
        try:
            words, environment = options.resolve_consume(self.options, given, settings, os.environ)
        except options.Wrong as error:
            raise CommandError(str(error), returncode=2) from None
        for name in handler:
            found = import_string(name)
            if not (isinstance(found, type) and issubclass(found, _AMQPConsumer)):
                logger.error("The type %s is not subclass of _AMQPConsumer", found)
                raise CommandError("Cannot start the consumer due to an implementation error")
        chosen = {word.partition("=")[0] for word in words}
        if "--amqp-url" not in chosen and not environment.get("AMQP_URL"):
            for part in ("host", "port"):
                if f"--amqp-{part}" not in chosen and not environment.get(f"AMQP_{part.upper()}"):
                    raise CommandError(MISSING.format(part, part.upper()))
        try:
            if "HURRICANE_LOG_FORMAT" not in environment and given.get("log_format") is None:
                plan = logs.plan(logs.CONSUMER)
                if plan is not None:
                    environment["HURRICANE_LOGGING"] = json.dumps(plan)
            # Nothing of this process is left but its id, its streams and its environment.
            binary.become(["consume", *handler, *words], environment)
        except binary.NotFound as error:
            raise CommandError(str(error), returncode=2) from None
