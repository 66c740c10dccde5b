"""The loggers whose lines are the server's. They are structlog's where the project has configured that."""
import logging
import sys

structlog = sys.modules.get("structlog")
STRUCTLOG_ENABLED = structlog is not None and structlog.is_configured()
get_logger = structlog.get_logger if STRUCTLOG_ENABLED else logging.getLogger

logger = get_logger("hurricane.server.general")
access_log = get_logger("hurricane.server.access")
app_log = get_logger("hurricane.server.application")
metrics_log = get_logger("hurricane.server.metrics")
