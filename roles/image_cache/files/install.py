# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the package `vmimages` into an environment, and see what the environment lacks.

``pack DIRECTORY``                on the controller: a package's Python files, as one JSON document on standard output
``unpack DOCUMENT DIRECTORY``     on the host: make the directory what the document says; tells what it changes
``lacks REQUIREMENTS``            on the host, by the environment's Python: tells which requirements are not met
"""

from __future__ import annotations

import argparse
import compileall
import importlib.metadata
import json
import os
import sys
import typing as t
from pathlib import Path


def pack(directory: Path) -> str:
    """The Python files below `directory`, by their relative names."""
    files = {path.relative_to(directory).as_posix(): path.read_text("utf-8") for path in directory.rglob("*.py")}
    return json.dumps(files, sort_keys=True, indent=0)


def unpack(document: Path, directory: Path, *, check: bool) -> list[str]:
    """Make the Python files below `directory` those of the document; returns the names of those that differ."""
    wanted: dict[str, str] = json.loads(document.read_text("utf-8"))
    found = {path.relative_to(directory).as_posix(): path for path in directory.rglob("*.py")}
    stale = sorted(set(found) - set(wanted))
    changed = [name for name in sorted(wanted) if name not in found or found[name].read_text("utf-8") != wanted[name]]
    if not check:
        for name in changed:
            _write(directory / name, wanted[name])
        for name in stale:
            found[name].unlink()
        if changed or stale:
            compileall.compile_dir(str(directory), quiet=1)
    return changed + stale


def lacks(requirements: Path) -> list[str]:
    """The lines of a requirements file that this Python's libraries do not meet."""
    from pip._vendor.packaging.requirements import Requirement

    lines = [line.partition("#")[0].strip() for line in requirements.read_text("utf-8").splitlines()]
    wanted = [Requirement(line) for line in lines if line]
    return [str(one) for one in wanted if (one.marker is None or one.marker.evaluate()) and not _met(one)]


def _met(requirement: t.Any) -> bool:
    try:
        return bool(requirement.specifier.contains(importlib.metadata.version(requirement.name)))
    except importlib.metadata.PackageNotFoundError:
        return False


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, "utf-8")
    temporary.chmod(0o644)
    temporary.replace(path)


def main() -> int:
    """Run the command; 1 when `lacks` finds something."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    packing = commands.add_parser("pack")
    packing.add_argument("directory", type=Path)
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("document", type=Path)
    unpacking.add_argument("directory", type=Path)
    unpacking.add_argument("--check", action="store_true")
    lacking = commands.add_parser("lacks")
    lacking.add_argument("requirements", type=Path)
    options = parser.parse_args()
    os.umask(0o022)
    if options.command == "pack":
        sys.stdout.write(pack(options.directory))
        return 0
    if options.command == "unpack":
        found = unpack(options.document, options.directory, check=options.check)
    else:
        found = lacks(options.requirements)
    for line in found:
        sys.stdout.write(f"{line}\n")
    return 1 if found and options.command == "lacks" else 0


if __name__ == "__main__":
    raise SystemExit(main())
