"""Gathers what the application has counted in this worker, for the server to put together with what others have."""
import asyncio
import json
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
        names = {family["name"] for family in families}
        families += [family for family in registered(client.REGISTRY) if family["name"] not in names]
    return json.dumps(families)


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
            families.append({"name": name, "help": "", "type": "gauge", "mode": mode,
                             "samples": [[name, {}, repr(float(value))]]})
    return families


def registered(registry):
    """What is in a registry of ``prometheus_client``."""
    collectors = getattr(registry, "_names_to_collectors", {})
    families = []
    for family in registry.collect():
        mode = getattr(collectors.get(family.name), "_multiprocess_mode", "all")
        samples = [[sample.name, sample.labels, repr(float(sample.value))] for sample in family.samples]
        families.append({"name": family.name, "help": family.documentation, "type": family.type, "mode": mode,
                         "samples": samples})
    return families
