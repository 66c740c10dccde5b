"""Where the value of an option comes from under ``manage.py``: the command line, Django's settings, the environment.

The binary itself prefers its command line to its environment. So settings are put in between by putting them into
the environment that the binary is given.
"""
import ipaddress
import os
import site
import socket
import sys
import sysconfig
from datetime import timedelta

PREFIX = "HURRICANE_"

# Options that django-hurricane reads from settings of the same name without a prefix. Newer options are not among
# them, as a project may have a setting such as LOG_LEVEL for something else, and neither is Django's own DEBUG.
BARE = {
    "AUTORELOAD", "CHECK_MIGRATIONS", "CHECK_MIGRATIONS_APPLY", "COMMAND", "DEBUGGER", "DEBUGGER_PORT",
    "LIVENESS_PROBE", "MAX_BODY_SIZE", "MAX_BUFFER_SIZE", "MAX_LIFETIME", "MAX_MEMORY", "MEDIA", "METRICS",
    "NO_METRICS", "NO_PROBE", "PORT", "PROBE_PORT", "PYCHARM_HOST", "PYCHARM_PORT", "READINESS_PROBE",
    "REQ_QUEUE_LEN", "STARTUP_PROBE", "STATIC", "STATIC_WATCH", "WEBHOOK_URL", "WORKERS",
}

# What --interface names besides, in django-hurricane's documents, the host of the probes.
PROTOCOLS = ("auto", "wsgi", "asgi", "hybrid")

# What switches a flag on.
TRUE = ("true", "1", "yes", "on")

# The names of options that mean something else under `manage.py`: there `--workers` are threads.
RENAMED = {"workers": "threads", "processes": "workers"}


class Wrong(Exception):
    """A value that cannot be an option's."""


def name_of(option):
    """``--req-queue-len`` → ``REQ_QUEUE_LEN``"""
    return option.lstrip("-").replace("-", "_").upper()


def table(options):
    """The options of ``manage.py`` out of those of the binary."""
    table = []
    for option in options:
        if option["name"] == "workers":
            table.append(dict(option, name="processes", help="How many Python processes"))
            table.append(dict(option, help="How many threads in each process, as --threads"))
        else:
            table.append(option)
    if not any(option["name"] == "interface" for option in table):
        table.append({"name": "interface", "value": "HOST", "repeated": False, "group": "Probes and metrics",
                      "help": "The host of the probes, as --probe-host"})
    return table


def resolve(options, given, settings, environment):
    """``(arguments, environment)`` for the binary.

    ``options`` are those of ``manage.py``, ``given`` is what the command line says of them by name (``None``: nothing),
    ``settings`` are Django's.
    """
    environment = without_empty(environment)
    known = {option["name"]: option for option in options}
    values = values_of(known, given, settings, environment)
    interface(values)
    if "workers" in values and "threads" in values:
        # The one that was said with more weight; both on one level contradict each other.
        order = ("command line", "settings", "environment")
        ranks = [order.index(values[name][0].split(":")[0]) for name in ("workers", "threads")]
        if ranks[0] == ranks[1]:
            raise Wrong("--workers is --threads here, and both are given: --processes is how many processes there are")
        values.pop("threads" if ranks[0] < ranks[1] else "workers")
    arguments = assign(known, values, environment, settings, RENAMED)
    if "threads" not in arguments and PREFIX + "THREADS" not in environment:
        environment[PREFIX + "THREADS"] = str(default_threads())
    if "host" not in arguments and PREFIX + "HOST" not in environment and socket.has_dualstack_ipv6():
        environment[PREFIX + "HOST"] = "::"
    return command_line(arguments), environment


def resolve_consume(options, given, settings, environment):
    """The same for ``manage.py consume``."""
    environment = without_empty(environment)
    known = {option["name"]: option for option in options}
    values = values_of(known, given, settings, environment)
    if values.pop("reconnect", ("", "false"))[1] not in TRUE and "max-reconnects" not in values:
        # As django-hurricane has it: without that, the end of the connection is the end.
        values["max-reconnects"] = ("settings", "0")
    interface(values)
    arguments = assign(known, values, environment, settings, {})
    password = getattr(settings, "AMQP_PASSWORD", None)
    if password is not None:
        environment["AMQP_PASSWORD"] = str(password)
    return command_line(arguments), environment


def without_empty(environment):
    """Variables that are empty are none."""
    return {name: value for name, value in environment.items()
            if not name.startswith((PREFIX, "AMQP_")) or value != ""}


