"""What the tests and an application tell each other: lines in a file, and files that appear."""
import os
import time
from pathlib import Path

DIR = Path(os.environ["TEST_DIR"])


def note(text):
    """Appends a line. One write with O_APPEND, so that lines of several processes stay whole."""
    descriptor = os.open(DIR / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, f"{text}\n".encode())
    finally:
        os.close(descriptor)


def wait_for(name, seconds=120):
    """Waits until the test has made a file of this name; false when it does not in time."""
    end = time.monotonic() + seconds
    while not (DIR / name).exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True
