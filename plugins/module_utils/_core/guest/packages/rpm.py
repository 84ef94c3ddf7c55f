# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages of rpm: SQLite (EL9, Fedora), ndb (SUSE) and Berkeley DB (EL5 to EL8), read without rpm."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import typing as t
from pathlib import Path

from ..root.tree import Root
from . import berkeley, ndb
from .header import read_files, read_package
from .model import DATABASE, PACKAGES, Database, OwnedFile, malformed

_DIRECTORIES: t.Final = ("/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm")
_STEPS: t.Final = 20_000_000

Values = t.Iterator[tuple[int, bytes]]


def read_rpm(root: Root) -> list[Database]:
    """The databases of rpm in the tree, those without a package as well. Raises `GuestError`.

    One directory may hold two of them after a conversion; rpm itself reads the newest format, and so does this.
    """
    found = []
    for path, kind, headers in _databases(root):
        packages = (read_package(header, path) for header in headers)
        found.append(Database(path, kind, tuple(package for package in packages if package is not None)))
    return found


def read_rpm_files(root: Root) -> t.Iterator[OwnedFile]:
    """Every file of every package in the databases of rpm. Raises `GuestError`."""
    for path, _kind, headers in _databases(root):
        for header in headers:
            yield from read_files(header, path)


def _databases(root: Root) -> t.Iterator[tuple[str, str, t.Iterator[bytes]]]:
    """The path, format and headers of each database."""
    places = {root.resolve(path): None for path in _DIRECTORIES if root.is_directory(path)}
    for place in places:
        for name, kind in (("rpmdb.sqlite", "sqlite"), ("Packages.db", "ndb"), ("Packages", "bdb")):
            path = f"{place}/{name}"
            octets = root.read(path, limit=DATABASE)
            if octets is not None:
                yield path, kind, _headers(_values(root, path, kind, octets), path)
                break


def _values(root: Root, path: str, kind: str, octets: bytes) -> Values:
    if kind == "sqlite":
        return _sqlite(octets, root.read(f"{path}-wal", limit=DATABASE), path)
    return ndb.values(octets, path) if kind == "ndb" else berkeley.values(octets, path)


def _headers(values: Values, path: str) -> t.Iterator[bytes]:
    count = 0
    for number, value in values:
        if number == 0:
            continue
        count += 1
        if count > PACKAGES:
            raise malformed(path, f"it has more than {PACKAGES} packages")
        yield value


def _sqlite(octets: bytes, journal: bytes | None, path: str) -> Values:
    """SQLite writes beside a database even when it only reads: it gets a copy, with its write-ahead log."""
    with tempfile.TemporaryDirectory(prefix="hepix-") as directory:
        copy = Path(directory, "rpmdb.sqlite")
        copy.write_bytes(octets)
        if journal is not None:
            Path(directory, "rpmdb.sqlite-wal").write_bytes(journal)
        try:
            yield from _rows(copy, path)
        except sqlite3.Error as error:
            raise malformed(path, str(error)) from error


def _rows(copy: Path, path: str) -> Values:
    with contextlib.closing(sqlite3.connect(copy)) as database:
        steps = iter(range(_STEPS // 1000))
        database.set_progress_handler(lambda: next(steps, None) is None, 1000)
        database.execute("PRAGMA trusted_schema=OFF")
        columns = {row[1]: row[6] for row in database.execute("PRAGMA table_xinfo('Packages')")}
        kind = database.execute(
            "SELECT type, sql FROM sqlite_master WHERE name = 'Packages' AND type IN ('table', 'view')"
        ).fetchone()
        # A view, a virtual table or a computed column is a program of the image's; none is run.
        plain = kind is not None and kind[0] == "table" and not str(kind[1]).upper().startswith("CREATE VIRTUAL")
        if not plain or columns.get("hnum") != 0 or columns.get("blob") != 0:
            raise malformed(path, "it has no table of packages")
        for number, value in database.execute("SELECT hnum, blob FROM Packages ORDER BY hnum"):
            if not isinstance(number, int) or not isinstance(value, bytes):
                raise malformed(path, "a row of it is no package")
            yield number, value
