"""SQLite that is down, as a database server may be, while the file `db-down` is there."""
from django.db.backends.sqlite3 import base
from django.db.utils import OperationalError
from notes import DIR


def is_down():
    return (DIR / "db-down").exists()


class DatabaseWrapper(base.DatabaseWrapper):
    def get_new_connection(self, conn_params):
        if is_down():
            raise OperationalError("connection refused, on purpose")
        return super().get_new_connection(conn_params)

    def is_usable(self):
        return not is_down()
