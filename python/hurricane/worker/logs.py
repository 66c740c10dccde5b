"""The process that logs for the server where a project's LOGGING asks for what only Python has: handlers that write to
files, to syslog, to a service; filters; formatters of its own; structlog."""
import logging
import os
import re
import signal
import sys
import traceback

from . import application, frame

# An access line: `200 GET /path?query (127.0.0.1) 1.23ms`, and for structlog where the request belongs.
ACCESS = re.compile(r"(?P<status>\d+) (?P<method>\S+) (?P<path>\S+) \((?P<remote_ip>\S+)\) (?P<request_time>[\d.]+)ms"
                    r"(?: id=(?P<id>\S+) traceparent=(?P<traceparent>\S+))?")


def run(control):
    """Logs what comes over the control channel, until it is closed; the exit status of the process."""
    # It ends after the server, with the last line.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.set_inheritable(control.fileno(), False)
    channel = frame.Channel(control)
    try:
        application.find()
        application.set_up_django()
    except application.LoadError as error:
        sys.stderr.write(f"the server's log is lost: {error}\n")
        return 1
    write = write_structlog if structlog_is_configured() else write_record
    while True:
        try:
            message = channel.receive()
        except ConnectionResetError:
            break
        if message is None:
            break
        try:
            write(*message[1])
        except Exception:
            traceback.print_exc()    # one line that cannot be logged is not the end of all
    logging.shutdown()
    return 0


def write_record(name, level, created, text):
    """Has a logger handle a record, as if the server had logged it here."""
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    created = float(created)
    record = logging.makeLogRecord({
        "name": name, "levelno": level, "levelname": logging.getLevelName(level), "msg": text, "created": created,
        "msecs": created % 1 * 1000, "process": os.getppid(), "processName": "MainProcess", "threadName": "MainThread",
        "lineno": 0, "pathname": "hurricane", "filename": "hurricane", "module": "hurricane",
    })
    logger.handle(record)


def structlog_is_configured():
    structlog = sys.modules.get("structlog")
    return structlog is not None and structlog.is_configured()


def write_structlog(name, level, created, text):
    """Has structlog log it: access lines with their parts as fields, in the shape of django-hurricane."""
    import structlog

    logger = structlog.get_logger(name)
    access = ACCESS.fullmatch(text) if name.endswith(".access") else None
    if access is None:
        return logger.log(level, text)
    event = "TX {method} {path} {request_time}ms".format(**access.groupdict())
    logger.log(level, event, hurricane=True, protocol="http", method=access["method"], path=access["path"],
               status=int(access["status"]), request_time=float(access["request_time"]),
               remote_ip=access["remote_ip"], id=access["id"] or "n/a", traceparent=access["traceparent"] or "n/a")
