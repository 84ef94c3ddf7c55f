# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which lists a journal line touches: on whose images a verdict may be another after it.

The snapshot keeps what it said about a list that no line has touched since. An event that is not known here touches all
lists. What the host itself finds out, certification paths, polls and the files' stat, is no line: the snapshot asks.
"""

from __future__ import annotations

import sqlite3
import typing as t

from ..journal import Entry

#: Stands for all lists in the table `touched`.
ALL: t.Final = ""

#: Events after which no verdict on an image is another, but for what the snapshot asks for itself.
_NONE: t.Final = frozenset({"rebaselined", "refused", "scrubbed", "derived", "underived", "installed", "uninstalled"})
_FILES: t.Final = frozenset({"cached", "expired", "damaged", "purged", "lost"})
_TARGETS: t.Final = {"image": "image_id", "tag": "tag"}


def before(connection: sqlite3.Connection, entry: Entry) -> None:
    """Note the lists that `entry` touches by what it is about to take away."""
    if entry.event in _FILES:
        row = connection.execute("SELECT image_id FROM files WHERE name = ?", (entry.data["name"],)).fetchone()
        if row is not None:
            _holders(connection, entry, "image_id", row["image_id"])


def after(connection: sqlite3.Connection, entry: Entry) -> None:
    """Note the lists that `entry`, which was taken in, touches."""
    event, data = entry.event, entry.data
    if event in _NONE:
        return
    if event in _FILES:
        if "image" in data:
            _holders(connection, entry, "image_id", data["image"])
    elif event in ("accepted", "subscribed"):
        # Whom a list of endorsers names may be meant anywhere.
        _mark(connection, entry, data["identifier"] if _has_images(connection, data["identifier"]) else ALL)
    elif event == "unsubscribed":
        _mark(connection, entry, data["identifier"])
        _sharing(connection, entry, data["identifier"])
    elif event == "decided" and data["target_type"] in _TARGETS:
        _holders(connection, entry, _TARGETS[data["target_type"]], data["target"])
    elif event == "decided" and data["target_type"] == "list":
        _mark(connection, entry, data["target"])
    else:
        _mark(connection, entry, ALL)


def owned(connection: sqlite3.Connection, entry: Entry, image_id: str) -> None:
    """Note that a UUID which nobody owned has an owner now: all lists that hold it are touched."""
    _holders(connection, entry, "image_id", image_id)


def _has_images(connection: sqlite3.Connection, list_id: str) -> bool:
    row = connection.execute("SELECT kind FROM lists WHERE list_id = ?", (list_id,)).fetchone()
    return row is not None and row["kind"] == "imagelist"


def _mark(connection: sqlite3.Connection, entry: Entry, list_id: str) -> None:
    connection.execute("INSERT OR REPLACE INTO touched VALUES (?, ?)", (list_id, entry.sequence))


def _holders(connection: sqlite3.Connection, entry: Entry, column: str, value: str) -> None:
    connection.execute(
        f"INSERT OR REPLACE INTO touched SELECT DISTINCT list_id, ? FROM images WHERE {column} = ?",
        (entry.sequence, value),
    )


def _sharing(connection: sqlite3.Connection, entry: Entry, list_id: str) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO touched SELECT DISTINCT list_id, ? FROM images WHERE image_id IN "
        "(SELECT image_id FROM images WHERE list_id = ?)",
        (entry.sequence, list_id),
    )
