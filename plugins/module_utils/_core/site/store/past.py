# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue as the journal had it at an earlier time, for audits: it can be read, and leaves nothing behind.

The journal's lines up to that time are replayed into an index of its own. Where the present index is at hand, what the
accepted messages said is taken from it, which read them when they were accepted; else they are all read again.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import sqlite3
import typing as t
from dataclasses import dataclass
from datetime import datetime

from ...endorserlist.kinds import IMAGE_LIST
from ...errors import SiteError
from ...times import to_text
from . import archive, index, journal
from .catalogue import Catalogue
from .journal import Entry
from .replay import events as replay
from .replay import touched
from .state import StateDirectory

#: The tables that have one row for each message of an image list.
_OF_MESSAGES: t.Final = ("versions", "origins")
_Take = t.Callable[[sqlite3.Connection, Entry], None]


@dataclass(frozen=True)
class Moment:
    """The last journal line that counts: its number and its time, None where there was none yet.

    `doubt` is a sentence where the site's clock went back, so that later lines are dated before that moment as well.
    """

    when: datetime
    sequence: int
    at: str | None
    doubt: str | None


@dataclass
class Past(Catalogue):
    """A catalogue of another time; it is not written."""

    moment: Moment

    def catch_up(self) -> None:
        """There is nothing to catch up with."""

    def rebuild(self) -> None:
        """There is nothing to make anew."""

    def writing(self) -> t.NoReturn:
        """The past is not written."""
        raise SiteError("internal_error", f"The state of {to_text(self.moment.when)} was to be changed.")


@contextlib.contextmanager
def opened(
    state: StateDirectory,
    when: datetime,
    *,
    source: Catalogue | None = None,
    images: t.Collection[str] | None = None,
) -> t.Iterator[Past]:
    """The catalogue of `state` as of `when`.

    `source` is the present one, for whoever may open it: much faster. With `images` (UUIDs) only those are in it.
    Raises ``journal_damaged``, and without `source` also ``archive_damaged`` and ``not_readable``.
    """
    connection = index.temporary()
    try:
        with index.immediate(connection):
            # Lines that come in meanwhile are not in the present index, or not yet.
            known = None if source is None else source.head().sequence
            take = _from_messages(state) if source is None else _FromIndex(source, images)
            moment = _replay(state, when, connection, take, known)
        yield Past(state, connection, lambda: when, "", lambda text: None, moment)
    finally:
        connection.close()


def _replay(
    state: StateDirectory, when: datetime, connection: sqlite3.Connection, take: _Take, known: int | None
) -> Moment:
    """Take the lines before the first one that is dated later; the chain of all lines, up to `known`, is checked."""
    limit = to_text(when)
    last = later = early = None
    for entry in journal.read(state.journal, after=journal.Head()):
        if known is not None and entry.sequence > known:
            break
        if later is None and entry.at <= limit:
            take(connection, entry)
            last = entry
        elif entry.at <= limit:
            early = entry
        else:
            later = later or entry
    if last is not None:
        index.set_head(connection, last.head)
    doubt = None
    if later is not None and early is not None:
        doubt = (
            f"The site's clock went back: line {later.sequence} of the journal is dated {later.at}, and line "
            f"{early.sequence} after it {early.at}. The lines before line {later.sequence} count."
        )
    return Moment(when, last.sequence if last else 0, last.at if last else None, doubt)


def _from_messages(state: StateDirectory) -> _Take:
    load = functools.partial(archive.load, state.messages)

    def take(connection: sqlite3.Connection, entry: Entry) -> None:
        replay.apply(connection, entry, load)

    return take


class _FromIndex:
    """Takes the rows of accepted messages from the present index, in the order in which they were made."""

    def __init__(self, source: Catalogue, images: t.Collection[str] | None) -> None:
        ask = source.connection.execute
        among = "" if images is None else f"WHERE image_id IN ({', '.join('?' * len(images))})"
        self._load = source.load
        self._messages = {
            table: _Ahead(ask(f"SELECT * FROM {table} ORDER BY sequence"), "sequence") for table in _OF_MESSAGES
        }
        self._images = _Ahead(ask(f"SELECT * FROM images {among} ORDER BY row", tuple(images or ())), "since")
        self._ends: dict[int, list[int]] = {}
        self._tag_keys = {
            row["list_id"]: _tag_key(row["definition"]) for row in source.rows("SELECT list_id, definition FROM lists")
        }

    def __call__(self, connection: sqlite3.Connection, entry: Entry) -> None:
        if entry.event != "accepted":
            replay.apply(connection, entry, self._load)
            return
        list_id = entry.data["identifier"]
        known = connection.execute("SELECT kind, definition FROM lists WHERE list_id = ?", (list_id,)).fetchone()
        said = {table: rows.take(entry.sequence) for table, rows in self._messages.items()}
        rows = self._images.take(entry.sequence)
        if known["kind"] != IMAGE_LIST:
            replay.apply(connection, entry, self._load)
            return
        replay.settle_rebaselines(connection, list_id, entry.data["content_sha512"])
        for table, (row,) in said.items():
            _insert(connection, table, row)
        connection.execute("DELETE FROM refusals WHERE list_id = ?", (list_id,))
        for ended in self._ends.pop(entry.sequence, ()):
            connection.execute("UPDATE images SET until = ? WHERE row = ?", (entry.sequence, ended))
        for row in rows:
            self._add(connection, entry, row, _tag_key(known["definition"]))
        touched.after(connection, entry)

    def _add(self, connection: sqlite3.Connection, entry: Entry, row: sqlite3.Row, tag_key: str) -> None:
        tag = row["tag"]
        if tag_key != self._tag_keys[row["list_id"]]:
            tag = replay.tag_of(json.loads(row["metadata"]), tag_key)
        _insert(connection, "images", {**row, "tag": tag, "until": None})
        replay.own(connection, entry, row["image_id"], row["list_id"])
        if row["until"] is not None:
            self._ends.setdefault(row["until"], []).append(row["row"])


class _Ahead:
    """Rows in the order of one of their columns, taken value by value."""

    def __init__(self, rows: t.Iterator[sqlite3.Row], column: str) -> None:
        self._groups = itertools.groupby(rows, key=lambda row: int(row[column]))
        self._next = next(self._groups, None)

    def take(self, value: int) -> list[sqlite3.Row]:
        """The rows with this value; values are asked for in rising order."""
        if self._next is None or self._next[0] != value:
            return []
        rows = list(self._next[1])
        self._next = next(self._groups, None)
        return rows


def _insert(connection: sqlite3.Connection, table: str, row: sqlite3.Row | t.Mapping[str, t.Any]) -> None:
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118 (a Row iterates over its values)
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


@functools.lru_cache(maxsize=4096)
def _tag_key(definition: str) -> str:
    return str(json.loads(definition).get("tag_key", "dc:title"))
