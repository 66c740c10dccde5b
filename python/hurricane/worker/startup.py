"""The process that runs before the workers: waits for databases, runs management commands, looks after migrations.

It is a process of its own, so that what commands leave behind in an interpreter is gone when the workers start, and
so that a signal can end it.
"""
import os
import signal
import sys
import time
import traceback
from contextlib import contextmanager

from . import application, frame

INFO, WARNING = "info", "warning"

# How often a database is asked that is not there yet, migrations are counted that another process applies, and a
# lock is tried that another process holds (seconds).
PAUSE = 1.0

# Of all locks in a database that is not hurricane's alone, this one is.
LOCK = int.from_bytes(b"hurrican", "big")


class Failed(Exception):
    """Something cannot be done. ``reason`` is a word that the server has an exit code for."""

    def __init__(self, reason, message, trace=None):
        super().__init__(message)
        self.reason = reason
        self.traceback = trace


class Startup:
    """Does what is to be done, and tells the server over its control channel."""

    def __init__(self, control):
        self.control = frame.Channel(control)

    def run(self):
        _, tasks = self.control.receive()
        try:
            self.perform(tasks)
        except application.LoadError as error:
            self.control.send(frame.DONE, (error.reason, str(error), None))
        except Failed as error:
            self.control.send(frame.DONE, (error.reason, str(error), error.traceback))
        else:
            self.control.send(frame.DONE, None)
            return 0
        return 1

    def perform(self, tasks):
        application.find()
        application.set_up_django()
        if tasks["wait"]:
            self.wait_for_databases(tasks["wait"])
        if tasks["commands"]:
            self.log(INFO, "Starting execution of management commands")
        for words in tasks["commands"]:
            self.execute(words)
        if tasks["check_migrations"]:
            self.migrate(tasks["apply_migrations"])

    def log(self, level, message):
        self.control.send(frame.LOG, (level, message))

    def execute(self, words):
        from django.core.management import call_command

        name, *arguments = words
        self.log(INFO, f"Starting execution of command {name} with arguments {arguments}")
        start = time.monotonic()
        try:
            call_command(name, *arguments)
        except SystemExit as error:
            if Terminated.came:
                raise
            if error.code not in (None, 0):
                raise Failed("command", f"the command {name!r} ended with {error.code!r}",
                             traceback.format_exc()) from None
        except BaseException as error:
            raise Failed("command", f"the command {name!r} failed: {said(error)}", traceback.format_exc()) from None
        finally:
            sys.stdout.flush()
        self.log(INFO, f"Command {name} was executed in {time.monotonic() - start} seconds")

    def wait_for_databases(self, seconds):
        from django.db.utils import Error

        from hurricane import server

        deadline = time.monotonic() + seconds
        told = None
        while True:
            try:
                return server.check_databases()
            except Error as error:
                if time.monotonic() > deadline:
                    raise Failed("database", f"no database after {seconds:g} seconds: {said(error)}",
                                 traceback.format_exc()) from None
                if said(error) != told:
                    told = said(error)
                    self.log(WARNING, f"Waiting for the database: {told}")
            time.sleep(PAUSE)

    def migrate(self, apply):
        from hurricane import server

        told = None
        while True:
            try:
                if server.check_databases() is False:
                    raise Failed("database", "a database does not answer")
            except Failed:
                raise
            except Exception as error:
                self.log(WARNING, f"Database command execution has failed with {said(error)}")
                raise Failed("database", f"a database does not answer: {said(error)}",
                             traceback.format_exc()) from None
            try:
                count = server.count_migrations()
                if count != told:
                    self.log(INFO, "Database was checked successfully")
                    self.log(INFO, f"There are {count} pending migrations")
                if not count:
                    return self.log(INFO, "No pending migrations")
                if apply:
                    self.log(INFO, "Applying migrations")
                    self.apply_migrations()
                elif count != told:
                    self.log(INFO, "Migrations are pending")
            except Exception as error:
                raise Failed("database", f"migrations cannot be {'applied' if apply else 'counted'}: {said(error)}",
                             traceback.format_exc()) from None
            if apply and told == count:
                raise Failed("database", f"{count} migrations are pending after all have been applied")
            told = count
            if not apply:
                time.sleep(PAUSE)

    def apply_migrations(self):
        from django.core.management import call_command

        from hurricane import server

        for connection in server.databases():
            if not server.pending_migrations(connection):
                continue
            with self.alone_with(connection):
                # Another process may have applied them in the meantime.
                if server.pending_migrations(connection):
                    call_command("migrate", database=connection.alias, interactive=False)
                    sys.stdout.flush()

    @contextmanager
    def alone_with(self, connection):
        """Holds a lock of the database, where it has such locks, on a connection that nothing else uses."""
        if connection.vendor not in LOCKS:
            yield
            return
        own = connection.copy()
        try:
            with own.cursor() as cursor:
                told = False
                while not LOCKS[connection.vendor](cursor, own):
                    if not told:
                        told = True
                        self.log(INFO, f"Waiting for another process that migrates {connection.alias!r}")
                    time.sleep(PAUSE)
            yield
        finally:
            # With the connection ends the lock.
            own.close()


def lock_postgresql(cursor, connection):
    cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
    return cursor.fetchone()[0]


def lock_mysql(cursor, connection):
    # Names are those of the whole server.
    name = f"hurricane-{connection.settings_dict['NAME']}"
    cursor.execute("SELECT GET_LOCK(%s, 0)", [name[:64]])
    return cursor.fetchone()[0] == 1


# Each tries to take the lock and tells whether it has it. Trying, because a signal ends no wait inside a driver.
LOCKS = {"postgresql": lock_postgresql, "mysql": lock_mysql}


def said(error):
    """What an exception says, on one line; its type if it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


class Terminated:
    """SIGTERM raises SystemExit, so that what runs can tidy up."""

    came = False

    @classmethod
    def handle(cls, signum, stack):
        cls.came = True
        sys.exit(128 + signum)


def run(control):
    """Runs the tasks that come over the control channel; the exit status of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, Terminated.handle)
    os.set_inheritable(control.fileno(), False)
    return Startup(control).run()
