"""Names an interpreter of each version of Python that the package is for, as far as there are any but the one that runs
this."""
import glob
import os
import shutil
import subprocess
import sys

OLDEST = (3, 9)
NEWEST = (3, 19)


def main():
    found = {}
    for python in candidates():
        version = version_of(python)
        if version and version >= OLDEST and version != sys.version_info[:2]:
            found.setdefault(version, python)
    print(*(found[version] for version in sorted(found)))


def candidates():
    named = (shutil.which(f"python3.{minor}") for minor in range(OLDEST[1], NEWEST[1] + 1))
    yield from filter(None, named)
    # What pyenv puts on the path is of use only for the versions that are switched on.
    root = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    yield from sorted(glob.glob(os.path.join(root, "versions", "3.*", "bin", "python3")))


def version_of(python):
    """None for what cannot be run: a link to nowhere, or a version that pyenv has switched off."""
    try:
        said = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:2])"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return tuple(map(int, said.stdout.split()))


if __name__ == "__main__":
    main()
