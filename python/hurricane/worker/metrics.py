"""Gathers what the application has counted in this worker, for the server to put together with what others have."""
import asyncio
import gc
import json
import platform
import sys
import traceback


def collect():
    """The families as JSON, each ``{name, help, type, mode, samples: [[name, {label: value}, number as text]]}``."""
    families = []
    codes = sys.modules.get("hurricane.metrics")
    if codes is not None:
        families += own(codes.registry)
    client = sys.modules.get("prometheus_client")
    if client is not None:
        families = added(families, registered(client.REGISTRY))
    return json.dumps(added(families, interpreter()))


def added(families, others):
    """Families, and those of others whose names are not taken."""
    names = {one["name"] for one in families}
    return families + [other for other in others if other["name"] not in names]


def interpreter():
    """What ``prometheus_client`` tells of the interpreter, where it is imported."""
    generations = list(enumerate(gc.get_stats()))
    families = []
    for key, name, text in (("collected", "objects_collected", "Objects that the garbage collector freed."),
                            ("uncollectable", "objects_uncollectable", "Objects that it could not free."),
                            ("collections", "collections", "How often it went through a generation.")):
        name = f"python_gc_{name}"
        samples = [[f"{name}_total", {"generation": str(number)}, repr(float(counted[key]))]
                   for number, counted in generations]
        families.append(family(name, text, "counter", samples))
    major, minor, patchlevel = platform.python_version_tuple()
    labels = {"implementation": platform.python_implementation(), "major": major, "minor": minor,
              "patchlevel": patchlevel, "version": platform.python_version()}
    families.append(family("python_info", "The interpreter.", "gauge", [["python_info", labels, "1.0"]], "mostrecent"))
    return families


def family(name, text, kind, samples, mode="all"):
    return {"name": name, "help": text, "type": kind, "mode": mode, "samples": samples}


def own(registry):
    """The metrics of hurricane's classes; those that have a ``prometheus`` are in the client's registry."""
    from hurricane.metrics import requests

    families = []
    for code, metric in list(registry.metrics.items()):
        if type(metric).__module__ == requests.__name__:
            continue
        try:
            value = metric.get() if hasattr(metric, "get") else None
            if asyncio.iscoroutine(value):
                value = asyncio.run(value)
        except Exception:
            traceback.print_exc()
            continue
        prometheus = getattr(metric, "prometheus", None)
        if prometheus is not None:
            if not hasattr(type(metric), "set") and value is not None and hasattr(prometheus, "set"):
                prometheus.set(value)
        elif isinstance(value, (int, float)):
            # What every worker calculates for itself is the same thing; what they count adds up.
            mode = "sum" if hasattr(type(metric), "increment") else "mostrecent"
            name = "".join(c if c.isascii() and (c.isalnum() or c in "_:") else "_" for c in code)
            families.append(family(name, "", "gauge", [[name, {}, repr(float(value))]], mode))
    return families


def registered(registry):
    """What is in a registry of ``prometheus_client``."""
    collectors = getattr(registry, "_names_to_collectors", {})
    families = []
    for found in registry.collect():
        mode = getattr(collectors.get(found.name), "_multiprocess_mode", "all")
        samples = [[sample.name, sample.labels, repr(float(sample.value))] for sample in found.samples]
        # What is the same in all workers is told once.
        mode = "mostrecent" if found.name == "python_info" else mode
        families.append(family(found.name, found.documentation, found.type, samples, mode))
    return families
