"""Finds and loads the application."""
import ast
import importlib
import os
import sys
import traceback


class LoadError(Exception):
    """The application cannot be loaded. ``reason`` is one of the words that the server has an exit code for."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


def load(app):
    """The WSGI application that ``app`` names (``module:attribute``), or the Django project's when it is ``None``."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    return load_named(app) if app else load_django()


def load_named(app):
    module, _, attribute = app.partition(":")
    attribute = attribute or "application"
    found = importing(module)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise LoadError("application", f"module {module!r} has no attribute {attribute!r}") from None
    if not callable(found):
        raise LoadError("application", f"{app!r} is not callable: {type(found).__name__}")
    return found


def importing(module):
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module or module.startswith(f"{error.name}."):
            raise LoadError("application", f"there is no module {error.name!r} in {os.getcwd()} "
                                           f"or among the packages of {sys.executable}") from None
        show()
        raise LoadError(missing(error), f"module {module!r} does not import") from None
    except BaseException:
        show()
        raise LoadError("application", f"module {module!r} does not import") from None


def missing(error):
    return "django" if error.name == "django" else "application"


def load_django():
    settings_module = os.environ.get("DJANGO_SETTINGS_MODULE") or settings_module_of_manage_py("manage.py")
    if not settings_module:
        raise LoadError("application", "no application was named and none was found: give --app module:attribute, set "
                                       "DJANGO_SETTINGS_MODULE, or start in the folder of manage.py "
                                       f"(this is {os.getcwd()})")
    os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
    try:
        import django
    except ModuleNotFoundError:
        raise LoadError("django", f"Django is not installed for {sys.executable}") from None
    try:
        django.setup()
        from django.conf import settings
        from django.core.servers.basehttp import get_internal_wsgi_application

        if getattr(settings, "WSGI_APPLICATION", None):
            return get_internal_wsgi_application()
        from django.core.wsgi import get_wsgi_application

        return get_wsgi_application()
    except BaseException:
        show()
        raise LoadError("application",
                        f"the Django project with the settings {settings_module!r} does not load") from None


def settings_module_of_manage_py(path):
    """What ``manage.py`` sets as default of DJANGO_SETTINGS_MODULE, without running it."""
    try:
        with open(path, encoding="utf-8") as file:
            tree = ast.parse(file.read(), path)
    except (OSError, SyntaxError, ValueError):
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setdefault":
            values = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
            if len(values) == 2 and values[0] == "DJANGO_SETTINGS_MODULE":
                return values[1]
    return None


def show():
    """Shows the traceback of the exception being handled, from the application's own first line on."""
    kind, error, trace = sys.exc_info()
    while trace is not None and is_ours(trace):
        trace = trace.tb_next
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()


def is_ours(trace):
    name = trace.tb_frame.f_code.co_filename
    return name.startswith(("<hurricane>", "<frozen importlib", "<string>")) or name.endswith("importlib/__init__.py")
