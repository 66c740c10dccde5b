"""Static and media files of a Django project: the server serves them, and is told here where they are. Under DEBUG
Django's finders serve the static ones."""
import os
from urllib.parse import urlsplit

from . import checks
from .application import LoadError


def prepare(application, interface, config):
    """The application, with the finders before it where they serve; and what the server is to know.

    That is ``None`` without a Django project, else ``(script name, static, media)``: ``static`` is ``(URL, folder,
    whether the finders serve)`` and ``media`` ``(URL, folder)``, each ``None`` where it was not asked for. A URL that
    is not set is ``None``, a folder that is not set is empty.
    """
    if not (config.static_files or config.media_files) or not checks.has_django():
        return application, None
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.urls import get_script_prefix, set_script_prefix

    script = settings.FORCE_SCRIPT_NAME
    script = (config.root_path if script is None else script).rstrip("/")
    # Django puts the script's name before a URL such as `static/`, and keeps what it has read first: let that be what
    # it is in a request.
    before = get_script_prefix()
    set_script_prefix(script + "/")
    static = media = None
    try:
        if config.static_files:
            application, found = finders(application, interface, script)
            static = text(settings.STATIC_URL), text(settings.STATIC_ROOT) or "", found
        if config.media_files:
            media = text(settings.MEDIA_URL), text(settings.MEDIA_ROOT) or ""
    except ImproperlyConfigured as error:
        raise LoadError("application", f"--static: {error}") from None
    finally:
        set_script_prefix(before)
    return application, (script, static, media)


def text(value):
    """A setting as text; it may be a path or lazy."""
    return None if value is None else str(os.fspath(value) if isinstance(value, os.PathLike) else value)


def finders(application, interface, script):
    """The application and whether Django's finders are before it, which is so under DEBUG."""
    from django.apps import apps
    from django.conf import settings

    if not settings.DEBUG or not apps.is_installed("django.contrib.staticfiles"):
        return application, False
    from django.contrib.staticfiles.utils import check_settings

    check_settings()
    url = text(settings.STATIC_URL)
    if urlsplit(url).netloc:
        return application, False    # another host serves them
    prefix = "/" + url[len(script):].lstrip("/") if url.startswith(script + "/") else url
    return handler(interface)(application, prefix, script), True


def handler(interface):
    """The class of Django's handler, made to go by the path within the application: its own takes the script's name
    for a part of the URL of the static files, and so finds none below a root path."""
    from urllib.request import url2pathname

    from django.contrib.staticfiles import handlers
    from django.contrib.staticfiles.views import serve

    base = handlers.ASGIStaticFilesHandler if interface == "asgi" else handlers.StaticFilesHandler

    class Finders(base):
        def __init__(self, application, prefix, script):
            self.prefix = prefix
            self.script = script
            super().__init__(application)

        def get_base_url(self):
            return self.prefix

        def _should_handle(self, path):
            # Of ASGI this is the whole path.
            if self.script and path.startswith(self.script + "/"):
                path = path[len(self.script):]
            return path.startswith(self.prefix)

        def serve(self, request):
            return serve(request, url2pathname(request.path_info[len(self.prefix):]), insecure=True)

    return Finders
