"""A command that does what a test tells it to."""
import os
import signal
import sys
import time
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

DIR = Path(os.environ["TEST_DIR"])


class Command(BaseCommand):
    def add_arguments(self, parser):
        parser.add_argument("what")
        parser.add_argument("words", nargs="*")

    def handle(self, what, words, **options):
        note(f"{what} {words}")
        getattr(self, what)(*words)

    def say(self, *words):
        self.stdout.write("|".join(words))

    def fail(self, *words):
        raise CommandError("this step fails")

    def leave(self, code):
        sys.exit(int(code))

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def hold(self):
        """Until a file is there; tells whether it could tidy up."""
        note(f"pid {os.getpid()}")
        try:
            while not (DIR / "release").exists():
                time.sleep(0.01)
        finally:
            self.stdout.write("tidied up")


def note(text):
    with open(DIR / "notes", "a") as file:
        file.write(text + "\n")
