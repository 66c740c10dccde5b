"""The loggers whose lines are the server's. With structlog they are its loggers, as they are in django-hurricane."""
import logging

try:
    import structlog
except ImportError:
    STRUCTLOG_ENABLED = False
    get_logger = logging.getLogger
else:
    STRUCTLOG_ENABLED = True
    get_logger = structlog.get_logger

logger = get_logger("hurricane.server.general")
access_log = get_logger("hurricane.server.access")
app_log = get_logger("hurricane.server.application")
metrics_log = get_logger("hurricane.server.metrics")
