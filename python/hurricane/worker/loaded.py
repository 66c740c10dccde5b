"""Tells the server which files the application was loaded from, for it to watch them under ``--autoreload``."""
import os
import sys
import sysconfig
import threading
import time
from importlib.machinery import SourceFileLoader

from . import checks

# How often it is looked whether more has been imported (seconds).
PAUSE = 1.0

# Cached code is told from newer source by the second of its last change and its length. Source that was changed so
# short a time ago is not cached, as it may be changed again within that second.
FRESH = 2.0

STANDARD_LIBRARY = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")})
PACKAGES = tuple(os.sep + name + os.sep for name in ("site-packages", "dist-packages"))


class Loaded:
    """What the server has been told. ``tell`` is given what is new: files, and folders of templates."""

    def __init__(self, tell):
        self.tell = tell
        self.known = set()
        self.count = 0

    def start(self):
        threading.Thread(target=self.run, name="hurricane-loaded", daemon=True).start()

    def run(self):
        while True:
            self.look()
            time.sleep(PAUSE)

    def look(self, error=None):
        """Tells what is new; of an application that does not load, what ``error`` has to do with as well."""
        if len(sys.modules) == self.count and error is None:
            return
        self.count = len(sys.modules)
        files = {path for path in modules() | involved(error) if is_watched(path)}
        folders = template_folders()
        files -= self.known
        folders -= self.known
        if files or folders:
            self.known |= files | folders
            self.tell([os.fsencode(path) for path in files], [os.fsencode(path) for path in folders])


def modules():
    """The files of all modules. Asked of their dictionaries, since attributes of some modules import others."""
    found = (getattr(module, "__dict__", {}).get("__file__") for module in list(sys.modules.values()))
    return {os.path.abspath(path) for path in found if isinstance(path, str)}


def involved(error):
    """The files that an exception comes from: a module that fails is not among the modules."""
    files = set()
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, SyntaxError) and error.filename:
            files.add(error.filename)
        trace = error.__traceback__
        while trace is not None:
            files.add(trace.tb_frame.f_code.co_filename)
            trace = trace.tb_next
        error = error.__cause__ or error.__context__
    return {os.path.abspath(path) for path in files if os.path.isfile(path)}


def is_watched(path):
    """Whether somebody may change it: Python itself nobody does."""
    return not path.startswith(STANDARD_LIBRARY) or any(name in path for name in PACKAGES)


def template_folders():
    """The folders in which Django's engines look for templates, without those of packages that are installed."""
    if not checks.has_django():
        return set()
    from django.template import engines

    folders = set()
    try:
        for engine in engines.all():
            folders.update(map(os.fspath, engine.template_dirs))
            for loader in getattr(getattr(engine, "engine", None), "template_loaders", ()):
                folders.update(map(os.fspath, loader.get_dirs() if hasattr(loader, "get_dirs") else ()))
    except Exception:
        return set()    # the setting is wrong, which shows where a template is asked for
    folders = {os.path.abspath(folder) for folder in folders}
    return {folder for folder in folders if not any(name in folder + os.sep for name in PACKAGES)}


def cache_no_fresh_code():
    """Has Python keep no compiled code of source that was changed just now."""
    write = SourceFileLoader.set_data

    def set_data(self, path, data, **options):
        # The second four bytes say that it is told by its time, which is in the next four.
        by_time = path.endswith(".pyc") and data[4:8] == bytes(4)
        if not by_time or time.time() - int.from_bytes(data[8:12], "little") > FRESH:
            write(self, path, data, **options)

    SourceFileLoader.set_data = set_data
