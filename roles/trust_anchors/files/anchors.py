# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a directory of trust anchors to a host as a whole: a federation's has hundreds of files.

``pack DIRECTORY``      on the controller: its files and links, as one JSON document on standard output
``unpack DIRECTORY``    on the host: make the directory what the document on standard input says; tells what it changes.
                        With ``--no-crls`` CRLs that are there stay, since they are those of fetch-crl, and newer.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import sys
from pathlib import Path

#: What an earlier run has brought: of that, what is no longer wanted goes. Other files are not touched.
RECORD = ".hepix-vmimages.json"
_CRL = re.compile(r".*\.r[0-9]+")


def pack(directory: Path) -> str:
    """The files of `directory` in base64, and its links with what they lead to, by name."""
    files, links = {}, {}
    for path in sorted(directory.iterdir()):
        if path.is_symlink() and "/" not in str(path.readlink()):
            links[path.name] = str(path.readlink())
        elif path.is_file() and path.name != RECORD:
            files[path.name] = base64.b64encode(path.read_bytes()).decode()
    if not files:
        raise SystemExit(f"There is no file in {directory}.")
    return json.dumps({"files": files, "links": links}, indent=0, sort_keys=True)


def unpack(document: str, directory: Path, *, check: bool, crls: bool) -> list[str]:
    """Make `directory` what the document says; returns the names of what differs."""
    given = json.loads(document)
    files = {name: base64.b64decode(text) for name, text in given["files"].items()}
    links: dict[str, str] = given["links"]
    if not crls:
        there = {path.name for path in directory.iterdir()} if directory.is_dir() else set()
        kept = {name for name in [*files, *links] if _CRL.fullmatch(name) and name in there}
        files = {name: octets for name, octets in files.items() if name not in kept}
        links = {name: target for name, target in links.items() if name not in kept}
    wanted = sorted([*given["files"], *given["links"]])
    stale = [name for name in _brought(directory) if name not in wanted and os.path.lexists(directory / name)]
    changed = [name for name, octets in files.items() if not _is_file(directory / name, octets)]
    changed += [name for name, target in links.items() if not _is_link(directory / name, target)]
    if not check and (changed or stale or _brought(directory) != wanted):
        os.umask(0o022)
        directory.mkdir(parents=True, exist_ok=True)
        for name in changed:
            _put(directory / name, files.get(name), links.get(name, ""))
        for name in stale:
            (directory / name).unlink()
        _put(directory / RECORD, json.dumps(wanted).encode(), "")
    return [*sorted(changed), *(f"{name} is removed" for name in stale)]


def _brought(directory: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads((directory / RECORD).read_text())]
    except FileNotFoundError:
        return []


def _is_file(path: Path, octets: bytes) -> bool:
    return (
        path.is_file()
        and not path.is_symlink()
        and path.read_bytes() == octets
        and path.stat().st_mode & 0o777 == 0o644
    )


def _is_link(path: Path, target: str) -> bool:
    return path.is_symlink() and str(path.readlink()) == target


def _put(path: Path, octets: bytes | None, target: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    if octets is None:
        temporary.symlink_to(target)
    else:
        temporary.write_bytes(octets)
        temporary.chmod(0o644)
    temporary.replace(path)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=("pack", "unpack"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--no-crls", action="store_true")
    options = parser.parse_args()
    if options.command == "pack":
        sys.stdout.write(pack(options.directory))
    else:
        told = unpack(sys.stdin.read(), options.directory, check=options.check, crls=not options.no_crls)
        sys.stdout.write("".join(f"{line}\n" for line in told))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
