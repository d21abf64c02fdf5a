"""Prints the licences of everything that is linked into tapline: one table, then each text once.

Usage: notices.py (in the root of the sources; cargo and the downloaded crates are needed)
"""

import json
import pathlib
import re
import subprocess
import sys

NAMES = re.compile(r"^(licen[cs]e|copying|notice|copyright|unlicense)", re.IGNORECASE)


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments], check=True, capture_output=True, text=True).stdout


def texts(folder):
    """Licence files of a crate and of the C sources that it carries."""
    for path in sorted(folder.rglob("*")):
        depth = len(path.relative_to(folder).parts)
        source = path.suffix in (".rs", ".c", ".h", ".py", ".sh", ".template")
        if depth <= 3 and path.is_file() and NAMES.match(path.name) and not source:
            yield path.relative_to(folder), path.read_text(errors="replace").strip()


def main():
    tree = cargo("tree", "--locked", "-e", "normal,build", "--prefix", "none", "-f", "{p}")
    linked = {tuple(line.split()[:2]) for line in tree.splitlines() if line.strip()}
    metadata = json.loads(cargo("metadata", "--locked", "--format-version", "1"))
    packages = [p for p in metadata["packages"] if (p["name"], "v" + p["version"]) in linked]
    packages = sorted((p for p in packages if p["name"] != "tapline"), key=lambda p: (p["name"], p["version"]))
    if len(packages) < 50:
        sys.exit(f"only {len(packages)} crates were found: cargo tree is read wrongly")
    nameless = [p["name"] for p in packages if not p["license"] and not p["license_file"]]
    if nameless:
        sys.exit(f"crates without a licence: {', '.join(nameless)}")
    print("tapline is built from these works of others, under these licences.\n")
    shown = {}
    for package in packages:
        name = f"{package['name']} {package['version']}"
        print(f"{name}: {package['license'] or package['license_file']} {package['repository'] or ''}".rstrip())
        for file, text in texts(pathlib.Path(package["manifest_path"]).parent):
            shown.setdefault(text, []).append(f"{name}/{file}")
    for text, files in shown.items():
        print(f"\n{'=' * 78}\n" + "\n".join(files) + f"\n{'-' * 78}\n{text}")


main()
