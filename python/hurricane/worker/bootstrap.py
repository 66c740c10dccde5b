"""Starts a worker: given to ``python -c`` by the server, with the control channel's descriptor and a module to run.

The first frame on that channel holds the sources of the package ``hurricane``, so that the server runs
the Python code that it was built with, whatever is installed, and needs no file to be written for it. What the
server does not carry, such as the management commands, is found where the package is installed, if it is.
"""
import importlib
import marshal
import os
import socket
import sys
from importlib.machinery import ModuleSpec, PathFinder


class Sources:
    """Imports the modules of the package from memory."""

    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, name, path=None, target=None):
        if name not in self.sources:
            return None
        spec = ModuleSpec(name, self, origin="<hurricane>/" + name, is_package=self.sources[name][0])
        if spec.submodule_search_locations is not None:
            # Django wants an application's package to have a place, even if there is nothing in it.
            spec.submodule_search_locations.append(installed(name) or spec.origin)
        return spec

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        name = module.__spec__.name
        exec(compile(self.get_source(name), module.__spec__.origin, "exec"), module.__dict__)

    def get_source(self, name):
        """For tracebacks: linecache asks the loader."""
        return self.sources[name][1]


def installed(name):
    """The folder of a package as it is installed; ``None`` where it is not."""
    parent, _, _ = name.rpartition(".")
    spec = PathFinder.find_spec(name, sys.modules[parent].__path__ if parent else None)
    return os.path.dirname(spec.origin) if spec and spec.origin else None


def first_frame(control):
    head = control.recv(5, socket.MSG_WAITALL)
    return marshal.loads(control.recv(int.from_bytes(head[:4], "little"), socket.MSG_WAITALL))


control = socket.socket(fileno=int(sys.argv[1]))
module = sys.argv[2]
sys.meta_path.insert(0, Sources(first_frame(control)))
sys.argv[:] = ["hurricane"]
sys.exit(importlib.import_module(module).run(control))
