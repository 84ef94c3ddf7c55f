# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The index: the journal and the archived messages as SQL tables, derived and rebuilt at will.

`lists`, `versions`, `origins` (whose a version is: the signer's names in each spelling, the VO), `rebaselines`,
`images`, `owners`, `decisions`, `rulesets`, `files`, `scrubs` (when a file was last read), `derived` (what was made of
the files), `installed`, `refusals`, `endorsers`, `endorser_pairs`, `members` (whom the endorser lists name) and
`touched` (see there) hold what the journal says; `polls`, `paths` and `underivable` are notes of this host (what the
server last answered, how the certification path was last judged, of which files nothing can be made), which a rebuild
may lose. A schema change raises `SCHEMA`; an older index is rebuilt, a newer one is refused.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import typing as t
from pathlib import Path

from ...errors import SiteError
from .journal import Head

SCHEMA: t.Final = 4

#: Seconds to wait for another process that writes to the index.
PATIENCE = 30.0
#: Octets that SQLite needs beside a database for its shared memory and the beginning of its log.
_ROOM: t.Final = 128 * 1024

_TABLES: t.Final = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE lists (
    list_id TEXT PRIMARY KEY, uri TEXT NOT NULL, definition TEXT NOT NULL, subscribed_at TEXT NOT NULL,
    active INTEGER NOT NULL, kind TEXT NOT NULL, ended TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE versions (
    sequence INTEGER PRIMARY KEY, list_id TEXT NOT NULL, version TEXT NOT NULL, created TEXT NOT NULL,
    expires TEXT NOT NULL, title TEXT NOT NULL, message TEXT NOT NULL, message_sha256 TEXT NOT NULL,
    content_sha512 TEXT NOT NULL, signer TEXT NOT NULL, accepted_at TEXT NOT NULL
);
CREATE INDEX versions_of_list ON versions (list_id, sequence);
CREATE TABLE origins (sequence INTEGER PRIMARY KEY, spellings TEXT NOT NULL, vo TEXT NOT NULL);
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
CREATE INDEX images_of_list ON images (list_id, image_id, until);
CREATE INDEX images_by_tag ON images (tag, until);
CREATE INDEX images_by_sha512 ON images (substr(sha512, 1, 16));
CREATE TABLE owners (image_id TEXT PRIMARY KEY, list_id TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE decisions (
    target_type TEXT NOT NULL, target TEXT NOT NULL, list_id TEXT NOT NULL, decision TEXT NOT NULL,
    reason TEXT NOT NULL, author TEXT NOT NULL, until TEXT, at TEXT NOT NULL, sequence INTEGER NOT NULL,
    PRIMARY KEY (target_type, target, list_id)
) WITHOUT ROWID;
CREATE TABLE rulesets (sequence INTEGER PRIMARY KEY, rules TEXT NOT NULL, at TEXT NOT NULL);
CREATE TABLE files (
    name TEXT PRIMARY KEY, list_id TEXT NOT NULL, image_id TEXT NOT NULL, version TEXT NOT NULL, sha512 TEXT NOT NULL,
    state TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL, code TEXT, at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX files_of_image ON files (image_id);
CREATE TABLE scrubs (name TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE derived (
    name TEXT PRIMARY KEY, source_sha512 TEXT NOT NULL, source_format TEXT NOT NULL, format TEXT NOT NULL,
    sha512 TEXT NOT NULL, virtual_size INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, at TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX derived_of_source ON derived (substr(source_sha512, 1, 16));
CREATE TABLE installed (
    host TEXT NOT NULL, path TEXT NOT NULL, image_id TEXT NOT NULL, list_id TEXT NOT NULL, format TEXT NOT NULL,
    sha512 TEXT NOT NULL, method TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, at TEXT NOT NULL, PRIMARY KEY (host, path)
) WITHOUT ROWID;
CREATE TABLE refusals (
    list_id TEXT PRIMARY KEY, code TEXT NOT NULL, detail TEXT NOT NULL, message_sha256 TEXT NOT NULL, at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE endorsers (
    name TEXT PRIMARY KEY, definition TEXT NOT NULL, active INTEGER NOT NULL, author TEXT NOT NULL,
    reason TEXT NOT NULL, at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE endorser_pairs (
    dn TEXT NOT NULL, ca TEXT NOT NULL, name TEXT NOT NULL, held INTEGER NOT NULL, author TEXT NOT NULL,
    reason TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (dn, ca)
) WITHOUT ROWID;
CREATE TABLE members (
    row INTEGER PRIMARY KEY, list_id TEXT NOT NULL, person TEXT NOT NULL, definition TEXT NOT NULL,
    since INTEGER NOT NULL, until INTEGER
);
CREATE INDEX members_of_list ON members (list_id, until);
CREATE TABLE touched (list_id TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE polls (
    list_id TEXT PRIMARY KEY, refreshed TEXT, etag TEXT, last_modified TEXT, basis TEXT, checked TEXT NOT NULL,
    code TEXT, detail TEXT
) WITHOUT ROWID;
CREATE TABLE paths (list_id TEXT PRIMARY KEY, basis TEXT NOT NULL, status TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE underivable (
    source_sha512 TEXT NOT NULL, source_format TEXT NOT NULL, most INTEGER NOT NULL, code TEXT NOT NULL,
    detail TEXT NOT NULL, PRIMARY KEY (source_sha512, source_format, most)
) WITHOUT ROWID;
"""

#: The tables that a rebuild reproduces row for row.
DERIVED: t.Final = (
    "lists",
    "versions",
    "origins",
    "rebaselines",
    "images",
    "owners",
    "decisions",
    "rulesets",
    "files",
    "scrubs",
    "derived",
    "installed",
    "refusals",
    "endorsers",
    "endorser_pairs",
    "members",
    "touched",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open the index, made empty when it is missing, older or damaged; ``state_newer`` when the code is older.

    Only what cannot be read as a database is thrown away: an index that is locked, or that a full or read-only file
    system does not let us open, is refused (see `faults`).
    """
    with faults(path):
        try:
            return _connect(path)
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
        discard(path)
        return _connect(path)


def temporary() -> sqlite3.Connection:
    """An empty index that SQLite keeps in memory, or in a file without a name where it is large; it leaves nothing."""
    connection = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")
    for statement in _TABLES.split(";"):
        connection.execute(statement)
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = _open(path)
    try:
        stamp = _stamp(connection)
        if stamp > SCHEMA:
            raise SiteError("state_newer", f"The index {path} has schema {stamp}, this version knows {SCHEMA}.")
        if 0 < stamp < SCHEMA:
            connection.close()
            discard(path)
            connection, stamp = _open(path), 0
        if stamp == 0:
            _create(connection, path)
        _keep_private(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection, path: Path) -> None:
    # Where the file system does not allow it, the index is good without.
    with contextlib.suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode = WAL")
    with immediate(connection):
        if _stamp(connection) == 0:
            for statement in _TABLES.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _keep_private(path: Path) -> None:
    """Whoever may read the index, or the memory that SQLite shares beside it, may lock it; it is read by its owner."""
    for one in (path, path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(OSError):
            if one.stat().st_mode & 0o077:
                one.chmod(0o600)


@contextlib.contextmanager
def faults(path: Path) -> t.Iterator[None]:
    """Turn what SQLite cannot do with the index at `path` into a refusal; a mistake of ours stays as it is.

    Codes: ``disk_full``, ``not_writable``, ``state_busy``, ``index_damaged``.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        refusal = _refusal(error, path)
        if refusal is None:
            raise
        raise refusal from error


def _refusal(error: sqlite3.DatabaseError, path: Path) -> SiteError | None:
    # Python 3.9 and 3.10 give SQLite's error code in no other way than by its words.
    text = str(error)
    if _is_damage(error):
        return SiteError("index_damaged", f"The index {path} is damaged: {text}.", path=str(path))
    if not isinstance(error, sqlite3.OperationalError):
        return None
    if "locked" in text or "locking protocol" in text:
        return SiteError("state_busy", f"The index {path} is held by another process.", path=str(path))
    if "full" in text or (("unable to open" in text or "I/O" in text) and _is_full(path.parent)):
        return SiteError("disk_full", f"The file system of the index {path} is full.", path=str(path))
    if any(words in text for words in ("unable to open", "I/O", "readonly")):
        return SiteError("not_writable", f"The index {path} cannot be used: {text}.", path=str(path))
    return None


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    # A full disk or a lock is an OperationalError, and no reason to throw anything away.
    return not isinstance(error, sqlite3.OperationalError) and any(
        words in str(error) for words in ("not a database", "malformed")
    )


def _is_full(directory: Path) -> bool:
    """Whether there is no room for SQLite's own files; it tells some of these errors from others by no word."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _ROOM or (found.f_files > 0 and found.f_favail == 0)


def peek(path: Path) -> Head | None:
    """The head of the index as it is, None where it cannot be told; nothing is made or mended."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=PATIENCE)) as connection:
            return head(connection)
    except (sqlite3.Error, ValueError):
        return None


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
        connection.execute("COMMIT")
    except BaseException:
        # SQLite itself has rolled back where the disk is full; the first error is the one to tell.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


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
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _stamp(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])
