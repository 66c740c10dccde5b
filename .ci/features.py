"""Checks each crate of the workspace without features, with each feature alone, and with all of them."""
import json
import os
import subprocess
import sys

CARGO = os.environ.get("CARGO", "cargo")


def main():
    said = subprocess.run([CARGO, "metadata", "--no-deps", "--format-version=1"], stdout=subprocess.PIPE, check=True)
    failed = []
    for package in json.loads(said.stdout)["packages"]:
        # Without features of its own there is nothing that `make lint` has not seen.
        features = sorted(set(package["features"]) - {"default"})
        choices = [["--no-default-features", f"--features={feature}"] for feature in features]
        for choice in [["--no-default-features"], *choices, ["--all-features"]] if features else []:
            command = ["clippy", "--quiet", "--locked", f"--package={package['name']}", "--lib", *choice]
            print("cargo", *command, flush=True)
            if subprocess.run([CARGO, *command, "--", "-Dwarnings"]).returncode != 0:
                failed.append(" ".join(command))
    if failed:
        sys.exit("FAILED: " + ", ".join(failed))


if __name__ == "__main__":
    main()
