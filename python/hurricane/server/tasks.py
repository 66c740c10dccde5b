"""What django-hurricane does before it serves, for those who call it themselves: commands, migrations.

``manage.py serve`` does the same in ``hurricane.worker.startup``, with locks and exit codes.
"""
import time
import traceback

from hurricane.server.loggers import logger

PAUSE = 1.0


def command_task(commands, webhook_url=None, loop=None):
    """Executes management commands, each a list whose first item is the command line. One that raises ends it: the
    start-up webhook says so, and the error goes on to the caller."""
    from django.core.management import call_command

    logger.info("Starting execution of management commands")
    for name, *arguments in (command[0].split() for command in commands):
        logger.info(f"Starting execution of command {name} with arguments {arguments}")
        start = time.monotonic()
        try:
            call_command(name, *arguments)
        except Exception as error:
            logger.error(str(error))
            report("failed", webhook_url, loop)
            raise
        logger.info(f"Command {name} was executed in {time.monotonic() - start} seconds")


def check_db_and_migrations(webhook_url=None, loop=None, apply_migration=False):
    """Waits until no database lacks a migration, or applies what is lacking. What goes wrong is told by the start-up
    webhook and goes on to the caller."""
    from django.core.management import call_command

    from hurricane import server

    try:
        while server.check_databases() is not False:
            logger.info("Database was checked successfully")
            count = server.count_migrations()
            logger.info(f"There are {count} pending migrations")
            if not count:
                logger.info("No pending migrations")
                break
            if apply_migration:
                logger.info("Applying migrations")
                call_command("migrate", interactive=False)
            else:
                logger.info("Migrations are pending")
                time.sleep(PAUSE)
    except Exception as error:
        logger.warning(f"Database command execution has failed with {error}")
        report("warning", webhook_url, loop)
        raise


def report(status, webhook_url, loop):
    """Sends the start-up webhook with the traceback of the exception that is being handled."""
    from hurricane.webhooks import StartupWebhook, WebhookStatus

    logger.info(f"Webhook with a status {status} has been initiated")
    StartupWebhook().run(webhook_url or None, WebhookStatus(status), error_trace=traceback.format_exc(),
                         close_loop=True, loop=loop)
