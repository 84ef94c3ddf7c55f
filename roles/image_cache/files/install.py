# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the package `vmimages` into an environment, see what the environment lacks, and switch to it.

``key DIRECTORY``                 on the controller: what names an environment, by all that is to be in it
``pack DIRECTORY``                on the controller: a package's Python files, as one JSON document on standard output
``unpack DOCUMENT DIRECTORY``     on the host: make the directory what the document says; tells what it changes
``lacks REQUIREMENTS``            on the host, by the environment's Python: tells which requirements are not met
``switch LINK ENVIRONMENT``       on the host: let the link lead to the environment, and remove those that it led to
                                  before and that nothing runs from; tells what it changes
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import sys
import typing as t
from pathlib import Path


def pack(directory: Path) -> str:
    """The Python files below `directory`, by their relative names."""
    files = {path.relative_to(directory).as_posix(): path.read_text("utf-8") for path in directory.rglob("*.py")}
    return json.dumps(files, sort_keys=True, indent=0)


def key(directory: Path) -> str:
    """The digest of the package, and of what is installed beside it."""
    digest = hashlib.sha256(pack(directory).encode())
    for path in (Path(__file__), *(Path(__file__).with_name(name) for name in ("requirements.txt", "vmimages.sh"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def switch(link: Path, environment: Path, *, check: bool) -> list[str]:
    """Let `link` lead to `environment` in one step; returns what changes.

    Environments beside it that are not in use go. A directory in the place of the link, as earlier versions made it,
    gives way.
    """
    changed, used = [], _in_use()
    former = link if link.is_dir() and not link.is_symlink() else None
    if former is not None or not link.is_symlink() or link.readlink() != Path(environment.name):
        changed.append(f"{link} -> {environment.name}")
        if not check:
            _lead(link, environment.name, former)
    for path in sorted(link.parent.glob(f"{link.name}-py*")):
        if path.is_dir() and path != environment and not any(str(path.resolve()) in text for text in used):
            changed.append(f"{path} is removed")
            if not check:
                shutil.rmtree(path)
    return changed


def _lead(link: Path, target: str, former: t.Optional[Path]) -> None:
    new = link.with_name(f".{link.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(target)
    if former is not None:
        aside = link.with_name(f".{link.name}.former")
        former.rename(aside)
        new.replace(link)
        shutil.rmtree(aside)
    else:
        new.replace(link)


def _in_use() -> list[str]:
    """What this machine's other processes were started with, and have loaded."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name != str(os.getpid()):
            for name in ("cmdline", "maps"):
                with contextlib.suppress(OSError):
                    found.append((process / name).read_bytes().decode(errors="replace"))
    return found


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
    for name in ("key", "pack"):
        commands.add_parser(name).add_argument("directory", type=Path)
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("document", type=Path)
    unpacking.add_argument("directory", type=Path)
    unpacking.add_argument("--check", action="store_true")
    lacking = commands.add_parser("lacks")
    lacking.add_argument("requirements", type=Path)
    switching = commands.add_parser("switch")
    switching.add_argument("link", type=Path)
    switching.add_argument("environment", type=Path)
    switching.add_argument("--check", action="store_true")
    options = parser.parse_args()
    os.umask(0o022)
    if options.command in ("key", "pack"):
        sys.stdout.write((key if options.command == "key" else pack)(options.directory))
        return 0
    if options.command == "unpack":
        found = unpack(options.document, options.directory, check=options.check)
    elif options.command == "switch":
        found = switch(options.link, options.environment, check=options.check)
    else:
        found = lacks(options.requirements)
    for line in found:
        sys.stdout.write(f"{line}\n")
    return 1 if found and options.command == "lacks" else 0


if __name__ == "__main__":
    raise SystemExit(main())
