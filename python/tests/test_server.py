"""What of django-hurricane's functions there is."""
import logging
import subprocess
import sys
import textwrap
import unittest

from hurricane import server

try:
    import django
except ImportError:
    django = None


class Functions(unittest.TestCase):
    def test_probes_are_sanitized(self):
        options, paths = server.sanitize_probes(
            {"liveness_probe": "//a b/", "readiness_probe": "ready", "startup_probe": "/s", "port": 1})
        self.assertEqual(paths, {"liveness_probe": "/ab/", "readiness_probe": "/ready", "startup_probe": "/s"})
        self.assertEqual(options, {"liveness_probe": "/ab/{0,1}", "readiness_probe": "/ready/{0,1}",
                                   "startup_probe": "/s/{0,1}", "port": 1})

    def test_a_signal_ends_the_process(self):
        with self.assertRaises(SystemExit) as ended, self.assertLogs("hurricane.server.general"):
            server.signal_handler(15, None)
        self.assertEqual(ended.exception.code, 0)

    def test_what_is_tornados_says_so(self):
        for statement in ("from hurricane.server import make_http_server", "import hurricane.server.django",
                          "from hurricane.server.wsgi import HurricaneWSGIContainer"):
            with self.subTest(statement), self.assertRaisesRegex(ImportError, "start it with 'manage.py serve'"):
                exec(statement)
        with self.assertRaisesRegex(ImportError, "cannot import name 'nothing'"):
            exec("from hurricane.server import nothing")

    def test_loggers_have_their_names(self):
        from hurricane.server import loggers

        self.assertFalse(loggers.STRUCTLOG_ENABLED, "nobody has configured it")
        self.assertIs(server.logger, logging.getLogger("hurricane.server.general"))
        self.assertEqual([logger.name.rpartition(".")[2] for logger in
                          (loggers.access_log, loggers.app_log, loggers.metrics_log)],
                         ["access", "application", "metrics"])


PROJECT = """
import logging, sys
import django
from django.conf import settings
settings.configure(SECRET_KEY="a secret of the tests", INSTALLED_APPS=["django.contrib.contenttypes"],
                   DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "{name}"}}}})
django.setup()
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s")
from hurricane import server
{code}
"""


@unittest.skipUnless(django, "Django is not installed")
class Tasks(unittest.TestCase):
    def run_code(self, code, name=":memory:"):
        code = PROJECT.format(code=textwrap.dedent(code), name=name)
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        return run.stdout.splitlines(), run.stderr

    def test_commands_are_executed(self):
        said, _ = self.run_code("server.command_task([['check --tag models', 'ignored'], ['check']])")
        self.assertEqual(said[:2], ["INFO Starting execution of management commands",
                                    "INFO Starting execution of command check with arguments ['--tag', 'models']"])
        self.assertEqual(said[2], "System check identified no issues (0 silenced).")
        self.assertRegex(said[3], r"^INFO Command check was executed in [0-9.e-]+ seconds$")

    def test_a_command_that_fails_stops_the_loop_and_raises(self):
        said, errors = self.run_code("""
            import asyncio, threading
            loop = asyncio.new_event_loop()
            def task():
                try:
                    server.command_task([["nothing"]], loop=loop)
                finally:
                    print("raised")
            tasks = threading.Thread(target=task)
            tasks.start()
            loop.run_forever()
            # Two threads that print at once put their words on one line.
            tasks.join()
            print("stopped")
        """)
        self.assertEqual(said[2:4], ["ERROR Unknown command: 'nothing'",
                                     "INFO Webhook with a status failed has been initiated"])
        self.assertIn("WARNING No webhook can be sent, as no url is specified", said)
        self.assertIn("INFO Loop will be closed", said)
        self.assertLessEqual({"raised", "stopped"}, set(said))
        self.assertIn("CommandError", errors)

    def test_migrations_are_applied(self):
        said, _ = self.run_code("server.check_db_and_migrations(apply_migration=True)")
        logged = [line for line in said if line.startswith(("INFO", "WARNING"))]
        self.assertEqual(logged, [
            "INFO Database was checked successfully", "INFO There are 2 pending migrations",
            "INFO Applying migrations", "INFO Database was checked successfully",
            "INFO There are 0 pending migrations", "INFO No pending migrations"])

    def test_a_database_that_is_not_there_is_told(self):
        said, errors = self.run_code("server.check_db_and_migrations()", name="/nowhere/db.sqlite3")
        self.assertEqual(said[:2], [
            "WARNING Database command execution has failed with unable to open database file",
            "INFO Webhook with a status warning has been initiated"])
        self.assertIn("OperationalError", errors)

    def test_what_checks_the_database_can_be_replaced(self):
        said, _ = self.run_code("""
            server.check_databases = lambda: False
            server.check_db_and_migrations()
            print("done")
        """)
        self.assertEqual(said, ["done"])

    def test_static_files_that_cannot_be_collected_are_logged(self):
        said, _ = self.run_code("server.static_watch()")
        self.assertEqual(said, ["INFO Collecting static as static file changed",
                                "ERROR Unknown command: 'collectstatic'"])


if __name__ == "__main__":
    unittest.main()
