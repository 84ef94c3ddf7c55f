# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The places of a tree that an audit looks at: homes, and files by pattern."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import stat
import typing as t
from dataclasses import dataclass

from ...errors import GuestError
from ..root.tree import CONFIGURATION, Root

_HOMES: t.Final = 10_000


@dataclass(frozen=True)
class Account:
    """One line of /etc/passwd; `line` counts from 1."""

    name: str
    password: str
    uid: int | None
    home: str
    shell: str
    line: int


@dataclass(frozen=True)
class Places:
    """The accounts, and every directory that is somebody's home, whether or not it is under /home."""

    accounts: tuple[Account, ...]
    homes: tuple[str, ...]

    def in_homes(self, *names: str) -> list[str]:
        """The paths of these names in every home; for services, and on small systems for root, that is ``/``."""
        return [f"{home}/{name}" for home in (*self.homes, "") for name in names]


def read_places(root: Root) -> Places:
    """The accounts and homes of the tree. Raises `GuestError`."""
    accounts = tuple(_accounts(root.text("/etc/passwd") or ""))
    given = [account.home for account in accounts if account.home.strip("/")]
    named = [*given, "/root", *(f"/home/{name}" for name in root.names("/home"))]
    if len(named) > _HOMES:
        raise GuestError("guest_too_large", f"The tree has more than {_HOMES} homes", path="/etc/passwd")
    homes = dict.fromkeys(_resolved(root, path) for path in named)
    return Places(accounts, tuple(home for home in homes if home is not None))


def _resolved(root: Root, path: str) -> str | None:
    try:
        resolved = root.resolve(path)
    except GuestError as error:
        if error.code == "guest_not_found":
            return None
        raise
    return resolved if resolved != "/" and root.is_directory(resolved) else None


def _accounts(text: str) -> t.Iterator[Account]:
    for number, fields in records(text):
        if len(fields) >= 4 and not fields[0].startswith(("+", "-")):
            # The C library takes a line that ends early, and a number with blanks before it.
            name, password, uid, _gid, _about, home, shell = [*fields, "", "", ""][:7]
            match = re.match(r"\s*\+?([0-9]{1,10})\Z", uid)
            yield Account(name, password, None if match is None else int(match[1]), home, shell, number)


def records(text: str) -> t.Iterator[tuple[int, list[str]]]:
    """The lines of a file of fields between colons, without empty ones and comments, each with its number from 1."""
    for number, row in enumerate(text.split("\n"), 1):
        if row.strip() and not row.startswith("#"):
            yield number, row.split(":")


def rows(root: Root, path: str) -> t.Iterator[tuple[int, str]]:
    """The lines of a configuration file that say something, each with its number from 1. Raises `GuestError`."""
    for number, row in enumerate((root.text(path) or "").split("\n"), 1):
        text = row.strip()
        if text and not text.startswith(("#", ";")):
            yield number, text


def matching(root: Root, *patterns: str) -> list[str]:
    """The paths that are there and match, where ``*`` in the last part stands for any characters."""
    found: list[str] = []
    for pattern in patterns:
        directory, _slash, name = pattern.rpartition("/")
        if not any(sign in name for sign in "*?["):
            found += [pattern] if root.exists(pattern) else []
            continue
        names = fnmatch.filter(root.names(directory or "/"), name)
        found += [f"{directory}/{each}" for each in names if not each.startswith(".") or name.startswith(".")]
    return list(dict.fromkeys(found))


def files(root: Root, *patterns: str) -> list[str]:
    """Those of `matching` that are files with at least one octet."""
    return [path for path in matching(root, *patterns) if size_of(root, path)]


def size_of(root: Root, path: str) -> int:
    """The size of the regular file that the path leads to; 0 for anything else."""
    status = root.status(path)
    return status.st_size if status is not None and stat.S_ISREG(status.st_mode) else 0


def digest(root: Root, path: str) -> str | None:
    """The first digits of a file's SHA-256, by which the endorser recognises it; None for a large one."""
    if not 0 < size_of(root, path) <= CONFIGURATION:
        return None
    return hashlib.sha256(root.read(path) or b"").hexdigest()[:12]