def values_of(known, given, settings, environment):
    """``{name: (source, value)}`` of the options that have one, which are taken out of the environment."""
    values = {}
    for name, option in known.items():
        source, value = first(name, given, settings, environment)
        if value is not None:
            values[name] = (source, as_text(value, option, source))
            environment.pop(variable_of(name), None)
    return values


def assign(known, values, environment, settings, renamed):
    """Puts values into the environment, but for those of the command line, which are returned."""
    arguments = {}
    for name, (source, value) in values.items():
        option = known.get(name)
        name = renamed.get(name, name)
        if source == "command line":
            arguments[name] = (option, value)
        else:
            environment[variable_of(name)] = value if isinstance(value, str) else "\n".join(value)
    if getattr(settings, "HURRICANE_VERSION", None) is not None:
        # No option: the version of the project, which webhooks tell.
        environment["HURRICANE_VERSION"] = str(settings.HURRICANE_VERSION)
    secret = getattr(settings, "HURRICANE_WEBHOOK_SECRET", None)
    if secret:
        # Nor is this, so that it is on no command line. There may be an old one beside the new one.
        environment["HURRICANE_WEBHOOK_SECRET"] = secret if isinstance(secret, str) else " ".join(secret)
    environment.setdefault(PREFIX + "PYTHON", sys.executable)
    environment["PYTHONPATH"] = python_path(environment.get("PYTHONPATH"))
    return arguments


def variable_of(name):
    """The variable of an option: those of the broker have no prefix."""
    upper = name_of(name)
    return upper if upper.startswith("AMQP_") else PREFIX + upper


def first(name, given, settings, environment):
    """Where a value comes from, and the value."""
    if given.get(name.replace("-", "_")) is not None:
        return "command line", given[name.replace("-", "_")]
    setting = name_of(name)
    names = [variable_of(name), *([setting] if setting in BARE else [])]
    for candidate in names:
        value = getattr(settings, candidate, None)
        # An address of a broker that is empty is none.
        if value is not None and not (value == "" and candidate.startswith("AMQP_")):
            return f"settings: {candidate}", value
    return "environment", environment.get(variable_of(name))


def as_text(value, option, source):
    """A value as the binary reads it: text, or a list of texts of an option that may be repeated."""
    if option["repeated"]:
        if isinstance(value, str):
            return [line for line in value.splitlines() if line.strip()]
        if isinstance(value, (list, tuple)):
            return [" ".join(map(str, item)) if isinstance(item, (list, tuple)) else str(item) for item in value]
    elif isinstance(value, bool) and option["value"] is None:
        return "true" if value else "false"
    elif isinstance(value, timedelta):
        return f"{value.total_seconds()}s"
    elif isinstance(value, (str, int, float, os.PathLike)):
        return str(value)
    raise Wrong(f"{source.rpartition(' ')[2]} cannot be {value!r}")


def interface(values):
    """``--interface`` names a protocol; any other value is the host of the probes."""
    if "interface" in values and values["interface"][1] not in PROTOCOLS:
        values.setdefault("probe-host", values["interface"])
        del values["interface"]
    for name in ("host", "probe-host"):
        if name in values:
            values[name] = (values[name][0], address(values[name][1]))


def address(host):
    """The address of a host that may have a name."""
    try:
        return str(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Wrong(f"the host {host!r} has no address: {error}") from None
    # Of a name with both, such as localhost, IPv4 is what is expected.
    return sorted(found, key=lambda one: one[0] != socket.AF_INET)[0][4][0]


def default_threads():
    """As many threads as django-hurricane has."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(32, processors + 4)


def python_path(existing):
    """What ``manage.py`` has added to Python's path, for the workers, which do not run it."""
    usual = {*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()}
    version = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
    parts = existing.split(os.pathsep) if existing else []
    for path in reversed(sys.path):
        library = path in usual or path.endswith((version, "lib-dynload"))
        if not library and os.path.abspath(path) not in parts:
            parts.insert(0, os.path.abspath(path))
    return os.pathsep.join(parts)


def command_line(arguments):
    """Options by name as words."""
    words = []
    for name, (option, value) in arguments.items():
        if isinstance(value, list):
            words.extend(f"--{name}={item}" for item in value)
        elif option is not None and option["value"] is None:
            words.extend([f"--{name}"] if value == "true" else [])
        else:
            words.append(f"--{name}={value}")
    return words
