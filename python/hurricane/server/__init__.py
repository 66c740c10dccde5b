"""What is asked of a project before it is served, and what of django-hurricane makes sense without tornado.

``check_databases`` and ``count_migrations`` are looked up when they are called, so that they can be replaced.
"""
import sys

from hurricane.server.loggers import STRUCTLOG_ENABLED, access_log, logger
from hurricane.server.tasks import check_db_and_migrations, command_task

__all__ = ["STRUCTLOG_ENABLED", "access_log", "check_databases", "check_db_and_migrations", "command_task",
           "count_migrations", "logger", "sanitize_probes", "signal_handler", "static_watch"]

# Parts of a tornado server: there is none, and they have no counterpart.
TORNADOS = {
    "DjangoHandler", "DjangoLivenessHandler", "DjangoReadinessHandler", "DjangoStartupHandler",
    "DjangoStaticFilesHandler", "EXECUTOR", "HurricaneApplication", "HurricaneProbeApplication", "PrometheusHandler",
    "add_media_handler", "add_static_handler", "check_mem_allocations", "get_integrated_probe_handler",
    "make_http_server", "make_http_server_and_listen", "make_probe_server", "with_metrics",
}


def __getattr__(name):
    if name in TORNADOS:
        raise ImportError(f"hurricane.server.{name} is not there: Hurricane's server is not tornado's, start it with "
                          "'manage.py serve'", name=__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def databases():
    """The connections of all databases that are configured."""
    from django.db import connections

    found = (connections[alias] for alias in connections)
    # What Django puts into the place of a database that is not configured.
    dummy = "django.db.backends.dummy"
    return [connection for connection in found if connection.settings_dict["ENGINE"] != dummy]


def check_databases():
    """Asks every database something; raises what Django raises when one does not answer."""
    for connection in databases():
        with connection.cursor() as cursor:
            cursor.execute("SELECT (1)" if connection.vendor != "oracle" else "SELECT 1 FROM DUAL")
    return True


def pending_migrations(connection):
    """The migrations that a database lacks."""
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    return executor.migration_plan(executor.loader.graph.leaf_nodes())


def count_migrations():
    """How many migrations the databases lack."""
    return sum(len(pending_migrations(connection)) for connection in databases())


def sanitize_probes(options):
    """``(options, paths)``: the paths of the probes with one slash before them and without blanks; in the options as
    regular expressions that match with a slash at the end too, as tornado wants them."""
    paths = {}
    for name in ("liveness_probe", "readiness_probe", "startup_probe"):
        path = "/" + options[name].lstrip("/").replace(" ", "")
        paths[name] = path
        options[name] = path.rstrip("/") + "/{0,1}"
    return options, paths


def static_watch():
    """Collects the static files; what goes wrong is logged."""
    from django.core.management import call_command

    logger.info("Collecting static as static file changed")
    try:
        call_command("collectstatic", interactive=False)
    except Exception as error:
        logger.error(str(error))


def signal_handler(signal, frame):
    """Ends the process in good order."""
    logger.error("program exiting gracefully")
    sys.exit(0)
