# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which file belongs to which package, and what its content was when the package brought it."""

from __future__ import annotations

import itertools
import re
import typing as t

from ....errors import GuestError
from ...root.tree import Root
from ..dpkg import STATUS, STATUS_D, stanzas
from ..model import OwnedFile, malformed
from ..rpm import read_rpm_files

_INFO: t.Final = "/var/lib/dpkg/info"
_DIVERSIONS: t.Final = "/var/lib/dpkg/diversions"
_LARGEST: t.Final = 64 * 1024 * 1024
_LIST: t.Final = 16 * 1024 * 1024
#: The packages of a large desktop have half as many files.
_FILES: t.Final = 1_000_000
_SUM: t.Final = re.compile(r"([0-9a-f]{32})  ?(.+)\Z")


class Owned:
    """The files of all packages, by the path that they have in the tree: links of directories are resolved."""

    def __init__(self, root: Root) -> None:
        self._root = root
        self._directories: dict[str, str] = {}
        self.files: dict[str, OwnedFile] = {}
        for count, file in enumerate(itertools.chain(_of_dpkg(root), read_rpm_files(root))):
            if count > 2 * _FILES or len(self.files) > _FILES:
                raise malformed(STATUS, f"the packages have more than {_FILES} files")
            path = self._place(file.path)
            known = self.files.get(path)
            if known is None or known.digest is None:
                self.files[path] = file

    def of(self, path: str) -> OwnedFile | None:
        """The file of a package that is at `path`, which is without links."""
        return self.files.get(path)

    def _place(self, path: str) -> str:
        """On a system of today /bin/sh of a package is /usr/bin/sh of the tree."""
        directory, _slash, name = path.rpartition("/")
        if directory not in self._directories:
            try:
                self._directories[directory] = self._root.resolve(directory or "/").rstrip("/")
            except GuestError:
                self._directories[directory] = directory
        return f"{self._directories[directory]}/{name}"


def _of_dpkg(root: Root) -> t.Iterator[OwnedFile]:
    moved = _diversions(root)
    conffiles = _conffiles(root)
    for directory in (_INFO, STATUS_D):
        names = root.names(directory)
        for name in names:
            package = name.rsplit(".", 1)[0].split(":")[0]
            if name.endswith(".list"):
                for path in _rows(root, f"{directory}/{name}"):
                    yield OwnedFile(package, _moved(moved, path, package))
            elif name.endswith(".md5sums"):
                for row in _rows(root, f"{directory}/{name}"):
                    match = _SUM.match(row)
                    if match is None:
                        raise malformed(f"{directory}/{name}", "a line of it is no checksum")
                    path = _moved(moved, "/" + match[2].lstrip("/"), package)
                    yield OwnedFile(package, path, "md5", match[1], config=path in conffiles)


def _rows(root: Root, path: str) -> t.Iterator[str]:
    for match in re.finditer(r"[^\n]+", root.text(path, limit=_LIST) or ""):
        if match[0].strip():
            yield match[0].rstrip("\r")


def _diversions(root: Root) -> dict[str, tuple[str, str]]:
    """Where a package's file lies because another package, or the administrator, wants its place."""
    rows = list(_rows(root, _DIVERSIONS))
    return {origin: (target, owner) for origin, target, owner in zip(rows[::3], rows[1::3], rows[2::3])}


def _moved(moved: t.Mapping[str, tuple[str, str]], path: str, package: str) -> str:
    target, owner = moved.get(path, (path, package))
    return path if owner == package else target


def _conffiles(root: Root) -> frozenset[str]:
    text = root.text(STATUS, limit=_LARGEST)
    found: set[str] = set()
    for fields in stanzas(text or "", STATUS):
        for row in fields.get("conffiles", "").split("\n"):
            found.add(row.strip().split(" ")[0])
    return frozenset(found - {""})
