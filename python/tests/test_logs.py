import io
import logging
import sys
import unittest

from hurricane import logs


class Plans(unittest.TestCase):
    def setUp(self):
        self.logger = logging.getLogger("hurricane")
        self.addCleanup(self.logger.handlers.clear)
        self.addCleanup(self.logger.setLevel, self.logger.level)
        self.addCleanup(setattr, self.logger, "propagate", True)
        self.logger.propagate = False
        self.logger.setLevel("INFO")

    def handle(self, stream=None, text="%(message)s", style="%", **options):
        handler = logging.StreamHandler(stream or sys.__stdout__)
        handler.setFormatter(logging.Formatter(text, style=style, **options))
        self.logger.addHandler(handler)
        return handler

    def segments(self):
        return logs.plan()["access"]["handlers"][0]["segments"]

    def test_without_handlers_there_is_none(self):
        self.assertIsNone(logs.plan())
        self.logger.addHandler(logging.NullHandler())
        self.assertIsNone(logs.plan())

    def test_streams_and_levels_are_told(self):
        self.handle(sys.__stderr__).setLevel("ERROR")
        plan = logs.plan()
        self.assertEqual((plan["general"]["name"], plan["general"]["level"]), ("hurricane.server.general", 20))
        handler = plan["access"]["handlers"][0]
        self.assertEqual((handler["stream"], handler["level"], handler["date"]), ("stderr", 40, None))

    def test_formats_become_segments(self):
        for style, text in (("%", "%(levelname)-8s|%(name)3.2s 100%% %(message)s."),
                            ("{", "{levelname:<8}|{name:>3.2} 100% {message}.")):
            with self.subTest(style):
                self.logger.handlers.clear()
                self.handle(text=text, style=style, validate=False)
                parts = self.segments()
                fields = [(p["field"], p["left"], p["width"], p["precision"]) for p in parts if "field" in p]
                self.assertEqual(fields[:2], [("levelname", True, 8, None), ("name", False, 3, 2)])
                self.assertEqual(fields[2][0], "message")
                self.assertEqual("".join(p["text"] for p in parts if "text" in p), "| 100% .")

    def test_what_only_python_can_do_is_left_to_python(self):
        def with_filter():
            self.handle().addFilter(lambda record: True)

        def with_formatter():
            class Own(logging.Formatter):
                pass

            self.handle().setFormatter(Own())

        for make in (lambda: self.handle(io.StringIO()), lambda: self.handle(text="%(lineno)d"),
                     lambda: self.handle(text="$message", style="$"), with_filter, with_formatter,
                     lambda: self.logger.addHandler(logging.FileHandler("/dev/null"))):
            self.logger.handlers.clear()
            make()
            plan = logs.plan()["general"]
            self.assertEqual((plan["python"], plan["handlers"], plan["level"]), (True, [], 20))
            for handler in self.logger.handlers:
                handler.close() if isinstance(handler, logging.FileHandler) else None

    def test_each_logger_has_its_own_way(self):
        self.handle()
        access = logging.getLogger("hurricane.server.access")
        handler = logging.FileHandler("/dev/null")
        self.addCleanup(handler.close)
        self.addCleanup(access.handlers.clear)
        access.addHandler(handler)
        plan = logs.plan()
        self.assertEqual([plan[which]["python"] for which in ("general", "access")], [False, True])
        self.assertEqual([len(plan[which]["handlers"]) for which in ("general", "access")], [1, 0])

    def test_a_filter_of_a_logger_alone_is_nothing_to_do(self):
        logger = logging.getLogger("hurricane.server.general")
        logger.addFilter(lambda record: True)
        self.addCleanup(logger.filters.clear)
        self.assertIsNone(logs.plan())

    def test_a_logger_that_is_disabled_says_nothing(self):
        self.handle()
        logger = logging.getLogger("hurricane.server.general")
        logger.disabled = True
        self.addCleanup(setattr, logger, "disabled", False)
        self.assertEqual(logs.plan()["general"]["level"], 51)


class Records(unittest.TestCase):
    def test_a_record_is_that_of_the_server(self):
        from hurricane.worker.logs import write_record

        with self.assertLogs("hurricane.server.general", "INFO") as logged:
            write_record("hurricane.server.general", 30, "1700000000.012000", "all is well, 100%")
            write_record("hurricane.server.general", 10, "1700000000.012000", "below its level")
        record, = logged.records
        self.assertEqual((record.getMessage(), record.levelname, record.created, round(record.msecs)),
                         ("all is well, 100%", "WARNING", 1700000000.012, 12))
        text = logging.Formatter("%(asctime)s %(module)s %(process)d %(threadName)s %(lineno)d").format(record)
        self.assertRegex(text, r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,012 hurricane \d+ MainThread 0$")


if __name__ == "__main__":
    unittest.main()
