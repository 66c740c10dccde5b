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

    def test_what_only_python_can_do_is_left_to_the_server(self):
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
            self.assertIsNone(logs.plan())
            for handler in self.logger.handlers:
                handler.close() if isinstance(handler, logging.FileHandler) else None


if __name__ == "__main__":
    unittest.main()
