import os
import sys
import unittest
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

from hurricane import options

PORT = {"name": "port", "value": "PORT", "repeated": False, "group": "HTTP", "help": ""}
PROBE_HOST = {"name": "probe-host", "value": "ADDRESS", "repeated": False, "group": "Probes", "help": ""}
STATIC = {"name": "static", "value": None, "repeated": False, "group": "Files", "help": ""}
COMMAND = {"name": "command", "value": "COMMAND", "repeated": True, "group": "Start", "help": ""}
WORKERS = {"name": "workers", "value": "COUNT", "repeated": False, "group": "Workers", "help": ""}
THREADS = {"name": "threads", "value": "COUNT", "repeated": False, "group": "Workers", "help": ""}
LOG_LEVEL = {"name": "log-level", "value": "LEVEL", "repeated": False, "group": "Log", "help": ""}
TABLE = options.table([PORT, PROBE_HOST, STATIC, COMMAND, WORKERS, THREADS, LOG_LEVEL])


def resolve(given=None, settings=None, environment=None):
    """The arguments, and the variables of hurricane without those that every project has."""
    arguments, environment = options.resolve(
        TABLE, given or {}, SimpleNamespace(**(settings or {})), environment or {})
    kept = {name: value for name, value in environment.items() if name.startswith("HURRICANE_")
            and name not in ("HURRICANE_PYTHON", "HURRICANE_HOST", "HURRICANE_THREADS")}
    return arguments, kept


class Sources(unittest.TestCase):
    def test_the_command_line_becomes_arguments(self):
        arguments, environment = resolve(
            {"port": "8000", "static": True, "command": [["migrate"], ["loaddata", "demo"]]},
            {"PORT": 1, "STATIC": False}, {"HURRICANE_PORT": "2"})
        self.assertEqual(arguments, ["--port=8000", "--static", "--command=migrate", "--command=loaddata demo"])
        self.assertEqual(environment, {})

    def test_settings_go_before_the_environment(self):
        arguments, environment = resolve({}, {"PORT": 1}, {"HURRICANE_PORT": "2", "HURRICANE_STATIC": "1"})
        self.assertEqual(arguments, [])
        self.assertEqual(environment, {"HURRICANE_PORT": "1", "HURRICANE_STATIC": "1"})

    def test_a_setting_with_the_prefix_goes_before_the_one_without(self):
        _, environment = resolve({}, {"PORT": 1, "HURRICANE_PORT": 2})
        self.assertEqual(environment, {"HURRICANE_PORT": "2"})

    def test_settings_without_the_prefix_are_those_of_django_hurricane(self):
        _, environment = resolve({}, {"LOG_LEVEL": "debug", "DEBUG": True})
        self.assertEqual(environment, {})
        _, environment = resolve({}, {"HURRICANE_LOG_LEVEL": "debug"})
        self.assertEqual(environment, {"HURRICANE_LOG_LEVEL": "debug"})

    def test_the_version_of_the_project_is_passed_on(self):
        self.assertEqual(resolve({}, {"HURRICANE_VERSION": "1.2"}), ([], {"HURRICANE_VERSION": "1.2"}))

    def test_an_empty_variable_is_none(self):
        self.assertEqual(resolve({}, {}, {"HURRICANE_PORT": ""}), ([], {}))


class Values(unittest.TestCase):
    def test_lists_become_lines(self):
        for value in ([["migrate"], ["collectstatic --noinput"]], ["migrate", "collectstatic --noinput"],
                      "migrate\ncollectstatic --noinput\n"):
            _, environment = resolve({}, {"COMMAND": value})
            self.assertEqual(environment, {"HURRICANE_COMMAND": "migrate\ncollectstatic --noinput"})

    def test_what_is_no_text_becomes_text(self):
        for value, text in ((8000, "8000"), (Path("/x"), "/x"), (timedelta(minutes=1), "60.0s")):
            self.assertEqual(options.as_text(value, PORT, "settings: PORT"), text)
        self.assertEqual(options.as_text(False, STATIC, "settings: STATIC"), "false")

    def test_what_cannot_be_text_is_named(self):
        with self.assertRaisesRegex(options.Wrong, r"^PORT cannot be \{\}$"):
            resolve({}, {"PORT": {}})


class Names(unittest.TestCase):
    def test_workers_are_threads_and_processes_are_workers(self):
        arguments, _ = resolve({"workers": "3", "processes": "2"})
        self.assertEqual(sorted(arguments), ["--threads=3", "--workers=2"])
        _, environment = options.resolve(TABLE, {}, SimpleNamespace(WORKERS=3), {"HURRICANE_PROCESSES": "2"})
        self.assertEqual((environment["HURRICANE_THREADS"], environment["HURRICANE_WORKERS"]), ("3", "2"))
        self.assertNotIn("HURRICANE_PROCESSES", environment)

    def test_without_either_there_are_as_many_threads_as_before(self):
        _, environment = options.resolve(TABLE, {}, SimpleNamespace(), {})
        self.assertEqual(environment["HURRICANE_THREADS"], str(options.default_threads()))

    def test_interface_is_a_host_unless_it_is_a_protocol(self):
        self.assertEqual(resolve({"interface": "localhost"})[0], ["--probe-host=127.0.0.1"])
        self.assertEqual(resolve({"interface": "::1"})[0], ["--probe-host=::1"])
        self.assertEqual(resolve({"interface": "wsgi"})[0], ["--interface=wsgi"])


class Paths(unittest.TestCase):
    def test_what_manage_py_added_is_passed_on(self):
        self.addCleanup(setattr, sys, "path", sys.path)
        sys.path = ["/project", *sys.path, "/project/apps"]
        found = options.python_path("/mine").split(os.pathsep)
        self.assertEqual(found[0], "/project")
        self.assertIn("/project/apps", found)
        self.assertEqual(found[-1], "/mine")
        self.assertFalse([path for path in found if path.endswith("site-packages")])


if __name__ == "__main__":
    unittest.main()
