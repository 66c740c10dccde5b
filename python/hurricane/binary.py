"""Finds the ``hurricane`` binary that was installed with this package, asks it for its options, becomes it."""
import json
import os
import shutil
import site
import subprocess
import sys
import sysconfig

NAME = "hurricane"


class NotFound(Exception):
    """The binary is not where it should be, or does not run."""


def find():
    """The path of the binary: beside this interpreter, else the first on the PATH."""
    folders = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable), os.path.join(site.getuserbase(), "bin")]
    for folder in folders:
        path = os.path.join(folder, NAME)
        # A script of that name would be somebody else's.
        if os.access(path, os.X_OK) and is_binary(path):
            return path
    path = shutil.which(NAME)
    if path:
        return path
    raise NotFound(f"there is no binary {NAME!r} beside {sys.executable} or on the PATH: "
                   "install hurricane-server there")


def is_binary(path):
    with open(path, "rb") as file:
        return file.read(4) == b"\x7fELF"


def options(command):
    """What the binary says of the options of one of its commands: a list of dicts, see ``hurricane-cli``'s table.rs."""
    path = find()
    try:
        said = subprocess.run([path, "options", command], stdout=subprocess.PIPE, check=True, timeout=30).stdout
        return json.loads(said)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise NotFound(f"{path} does not tell its options: {error}") from None


def become(arguments, environment):
    """Replaces this process by the binary: process id, signals and streams stay. Returns only by raising."""
    path = find()
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(path, [NAME, *arguments], environment)
    except OSError as error:
        raise NotFound(f"{path} does not run: {error}") from None
