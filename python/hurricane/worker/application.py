"""Finds and loads the application."""
import ast
import functools
import importlib.util
import inspect
import os
import sys
import traceback


class LoadError(Exception):
    """The application cannot be loaded. ``reason`` is one of the words that the server has an exit code for."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason = reason


def load(app, interface):
    """The application that ``app`` names (``module:attribute``), or the Django project's when it is ``None``; and
    how it is to be called: as ``interface`` says, and as what it looks like when that is ``auto``."""
    find()
    if not app:
        return load_django(interface)
    found = load_named(app)
    return found, interface if interface != "auto" else "asgi" if is_asgi(found) else "wsgi"


def load_both(app, asgi_app):
    """A project's applications as WSGI and as ASGI; each is the Django project's where it is not named."""
    find()
    wsgi = load_named(app) if app else None
    if wsgi is not None and is_asgi(wsgi):
        raise LoadError("application", f"{app!r} is called as ASGI: with --interface hybrid it is --asgi-app, and "
                                       "--app the same application as WSGI")
    asgi = load_named(asgi_app) if asgi_app else None
    # Of a project that is named by its module the settings are known now.
    if wsgi is None:
        wsgi, _ = load_django("wsgi", "no application was named for WSGI", "--app")
    if asgi is None:
        asgi, _ = load_django("asgi", "no application was named for ASGI", "--asgi-app")
    return wsgi, asgi


def find():
    """Lets modules of the working directory be found."""
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())


def is_asgi(app):
    """Whether it is called with ``(scope, receive, send)``, as a coroutine function or what returns a coroutine."""
    while isinstance(app, functools.partial):
        app = app.func
    call = app if inspect.isroutine(app) or inspect.isclass(app) else type(app).__call__
    if inspect.iscoroutinefunction(call):
        return True
    try:
        # Bound to an object first, so that `self` does not count.
        parameters = inspect.signature(app).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len([p for p in positional if p.default is p.empty]) == 3


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


def load_django(interface, *lacking):
    settings_module = set_up_django(*lacking)
    try:
        from django.conf import settings

        named = {kind: getattr(settings, f"{kind.upper()}_APPLICATION", None) for kind in ("wsgi", "asgi")}
        if interface == "auto":
            interface = "asgi" if named["asgi"] and not named["wsgi"] else "wsgi"
        return django_application(interface, named[interface] or beside(settings, interface)), interface
    except BaseException:
        show()
        raise does_not_load(settings_module) from None


def set_up_django(lacking="no application was named", option="--app"):
    """Finds the project's settings and sets Django up; the name of the settings. ``lacking`` is said where there is no
    project, and that ``option`` would be a way out."""
    settings_module = os.environ.get("DJANGO_SETTINGS_MODULE") or settings_module_of_manage_py("manage.py")
    if not settings_module:
        raise LoadError("application", f"{lacking} and none was found: give {option} module:attribute, set "
                                       "DJANGO_SETTINGS_MODULE, or start in the folder of manage.py "
                                       f"(this is {os.getcwd()})")
    os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
    try:
        import django
    except ModuleNotFoundError:
        raise LoadError("django", f"Django is not installed for {sys.executable}") from None
    try:
        django.setup()
    except BaseException:
        show()
        raise does_not_load(settings_module) from None
    return settings_module


def does_not_load(settings_module):
    return LoadError("application", f"the Django project with the settings {settings_module!r} does not load")


def beside(settings, interface):
    """The name of the application in ``asgi.py`` beside the project's URLs, where ``startproject`` puts it without a
    setting that would name it; ``None`` where there is none."""
    package, _, _ = (getattr(settings, "ROOT_URLCONF", None) or "").rpartition(".")
    module = f"{package}.asgi"
    if interface != "asgi" or not package or importlib.util.find_spec(module) is None:
        return None
    return f"{module}.application" if hasattr(importlib.import_module(module), "application") else None


def django_application(interface, name):
    """The application of that name, else Django's own."""
    if name:
        from django.utils.module_loading import import_string

        return import_string(name)
    if interface == "asgi":
        from django.core.asgi import get_asgi_application

        return get_asgi_application()
    from django.core.wsgi import get_wsgi_application

    return get_wsgi_application()


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
