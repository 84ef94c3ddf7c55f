# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of dpkg: /var/lib/dpkg/status, and status.d of images that are made without dpkg (deb822)."""

from __future__ import annotations

import re
import typing as t

from ...errors import GuestError
from ..root.tree import Root
from .model import PACKAGES, Database, Package, checked, line, malformed

STATUS: t.Final = "/var/lib/dpkg/status"
STATUS_D: t.Final = "/var/lib/dpkg/status.d"

_LARGEST: t.Final = 64 * 1024 * 1024
_VERSION: t.Final = re.compile(r"(?:([0-9]{1,9}):)?(.+?)(?:-([^-]+))?\Z")
_LICENCE: t.Final = re.compile(r"^License:[ \t]*(\S[^\n]*)", re.MULTILINE)
_ABSENT: t.Final = frozenset({"not-installed", "config-files"})


def read_dpkg(root: Root) -> list[Database]:
    """The databases of dpkg in the tree, those without a package as well. Raises `GuestError`."""
    found: list[Database] = []
    text = root.text(STATUS, limit=_LARGEST)
    if text is not None:
        found.append(Database(STATUS, "dpkg", tuple(_packages(root, STATUS, text, partial=False))))
    names = [name for name in root.names(STATUS_D) if not name.endswith(".md5sums")]
    if names:
        paths = [f"{STATUS_D}/{name}" for name in names]
        listed = [package for path in paths for package in _of_file(root, path)]
        found.append(Database(STATUS_D, "dpkg-status.d", tuple(listed)))
    return found


def _of_file(root: Root, path: str) -> list[Package]:
    return _packages(root, path, root.text(path, limit=_LARGEST) or "", partial=True)


def _packages(root: Root, path: str, text: str, *, partial: bool) -> list[Package]:
    """`partial`: the stanzas are those of packages, which say nothing of their state."""
    found: list[Package] = []
    for fields in stanzas(text, path):
        state = fields.get("status", "install ok installed" if partial else "").split()
        if "package" not in fields or len(state) != 3:
            raise malformed(path, f"stanza {len(found) + 1} has no Package or no Status")
        if state[2] not in _ABSENT:
            found.append(checked(_package(root, fields), path))
        if len(found) > PACKAGES:
            raise malformed(path, f"it has more than {PACKAGES} packages")
    return found


def stanzas(text: str, path: str) -> t.Iterator[dict[str, str]]:
    """The stanzas of `text`: field, in lower case -> value. Raises `GuestError` (packages_malformed)."""
    for number, block in enumerate(re.split(r"\n(?:[ \t]*\n)+", text.strip("\n")), 1):
        fields: dict[str, list[str]] = {}
        last = None
        for row in block.split("\n"):
            if row[:1] in (" ", "\t") and last is not None:
                fields[last].append(row[1:])
                continue
            name, colon, value = row.partition(":")
            if not row.strip():
                continue
            if not colon or not name or " " in name:
                raise malformed(path, f"stanza {number} has a line that is no field")
            last = name.lower()
            fields[last] = [value.strip()]
        if fields:
            yield {name: "\n".join(rows) for name, rows in fields.items()}


def _package(root: Root, fields: t.Mapping[str, str]) -> Package:
    match = _VERSION.match(fields.get("version", ""))
    name = fields["package"]
    return Package(
        kind="deb",
        name=name,
        version=(line(match[2]) or "") if match else "",
        epoch=None if match is None or match[1] is None else int(match[1]),
        release=line(match[3]) if match else None,
        arch=line(fields.get("architecture")),
        vendor=line(fields.get("origin")),
        maintainer=line(fields.get("maintainer")),
        licence=_licence(root, name),
        source=line(fields.get("source")),
    )


def _licence(root: Root, name: str) -> str | None:
    """The short names that a machine-readable copyright file gives, in its order."""
    if "/" in name:
        return None
    try:
        text = root.text(f"/usr/share/doc/{name}/copyright") or ""
    except GuestError:
        return None
    if not text.startswith("Format:"):
        return None
    names = dict.fromkeys(found.strip().rstrip(",") for found in _LICENCE.findall(text))
    return line(", ".join(names))
