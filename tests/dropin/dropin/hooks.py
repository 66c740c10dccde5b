"""A webhook in place of one of hurricane's, which notes what it is told."""
import os
from pathlib import Path

from hurricane.webhooks import LivenessWebhook, webhook_registry


class Notes(LivenessWebhook):
    def run(self, url, status, error_trace=None, close_loop=False, loop=None):
        with open(Path(os.environ["TEST_DIR"]) / "notes", "a") as file:
            file.write(f"{self.code} {status.value} {url}\n")


webhook_registry.unregister(LivenessWebhook)
webhook_registry.register(Notes)
