# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no package of the system brought: distributions of Python and conda, and trees of programs."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import typing as t
from dataclasses import asdict, dataclass, field

from ....errors import GuestError
from ...root.names import shown
from ...root.tree import Root
from ...root.walking import Allowance, digest_of, walk
from ..model import PACKAGES, Package, line, malformed
from .owned import Owned

#: Each directory in these is a tree of its own, and so is each of those after them.
_PARENTS: t.Final = ("/opt", "/srv", "/cvmfs")
_TREES: t.Final = ("/usr/local", "/usr/bin", "/usr/sbin", "/usr/libexec", "/bin", "/sbin")
_NOT_OF_THE_IMAGE: t.Final = ("/proc", "/sys", "/dev", "/run", "/tmp")
_NAME: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._@~-]{0,254}\Z")
_FIELD: t.Final = re.compile(r"^(Name|Version|License|License-Expression): *(\S[^\n]*)$", re.MULTILINE)


@dataclass
class _Tree:
    files: int = 0
    size: int = 0
    digest: t.Any = field(default_factory=hashlib.sha256)


@dataclass(frozen=True)
class Tree:
    """Files that no package brought, under one directory; `sha256` is a digest of their paths and contents.

    It is None for more octets than are ever read: such a tree is listed all the same.
    """

    path: str
    files: int
    size: int
    sha256: str | None

    def as_dict(self) -> dict[str, t.Any]:
        return {**asdict(self), "path": shown(self.path)}


def read_unowned(root: Root) -> tuple[tuple[Package, ...], tuple[Tree, ...]]:
    """The distributions of Python and conda, and the trees. Raises `GuestError`."""
    owned = Owned(root)
    packages: list[Package] = []
    trees: dict[str, _Tree] = {}
    allowance = Allowance()
    for path, status in walk(root, "/", skip=_NOT_OF_THE_IMAGE):
        if not stat.S_ISREG(status.st_mode) or path in owned.files:
            continue
        found = _distribution(root, path)
        if found is not None:
            packages.append(found)
            if len(packages) > PACKAGES:
                raise malformed(path, f"there are more than {PACKAGES} distributions")
        tree = _tree_of(path)
        if tree is not None:
            known = trees.setdefault(tree, _Tree())
            known.files += 1
            known.size += status.st_size
            _add(root, path, known, allowance)
    packages.sort(key=lambda package: package.path or "")
    return tuple(packages), tuple(
        Tree(path, tree.files, tree.size, None if tree.digest is None else tree.digest.hexdigest())
        for path, tree in sorted(trees.items())
    )


def _add(root: Root, path: str, tree: _Tree, allowance: Allowance) -> None:
    """The walk goes through directories in the order of their names, so that the same tree has the same digest."""
    if tree.digest is None:
        return
    try:
        row = f"{digest_of(root, path, 'sha256', allowance)}  {path}\n"
    except GuestError as error:
        if error.code != "guest_too_large":
            raise
        tree.digest = None
    else:
        tree.digest.update(row.encode("utf-8", "surrogateescape"))


def _tree_of(path: str) -> str | None:
    for parent in _PARENTS:
        if path.startswith(f"{parent}/"):
            name = path[len(parent) + 1 :].split("/", 1)
            return f"{parent}/{name[0]}" if len(name) == 2 else parent
    return next((tree for tree in _TREES if path.startswith(f"{tree}/")), None)


def _distribution(root: Root, path: str) -> Package | None:
    """The distribution whose description the file is; None when it is none, or names none."""
    directory, _slash, name = path.rpartition("/")
    try:
        if name == "PKG-INFO" or (name == "METADATA" and directory.endswith(".dist-info")):
            return _of_python(root.text(path) or "", directory)
        if name.endswith(".egg-info"):
            return _of_python(root.text(path) or "", path)
        if name.endswith(".json") and directory.endswith("/conda-meta"):
            return _of_conda(root.text(path) or "", path)
    except GuestError as error:
        if error.code not in ("guest_too_large", "guest_not_a_file"):
            raise
    return None


def _of_python(text: str, path: str) -> Package | None:
    fields: dict[str, str] = {}
    for name, value in _FIELD.findall(text.replace("\r\n", "\n").split("\n\n", 1)[0]):
        fields.setdefault(name, value)
    licence = fields.get("License-Expression") or fields.get("License")
    return _made("pypi", fields.get("Name"), fields.get("Version"), licence, path)


def _of_conda(text: str, path: str) -> Package | None:
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(read, dict):
        return None
    return _made("conda", read.get("name"), read.get("version"), read.get("license"), path)


def _made(kind: str, name: t.Any, version: t.Any, licence: t.Any, path: str) -> Package | None:
    if not isinstance(name, str) or not isinstance(version, str) or _NAME.match(name.strip()) is None:
        return None
    told = line(version)
    if told is None:
        return None
    return Package(
        kind=kind,
        name=name.strip(),
        version=told,
        licence=line(licence) if isinstance(licence, str) else None,
        path=shown(path),
    )
