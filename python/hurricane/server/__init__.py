"""What is asked of the databases before the server starts. Looked up when it is called, so that it can be replaced."""


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


def pending_migrations(connection):
    """The migrations that a database lacks."""
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    return executor.migration_plan(executor.loader.graph.leaf_nodes())


def count_migrations():
    """How many migrations the databases lack."""
    return sum(len(pending_migrations(connection)) for connection in databases())
