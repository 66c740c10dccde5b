import logging
import sys
import types
import unittest
from unittest import mock

from hurricane.server import debugging
from hurricane.server.exceptions import IncompatibleOptions


class Debugging(unittest.TestCase):
    def setUp(self):
        # Whether structlog is installed or not.
        logger = logging.getLogger("hurricane.server.general")
        patch = mock.patch.object(debugging, "logger", logger)
        patch.start()
        self.addCleanup(patch.stop)

    def module(self, name, **functions):
        module = types.ModuleType(name)
        vars(module).update(functions)
        patch = mock.patch.dict(sys.modules, {name: module if functions else None})
        patch.start()
        self.addCleanup(patch.stop)

    def test_autoreload_excludes_both(self):
        for options in ({"debugger": True, "pycharm_host": None}, {"debugger": False, "pycharm_host": "ide"}):
            with self.assertRaises(IncompatibleOptions):
                debugging.setup_debugging({"autoreload": True, **options})
        debugging.setup_debugging({"autoreload": True, "debugger": False, "pycharm_host": None})

    def test_debugpy_listens_to_this_machine(self):
        listen = mock.Mock()
        self.module("debugpy", listen=listen)
        with self.assertLogs("hurricane.server.general", "INFO") as logs:
            debugging.setup_debugpy({"debugger": True, "debugger_port": 8071})
        listen.assert_called_once_with(("127.0.0.1", 8071))
        self.assertEqual(logs.records[0].getMessage(), "Listening for debug clients at port 8071")
        debugging.setup_debugpy({"debugger": True, "debugger_host": "0.0.0.0"})
        listen.assert_called_with(("0.0.0.0", 5678))

    def test_a_missing_module_is_a_warning(self):
        self.module("debugpy")
        self.module("pydevd_pycharm")
        with self.assertLogs("hurricane.server.general", "WARNING") as logs:
            debugging.setup_debugging({"debugger": True, "pycharm_host": "ide"})
        self.assertEqual(len(logs.records), 2)

    def test_pycharm_is_connected_to_or_not(self):
        settrace = mock.Mock(side_effect=[None, ConnectionRefusedError])
        self.module("pydevd_pycharm", settrace=settrace)
        with self.assertLogs("hurricane.server.general", "INFO") as logs:
            for port in (8071, 8071, None):
                debugging.setup_pycharm({"pycharm_host": "ide", "pycharm_port": port})
        settrace.assert_called_with("ide", port=8071, stdoutToServer=True, stderrToServer=True, suspend=False)
        self.assertEqual([record.getMessage()[:44] for record in logs.records], [
            "Connected to debug server at ide:8071",
            "Could not connect to debug server at ide:807",
            "No '--pycharm-port' was specified. The '--py"])
