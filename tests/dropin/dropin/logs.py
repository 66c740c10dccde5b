"""What a project's LOGGING may name."""
import logging
import threading


class Redacts(logging.Filter):
    def filter(self, record):
        record.msg = record.msg.replace("secret", "…")
        return True


class Hangs(logging.Handler):
    def emit(self, record):
        threading.Event().wait()
