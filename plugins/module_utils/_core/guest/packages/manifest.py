# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the list of all packages of a tree, outside of it; nothing is written when it says what is there already."""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from datetime import datetime
from pathlib import Path

from ...errors import GuestError
from ...outcome import Outcome
from ...transfer.atomic import storage_errors, write_atomic
from ..boot.system import read_system
from ..root.names import printable
from ..root.tree import Root
from .content.unowned import read_unowned
from .listing import read_databases
from .spdx import document, octets_of

_LARGEST: t.Final = 64 * 1024 * 1024


def make_manifest(root: Root, *, dest: str | None, name: str | None, check: bool, now: datetime) -> Outcome:
    """List the packages, and write the document to `dest` if one is named.

    Raises `GuestError`: packages_missing, packages_malformed, report_inside, guest_*; `TransferError`.
    """
    if dest is not None:
        check_not_inside(root, dest)
    databases = read_databases(root)
    packages, trees = read_unowned(root)
    system = printable(read_system(root).as_dict())
    title = name or system["name"] or "system"
    packages = (*(package for database in databases for package in database.packages), *packages)
    made = document(packages, trees, name=title, system=system, created=now)
    existing = None if dest is None else read_existing(dest)
    octets = octets_of(made, existing)
    changed = dest is not None and octets != existing
    if changed and not check:
        write_atomic(t.cast(str, dest), octets)
    return Outcome(
        changed=changed,
        before={"packages": _lines(existing)} if changed else {},
        after={"packages": _lines(octets)} if changed else {},
        actions=({"action": "write", "path": dest},) if changed else (),
        data={
            "system": {key: system[key] for key in ("name", "id", "version")},
            "databases": [database.as_dict() for database in databases],
            "packages": [package.as_dict() for package in packages],
            "unowned": [tree.as_dict() for tree in trees],
            "namespace": made["documentNamespace"],
            "document": dest,
            "sha512": None if dest is None else hashlib.sha512(octets).hexdigest(),
        },
    )


def check_not_inside(root: Root, dest: str) -> None:
    """Refuse a file that is a part of the image; the running system has no outside. Raises `GuestError`."""
    place = os.path.realpath(dest)
    if root.path != "/" and os.path.commonpath([place, root.path]) == root.path:
        raise GuestError("report_inside", f"{dest} is inside the tree {root.path}", path=dest)


def read_existing(dest: str) -> bytes | None:
    """What `dest` holds, None when there is nothing. Raises `TransferError`."""
    if not os.path.lexists(dest):
        return None
    with storage_errors(dest, reading=True), Path(dest).open("rb") as file:
        return file.read(_LARGEST)


def _lines(octets: bytes | None) -> list[str]:
    """One line for each package of a document; none for what is no such document."""
    try:
        entries = json.loads(octets or b"")["packages"]
        return [f"{entry['name']} {entry.get('versionInfo', '')}".rstrip() for entry in entries]
    except (ValueError, TypeError, KeyError):
        return []
