"""What the project's LOGGING makes of the lines of the server, told so that the server does the same without Python.

Handlers that write to a standard stream are taken over: their levels and formats. Where LOGGING has something else for
a logger, all that it logs goes to a Python process that has the project's LOGGING, see ``hurricane.worker.logs``. Where
LOGGING has nothing for the loggers of the server, the server logs as it does by itself.
"""
import logging
import re
import string
import sys
import time

SERVER = {"general": "hurricane.server.general", "access": "hurricane.server.access"}
# It has no access log.
CONSUMER = {"general": "hurricane.amqp.general", "access": "hurricane.amqp.general"}

# What the server knows of a record.
FIELDS = {"asctime", "created", "levelname", "levelno", "message", "module", "msecs", "name", "process", "processName",
          "thread", "threadName"}

PERCENT = re.compile(r"%(?:%|\((?P<field>\w+)\)(?P<flags>[-0]?)(?P<width>\d*)(?:\.(?P<precision>\d+))?[sdf])")
BRACES = re.compile(r"(?P<flags>[<>]?0?)(?P<width>\d*)(?:\.(?P<precision>\d+))?[sdf]?")


class Other(Exception):
    """LOGGING asks for something that only Python's logging can do."""


def plan(loggers=SERVER):
    """What to do with the lines of each logger; ``None`` where the server is to log as it does by itself."""
    plan = {which: logger_plan(logging.getLogger(name)) for which, name in loggers.items()}
    return plan if any(logger["handlers"] or logger["python"] for logger in plan.values()) else None


def logger_plan(logger):
    if has_structlog():
        # What it drops by its level is its own affair.
        return {"name": logger.name, "level": logging.DEBUG, "handlers": [], "python": True, "structlog": True}
    level = logging.CRITICAL + 1 if logger.disabled else logger.getEffectiveLevel()
    found = list(handlers_of(logger))
    try:
        if logger.filters:
            raise Other
        handlers, python = [handler_plan(handler) for handler in found], False
    except Other:
        handlers, python = [], bool(found)
    return {"name": logger.name, "level": level, "handlers": handlers, "python": python, "structlog": False}


def handlers_of(logger):
    """The handlers that a logger's records come to, its own and those of the loggers above."""
    while logger is not None:
        for handler in logger.handlers:
            if not isinstance(handler, logging.NullHandler):
                yield handler
        logger = logger.parent if logger.propagate else None


def has_structlog():
    structlog = sys.modules.get("structlog")
    return structlog is not None and structlog.is_configured()


def handler_plan(handler):
    if type(handler) is not logging.StreamHandler or handler.filters or handler.terminator != "\n":
        raise Other
    streams = {id(sys.stdout): "stdout", id(sys.__stdout__): "stdout",
               id(sys.stderr): "stderr", id(sys.__stderr__): "stderr"}
    stream = streams.get(id(handler.stream))
    formatter = handler.formatter or logging.Formatter("%(message)s")
    if stream is None or type(formatter) is not logging.Formatter:
        raise Other
    return {"stream": stream, "level": handler.level, "date": formatter.datefmt,
            "utc": formatter.converter is time.gmtime, "segments": segments(formatter._style)}


def segments(style):
    """A format as its parts: texts, and fields with how they are written."""
    if type(style) is logging.PercentStyle:
        return percent_segments(style._fmt)
    if type(style) is logging.StrFormatStyle:
        return brace_segments(style._fmt)
    raise Other


def percent_segments(text):
    found, end = [], 0
    for match in PERCENT.finditer(text):
        found.append({"text": text[end:match.start()] + ("%" if match[0] == "%%" else "")})
        end = match.end()
        if match["field"]:
            found.append(field(match["field"], match["flags"] == "-", match))
    rest = text[end:]
    if "%" in rest or any("%" in part.get("text", "").replace("%", "", 1) for part in found):
        raise Other
    return [part for part in [*found, {"text": rest}] if part.get("text") != ""]


def brace_segments(text):
    found = []
    for literal, name, spec, conversion in string.Formatter().parse(text):
        if literal:
            found.append({"text": literal})
        if name is None:
            continue
        match = BRACES.fullmatch(spec or "")
        if conversion or not match:
            raise Other
        # Texts stand on the left, numbers on the right, unless it is said.
        numeric = name in ("created", "levelno", "msecs", "process", "thread")
        left = "<" in match["flags"] or (not numeric and ">" not in match["flags"])
        found.append(field(name, left, match))
    return found


def field(name, left, match):
    if name not in FIELDS:
        raise Other
    return {"field": name, "left": left, "zero": "0" in match["flags"], "width": int(match["width"] or 0),
            "precision": int(match["precision"]) if match["precision"] else None}
