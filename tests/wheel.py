"""Serves the Django example from a wheel: in a fresh virtual environment, on a file system that cannot be written.

    python tests/wheel.py target/wheels/hurricane_server-0.1.0-….whl

Needs root for the file system; without it the example is served from a file system that can be written, which is said.
Prints how large the wheel is, and how long the package takes to import.
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60

# All is made read-only but the folder for the database.
READ_ONLY = 'mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,bind,ro / && shift && exec "$@"'


def main(wheel):
    with tempfile.TemporaryDirectory() as folder:
        serve(Path(wheel).resolve(), Path(folder))


def serve(wheel, folder):
    python = folder / "venv/bin/python"
    venv.create(folder / "venv", with_pip=True)
    requirements = ROOT / "examples/django-polls/requirements.txt"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel, "-r", requirements)
    print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    print(f"import hurricane: {import_time(python):.1f} ms")

    project, data = folder / "project", folder / "data"
    shutil.copytree(ROOT / "examples/django-polls", project)
    data.mkdir()
    settings = project / "wheel_settings.py"
    settings.write_text(f"from {settings_of(project)} import *\n"
                        "INSTALLED_APPS = [*INSTALLED_APPS, 'hurricane']\n"
                        "STATICFILES = 'django.contrib.staticfiles.storage.ManifestStaticFilesStorage'\n"
                        f"STATIC_ROOT = {str(project / 'static_root')!r}\n"
                        "STORAGES = {'default': {'BACKEND': 'django.core.files.storage.FileSystemStorage'},\n"
                        "            'staticfiles': {'BACKEND': STATICFILES}}\n"
                        "DEBUG = False\nALLOWED_HOSTS = ['*']\n")
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("HURRICANE_", "DJANGO_", "PYTHON", "VIRTUAL_ENV"))}
    environment.update(DJANGO_SETTINGS_MODULE="wheel_settings", POLLS_DB=str(data / "db.sqlite3"),
                       PYTHONDONTWRITEBYTECODE="1")
    for command in (["migrate", "--verbosity", "0"], ["loaddata", "demo"], ["collectstatic", "--noinput"]):
        run(python, "manage.py", *command, cwd=project, env=environment, stdout=subprocess.DEVNULL)

    words = [python, "manage.py", "serve", "--static", "--host", "127.0.0.1", "--port", "0", "--probe-port", "0"]
    if os.geteuid() == 0:
        words = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", data, *words]
    else:
        print("skipped: without root the file system cannot be made read-only")
    server = subprocess.Popen(words, cwd=project, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        look(server, project)
    finally:
        server.send_signal(signal.SIGTERM)
        said = server.stderr.read()
    assert server.wait(PATIENCE) == 0, said
    print("served")


def look(server, project):
    """Asks for what a user and a cluster ask for."""
    ports = {}
    for line in server.stderr:
        if match := re.search(r"Starting (HTTP Server|probe application).* on port (\d+)", line):
            ports[match[1]] = int(match[2])
        if "HTTP Server" in ports:
            break
    else:
        raise AssertionError("the server has not started")
    app, probes = ports["HTTP Server"], ports["probe application"]
    deadline = time.monotonic() + PATIENCE
    while get(probes, "/startup")[0] != 200:
        assert time.monotonic() < deadline, "the start is not over"
        time.sleep(0.05)
    for path in ("/alive", "/ready", "/metrics"):
        assert get(probes, path)[0] == 200, path
    status, _, page = get(app, "/")
    assert status == 200, status
    # A name with a hash in it never changes what it stands for.
    hashed = re.search(r'/static/[^"\']+\.[0-9a-f]{12}\.css', page)
    assert hashed, page
    status, headers, _ = get(app, hashed[0])
    assert (status, "immutable" in headers["cache-control"]) == (200, True), (status, headers)
    if os.geteuid() == 0:
        folder = f"/proc/{server.pid}/root{project}"
        assert not os.access(folder, os.W_OK), "the file system can be written"


def get(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()
    except OSError:
        return None, None, None


def settings_of(project):
    """The module that ``manage.py`` names."""
    return re.search(r'"DJANGO_SETTINGS_MODULE", "([\w.]+)"', (project / "manage.py").read_text())[1]


def import_time(python):
    """The least of ten, in milliseconds, without the start of the interpreter."""
    code = "import time; began = time.perf_counter(); import hurricane; print(time.perf_counter() - began)"
    return min(float(subprocess.check_output([python, "-c", code])) for _ in range(10)) * 1000


def run(*words, **options):
    subprocess.run(words, check=True, **options)


if __name__ == "__main__":
    main(*sys.argv[1:])
