"""``python -m hurricane`` is ``hurricane``, with this interpreter for the application."""
import os
import sys

from hurricane import binary

os.environ.setdefault("HURRICANE_PYTHON", sys.executable)
try:
    binary.become(sys.argv[1:], os.environ)
except binary.NotFound as error:
    sys.exit(f"hurricane: {error}")
