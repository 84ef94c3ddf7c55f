# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index: the journal and the archived messages as SQL tables, derived and rebuilt at will.

`lists`, `versions`, `rebaselines`, `images`, `owners`, `decisions`, `files` and `refusals` hold what the journal says;
`polls` and `paths` are notes of this host (what the server last answered, how the certification path was last judged),
which a rebuild may lose. A schema change raises `SCHEMA`; an older index is rebuilt, a newer one is refused.
"""

from __future__ import annotations

import contextlib
import sqlite3
import typing as t
from pathlib import Path

from ...errors import SiteError
from .journal import Head

SCHEMA: t.Final = 3

_TABLES: t.Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE lists (
    list_id TEXT PRIMARY KEY, uri TEXT NOT NULL, definition TEXT NOT NULL, subscribed_at TEXT NOT NULL,
    active INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE versions (
    sequence INTEGER PRIMARY KEY, list_id TEXT NOT NULL, version TEXT NOT NULL, created TEXT NOT NULL,
    expires TEXT NOT NULL, title TEXT NOT NULL, message TEXT NOT NULL, message_sha256 TEXT NOT NULL,
    content_sha512 TEXT NOT NULL, signer TEXT NOT NULL, accepted_at TEXT NOT NULL
);
CREATE INDEX versions_of_list ON versions (list_id, sequence);
CREATE TABLE rebaselines (
    sequence INTEGER PRIMARY KEY, list_id TEXT NOT NULL, content_sha512 TEXT NOT NULL, reason TEXT NOT NULL,
    author TEXT NOT NULL, at TEXT NOT NULL, state TEXT NOT NULL
);
CREATE TABLE images (
    row INTEGER PRIMARY KEY, list_id TEXT NOT NULL, image_id TEXT NOT NULL, version TEXT NOT NULL,
    sha512 TEXT NOT NULL, size INTEGER NOT NULL, uri TEXT NOT NULL, tag TEXT NOT NULL, expires TEXT,
    metadata TEXT NOT NULL, dated TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER
);
CREATE INDEX images_by_id ON images (image_id, row);
CREATE INDEX images_of_list ON images (list_id, until);
CREATE INDEX images_by_tag ON images (tag, until);
CREATE TABLE owners (image_id TEXT PRIMARY KEY, list_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE decisions (
    target_type TEXT NOT NULL, target TEXT NOT NULL, list_id TEXT NOT NULL, decision TEXT NOT NULL,
    reason TEXT NOT NULL, author TEXT NOT NULL, until TEXT, at TEXT NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (target_type, target, list_id)
) WITHOUT ROWID;
CREATE TABLE files (
    name TEXT PRIMARY KEY, list_id TEXT NOT NULL, image_id TEXT NOT NULL, version TEXT NOT NULL, sha512 TEXT NOT NULL,
    state TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, code TEXT, at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX files_of_image ON files (image_id);
CREATE TABLE refusals (
    list_id TEXT PRIMARY KEY, code TEXT NOT NULL, detail TEXT NOT NULL, message_sha256 TEXT NOT NULL, at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE polls (
    list_id TEXT PRIMARY KEY, refreshed TEXT, etag TEXT, last_modified TEXT, basis TEXT, checked TEXT NOT NULL,
    code TEXT, detail TEXT
) WITHOUT ROWID;
CREATE TABLE paths (list_id TEXT PRIMARY KEY, basis TEXT NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;
"""

#: The tables that a rebuild reproduces row for row.
DERIVED: t.Final = ("lists", "versions", "rebaselines", "images", "owners", "decisions", "files", "refusals")


def connect(path: Path) -> sqlite3.Connection:
    """Open the index, made empty when it is missing, older or damaged; ``state_newer`` when the code is older."""
    connection = _open(path)
    try:
        stamp = _stamp(connection)
    except sqlite3.DatabaseError:
        connection.close()
        discard(path)
        connection, stamp = _open(path), 0
    if stamp > SCHEMA:
        connection.close()
        raise SiteError("state_newer", f"The index {path} has schema {stamp}, this version knows {SCHEMA}.")
    if 0 < stamp < SCHEMA:
        connection.close()
        discard(path)
        connection, stamp = _open(path), 0
    if stamp == 0:
        with immediate(connection):
            if _stamp(connection) == 0:
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
    return connection


def discard(path: Path) -> None:
    """Remove an index, so that the next `connect` makes it anew from the journal."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()


@contextlib.contextmanager
def immediate(connection: sqlite3.Connection) -> t.Iterator[None]:
    """One write transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def head(connection: sqlite3.Connection) -> Head:
    """The last journal line that the index has taken in."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'head'").fetchone()
    if row is None:
        return Head()
    sequence, digest, start, end = row[0].split()
    return Head(int(sequence), digest, int(start), int(end))


def set_head(connection: sqlite3.Connection, value: Head) -> None:
    """Record the last journal line taken in, inside the transaction that took it."""
    connection.execute(
        "INSERT INTO meta VALUES ('head', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (f"{value.sequence} {value.digest} {value.start} {value.end}",),
    )


def _open(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
        connection.row_factory = sqlite3.Row
        with contextlib.suppress(sqlite3.DatabaseError):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
    except sqlite3.OperationalError as error:
        raise SiteError("not_writable", f"The index {path} cannot be opened: {error}.", path=str(path)) from error
    return connection


def _stamp(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
