"""Runs the fuzzing client of the Autobahn test suite against Hurricane: ``make autobahn``.

The suite is of Python 2.7, which has to be there; its packages are put into a folder. What the client finds is named,
and the exit status is 1 where it is against the protocol.
"""
import argparse
import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

# The last one masks in C what else takes most of the time.
PACKAGES = ["autobahntestsuite==25.10.1", "autobahn==0.10.9", "wsaccel==0.6.2"]
# What stands for itself (how a connection ends without a rule for it), and what is as good as OK: a connection that is
# failed at once, before the application has sent back what came before.
GOOD = {"OK", "INFORMATIONAL", "NON-STRICT"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hurricane", required=True, help="the binary")
    parser.add_argument("--python2", default="python2.7", help="a Python 2.7 with pip")
    parser.add_argument("--packages", required=True, help="the folder for the packages of the suite")
    parser.add_argument("--cases", nargs="*", default=["*"], help="such as 6.* (9.* and 12.* take minutes)")
    options = parser.parse_args()
    packages = pathlib.Path(options.packages)
    if not (packages / "autobahntestsuite").exists():
        subprocess.run([options.python2, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                        "--target", packages, *PACKAGES], check=True)
        # A folder of packages is not looked through for namespaces.
        (packages / "zope/__init__.py").touch()
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, packages, pathlib.Path(folder))
    counts = collections.Counter(result["behavior"] for result in results.values())
    print(", ".join(f"{count} {name}" for name, count in counts.most_common()))
    bad = not results
    for number, result in sorted(results.items()):
        found = {result["behavior"], result["behaviorClose"]}
        if found - {"OK", "INFORMATIONAL"}:
            print(f"{number}: {result['behavior']}, closing {result['behaviorClose']}")
        bad |= not found <= GOOD
    return int(bad)


def run(options, packages, folder):
    """What the suite says of each case."""
    apps = pathlib.Path(__file__).resolve().parent / "apps"
    command = [options.hurricane, "serve", "--python", sys.executable, "--app", "asgi_gallery", "--no-probe",
               "--no-access-log", "--host", "127.0.0.1", "--port", "0", "--ws-max-size", "32M",
               # The client masks for so long that it may miss a ping.
               "--ws-ping-interval", "0"]
    server = subprocess.Popen(command, cwd=apps, env={**os.environ, "TEST_DIR": str(folder)}, text=True,
                              stderr=subprocess.PIPE)
    try:
        for line in server.stderr:
            found = re.search(r"serving on [\d.]+:(\d+)", line)
            if found:
                break
        else:
            sys.exit("the server has not started")
        spec = {"outdir": str(folder / "reports"), "cases": options.cases, "exclude-cases": [],
                "servers": [{"agent": "hurricane", "url": f"ws://127.0.0.1:{found[1]}/ws_echo"}]}
        (folder / "spec.json").write_text(json.dumps(spec))
        start = "from autobahntestsuite.wstest import run; run()"
        with open(folder / "client.log", "w+") as log:
            subprocess.run([options.python2, "-c", start, "-m", "fuzzingclient", "-s", folder / "spec.json"],
                           env={**os.environ, "PYTHONPATH": str(packages)}, stdout=log, stderr=log, check=False)
            if not (folder / "reports/index.json").exists():
                log.seek(0)
                sys.exit(log.read())
    finally:
        server.terminate()
        server.communicate()
    return json.loads((folder / "reports/index.json").read_text())["hurricane"]


if __name__ == "__main__":
    sys.exit(main())
