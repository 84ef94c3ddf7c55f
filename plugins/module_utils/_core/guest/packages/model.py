# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a package database says about a package."""

from __future__ import annotations

import re
import typing as t
from dataclasses import asdict, dataclass

from ...errors import GuestError
from ..root.names import shown

#: No database of packages is larger, and no system has more packages.
DATABASE: t.Final = 512 * 1024 * 1024
PACKAGES: t.Final = 100_000

_LONGEST: t.Final = 1000
_NAME: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._@~-]*\Z")


@dataclass(frozen=True)
class Package:
    """`version` is without epoch and release; `release` is None where there is none; `kind`: deb, rpm, pypi or conda.

    `built` and `installed` are times (seconds since 1970), `key` is the id of the key that signed it: rpm alone knows.
    `path` is where it lies, for what no package of the system brought.
    """

    kind: str
    name: str
    version: str
    epoch: int | None = None
    release: str | None = None
    arch: str | None = None
    vendor: str | None = None
    maintainer: str | None = None
    licence: str | None = None
    source: str | None = None
    built: int | None = None
    installed: int | None = None
    key: str | None = None
    path: str | None = None

    @property
    def full_version(self) -> str:
        """[epoch:]version[-release]."""
        epoch = "" if self.epoch is None else f"{self.epoch}:"
        return f"{epoch}{self.version}" + ("" if self.release is None else f"-{self.release}")

    def as_dict(self) -> dict[str, t.Any]:
        return asdict(self)


@dataclass(frozen=True)
class OwnedFile:
    """A file that a package brought: `digest` is that of its content then, in hexadecimal digits; None: not known."""

    package: str
    path: str
    algorithm: str | None = None
    digest: str | None = None
    mode: int | None = None
    config: bool = False
    ghost: bool = False


@dataclass(frozen=True)
class Database:
    """One database: `format` is dpkg, dpkg-status.d, sqlite, ndb or bdb."""

    path: str
    format: str
    packages: tuple[Package, ...]

    def as_dict(self) -> dict[str, t.Any]:
        return {"path": self.path, "format": self.format, "count": len(self.packages)}


def malformed(path: str, what: str) -> GuestError:
    """The refusal of a database that is not as its format has it: never a part of a list, never an empty one."""
    name = shown(path)
    return GuestError("packages_malformed", f"The package database {name} is damaged: {what}", path=name)


def line(text: str | None) -> str | None:
    """A field as one bounded printable line; None for none."""
    short = shown(" ".join((text or "").split()))[:_LONGEST]
    return short or None


def checked(package: Package, path: str) -> Package:
    """`package`, whose name and version are what such a thing can be. Raises `GuestError` (packages_malformed)."""
    if len(package.name) > 255 or _NAME.match(package.name) is None:
        raise malformed(path, f"a package is called {shown(package.name)[:80]!a}")
    if not package.version:
        raise malformed(path, f"{package.name} has no version")
    return package
