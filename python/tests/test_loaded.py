import importlib
import os
import sys
import tempfile
import threading
import types
import unittest
from pathlib import Path

from hurricane.worker import loaded


class Loads(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name).resolve()
        sys.path.insert(0, folder.name)
        self.addCleanup(sys.path.remove, folder.name)
        self.told = []
        self.loaded = loaded.Loaded(lambda files, folders: self.told.append(set(map(os.fsdecode, files))))

    def load(self, name, text):
        (self.folder / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        self.addCleanup(sys.modules.pop, name, None)
        importlib.import_module(name)

    def path(self, name):
        return str(self.folder / f"{name}.py")

    def test_what_is_imported_is_told_once(self):
        self.load("loaded_first", "")
        self.loaded.look()
        self.assertIn(self.path("loaded_first"), self.told[0])
        self.assertFalse([path for path in self.told[0] if path in (threading.__file__, os.__file__)], "Python's own")
        self.loaded.look()
        self.assertEqual(len(self.told), 1)
        self.load("loaded_second", "")
        self.loaded.look()
        self.assertEqual(self.told[1], {self.path("loaded_second")})

    def test_what_fails_to_import_is_told_too(self):
        (self.folder / "loaded_wrong.py").write_text("this is no Python")
        for name, text in [("loaded_raises", "1 / 0"), ("loaded_imports", "import loaded_wrong")]:
            try:
                self.load(name, text)
            except Exception as error:
                self.loaded.look(wrapped(error))
        told = set().union(*self.told)
        for name in ("loaded_raises", "loaded_imports", "loaded_wrong"):
            self.assertIn(self.path(name), told)

    def test_a_module_whose_attributes_import_others_is_left_alone(self):
        class Lazy(types.ModuleType):
            def __getattr__(self, name):
                raise AssertionError(f"{name} was asked for")

        sys.modules["loaded_lazy"] = Lazy("loaded_lazy")
        self.addCleanup(sys.modules.pop, "loaded_lazy")
        loaded.modules()


def wrapped(error):
    """As a worker has it: raised in place of the one that tells where it was."""
    try:
        try:
            raise error
        except Exception:
            raise LookupError("does not import") from None
    except LookupError as outer:
        return outer
