# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the journal to the index, as far as files go: those in the cache, those derived from them, those installed."""

from __future__ import annotations

import sqlite3
import typing as t

from ..journal import Entry

_STAT: t.Final = ("size", "mtime_ns", "ctime_ns", "inode")


def placed(state: str) -> t.Callable[[sqlite3.Connection, Entry, t.Any], None]:
    """``cached``, ``expired`` and ``damaged``: this is where the file lies now."""

    def handler(connection: sqlite3.Connection, entry: Entry, load: t.Any) -> None:
        data = entry.data
        # What was moved without proof that it is what was verified counts for nothing until it is read again.
        kept = "unverified" if state == "expired" and data.get("verified") is not True else state
        connection.execute(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(data[key] for key in ("name", "list", "image", "version", "sha512")),
                kept,
                *_stat(data),
                data.get("code"),
                entry.at,
            ),
        )
        # A file that comes back from `expired` unread has no octets in its line.
        if state == "current" and "octets" in data:
            _read(connection, data["name"], entry.at)

    return handler


def dropped(connection: sqlite3.Connection, entry: Entry, load: t.Any) -> None:
    """``purged`` and ``lost``: the file is no more."""
    connection.execute("DELETE FROM files WHERE name = ?", (entry.data["name"],))
    connection.execute("DELETE FROM scrubs WHERE name = ?", (entry.data["name"],))


def scrubbed(connection: sqlite3.Connection, entry: Entry, load: t.Any) -> None:
    """``scrubbed``: the file was read from end to end, and was what it should be."""
    _read(connection, entry.data["name"], entry.at)


def derived(connection: sqlite3.Connection, entry: Entry, load: t.Any) -> None:
    """``derived``: a file was made of an image's file, and is known by its own digest."""
    data = entry.data
    keys = ("name", "source_sha512", "source_format", "format", "sha512", "virtual_size")
    connection.execute(
        "INSERT OR REPLACE INTO derived VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*(data[key] for key in keys), *_stat(data), entry.at),
    )
    _read(connection, data["name"], entry.at)


def underived(connection: sqlite3.Connection, entry: Entry, load: t.Any) -> None:
    """``underived``: the derived file is no more."""
    connection.execute("DELETE FROM derived WHERE name = ?", (entry.data["name"],))
    connection.execute("DELETE FROM scrubs WHERE name = ?", (entry.data["name"],))


def installed(connection: sqlite3.Connection, entry: Entry, load: t.Any) -> None:
    """``installed``: a file of the cache was brought to a place outside of it."""
    data = entry.data
    keys = ("host", "path", "image", "list", "format", "sha512", "method")
    connection.execute(
        "INSERT OR REPLACE INTO installed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*(data[key] for key in keys), *_stat(data), entry.at),
    )


def uninstalled(connection: sqlite3.Connection, entry: Entry, load: t.Any) -> None:
    """``uninstalled``: it is there no longer."""
    data = entry.data
    connection.execute("DELETE FROM installed WHERE host = ? AND path = ?", (data["host"], data["path"]))


def _stat(data: t.Mapping[str, t.Any]) -> tuple[int, ...]:
    return tuple(data["stat"][key] for key in _STAT)


def _read(connection: sqlite3.Connection, name: str, at: str) -> None:
    connection.execute("INSERT OR REPLACE INTO scrubs VALUES (?, ?)", (name, at))
