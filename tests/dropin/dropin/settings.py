"""As little as a project needs. What a test wants beside it, it gives as Python in TEST_SETTINGS."""
import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "not-a-secret"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["hurricane"]
ROOT_URLCONF = "dropin.urls"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3",
                         "NAME": Path(os.environ.get("TEST_DIR", "/tmp")) / "db.sqlite3"}}
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

exec(os.environ.get("TEST_SETTINGS", ""))
