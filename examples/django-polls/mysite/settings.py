"""Settings of the polls example: every value that differs between places comes from the environment."""

import os
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent


def flag(name, default):
    """Reads a switch: empty, 0, false, no and off turn it off, anything else turns it on."""
    return os.environ.get(name, default).strip().lower() not in {"", "0", "false", "no", "off"}


# The defaults suit a demo on one's own machine; the README lists what to set anywhere else.
DEBUG = flag("DJANGO_DEBUG", "1")
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY", "django-insecure-a-demo-key-that-everybody-can-read")
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "*").split(",")

# Opens the views of the `lab` app that stall, crash or end the process.
LAB = flag("DJANGO_LAB", "1")

INSTALLED_APPS = [
    "polls",
    "lab",
    "live",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
ASGI_APPLICATION = "mysite.asgi.application"

# In memory, so among the clients of one worker. With several workers it takes a layer that they share, such as Redis.
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("POLLS_DB", BASE_DIR / "db.sqlite3"),
        "OPTIONS": {
            # Several threads write: take the write lock when a transaction begins, so that waiting for it counts
            # against the timeout instead of failing at once when a read is upgraded to a write.
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            # Readers do not wait for a writer.
            "init_command": "PRAGMA journal_mode=WAL;",
        },
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
