"""Checks of a Django project; each project is a process of its own."""
import subprocess
import sys
import textwrap
import unittest

from hurricane.worker import checks

try:
    import django
except ImportError:
    django = None

PROJECT = """
import django
from django.conf import settings
from django.core.checks import Error, Warning, register
settings.configure(DEBUG={debug}, DATABASES={databases}, SECRET_KEY="a secret of the tests", INSTALLED_APPS=[],
                   SILENCED_SYSTEM_CHECKS=["silenced.E001"])
django.setup()
{checks}
from hurricane.worker import checks
print(checks.run({what!r}))
"""
SQLITE = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
UNREACHABLE = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nonexistent/folder/db.sqlite3"}}


class WithoutDjango(unittest.TestCase):
    def test_the_interpreter_answers(self):
        code = "from hurricane.worker import checks; print(checks.has_django(), checks.run('liveness')[0])"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        self.assertEqual(run.stdout, f"False {checks.PASS}\n", run.stderr)


@unittest.skipUnless(django, "Django is not installed")
class WithDjango(unittest.TestCase):
    def run_checks(self, what, registered="", debug=False, databases=None):
        code = PROJECT.format(what=what, checks=textwrap.dedent(registered), debug=debug, databases=databases or {})
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
        self.stderr = run.stderr
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout.strip()

    def expect(self, status, message, *args, **values):
        self.assertEqual(self.run_checks(*args, **values), repr((status, message)))

    def test_without_checks_all_is_well(self):
        for what in ("liveness", "readiness", "database"):
            self.expect(checks.PASS, "", what)

    def test_each_probe_has_its_tags(self):
        registered = "@register('{}')\ndef check(**kwargs): return [Error('bad', id='test.E001')]\n"
        for tag, live, ready in (("liveness", False, True), ("hurricane", False, True), ("readiness", True, False),
                                 ("other", True, True)):
            with self.subTest(tag):
                for what, good in (("liveness", live), ("readiness", ready)):
                    wanted = (checks.PASS, "") if good else (checks.FAIL, "check error")
                    self.expect(*wanted, what, registered.format(tag))

    def test_deployment_checks_are_run(self):
        registered = "@register('liveness', deploy=True)\ndef check(**kwargs): return [Error('bad')]\n"
        self.expect(checks.FAIL, "check error", "liveness", registered)

    def test_details_are_told_in_debug_alone(self):
        registered = "@register('liveness')\ndef check(**kwargs): return [Error('the disk is full', id='test.E001')]\n"
        self.expect(checks.FAIL, "check error", "liveness", registered)
        told = self.run_checks("liveness", registered, debug=True)
        self.assertIn("django check error: ?: (test.E001) the disk is full", told)

    def test_a_warning_is_no_failure(self):
        registered = "@register('readiness')\ndef check(**kwargs): return [Warning('hm', id='test.W001')]\n"
        self.expect(checks.WARN, "test.W001", "readiness", registered)
        self.expect(checks.WARN, "?: (test.W001) hm", "readiness", registered, debug=True)

    def test_what_is_silenced_does_not_count(self):
        registered = "@register('liveness')\ndef check(**kwargs): return [Error('bad', id='silenced.E001')]\n"
        self.expect(checks.PASS, "", "liveness", registered)

    def test_a_check_that_breaks_fails_and_shows_its_traceback(self):
        registered = "@register('liveness')\ndef check(**kwargs): 1 / 0\n"
        self.expect(checks.FAIL, "check error", "liveness", registered)
        self.assertIn("ZeroDivisionError", self.stderr)

    def test_an_operational_error_is_one_of_the_database(self):
        registered = """
            from django.db.utils import OperationalError
            @register('liveness')
            def check(**kwargs): raise OperationalError('gone')
        """
        self.expect(checks.FAIL, "database error", "liveness", registered)
        self.expect(checks.FAIL, "django database error: gone", "liveness", registered, debug=True)

    def test_databases_are_asked(self):
        self.expect(checks.PASS, "", "database", databases=SQLITE)
        self.expect(checks.FAIL, "database error", "database", databases=UNREACHABLE)
        self.assertIn("unable to open", self.run_checks("database", debug=True, databases=UNREACHABLE))


if __name__ == "__main__":
    unittest.main()
