# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the journal to the index, as far as endorsers go: who is registered, which (DN, CA) pairs were taken away, and
whom the endorser lists name.

A pair belongs to one endorser. One that an endorser held and holds no more stays in the table as *barred*: it
authorises nobody, whoever names it, until an endorser is declared with it again.
"""

from __future__ import annotations

import json
import sqlite3
import typing as t

from ....endorserlist.model import EndorserList
from ..journal import Entry


def declared(connection: sqlite3.Connection, entry: Entry, load: t.Any) -> None:
    """``endorser``: this is who the endorser is now; pairs that it held before and are not named are barred."""
    data = entry.data
    _record(connection, entry, active=True)
    _bar(connection, entry)
    for pair in data["pairs"]:
        _set(connection, entry, pair, held=True)


def removed(connection: sqlite3.Connection, entry: Entry, load: t.Any) -> None:
    """``endorser_removed``: all pairs that the endorser held, and those that the line names, are barred."""
    _record(connection, entry, active=False)
    _bar(connection, entry)
    for pair in entry.data["pairs"]:
        _set(connection, entry, pair, held=False)


def named(connection: sqlite3.Connection, entry: Entry, content: EndorserList) -> None:
    """``accepted`` of an endorser list: whom it names from now on."""
    list_id = entry.data["identifier"]
    before = {
        row["person"]: row
        for row in connection.execute("SELECT * FROM members WHERE list_id = ? AND until IS NULL", (list_id,))
    }
    for member in content.members:
        definition = json.dumps(member.as_dict(), sort_keys=True)
        standing = before.get(member.identifier)
        if standing is not None and standing["definition"] == definition:
            del before[member.identifier]
            continue
        connection.execute(
            "INSERT INTO members (list_id, person, definition, since) VALUES (?, ?, ?, ?)",
            (list_id, member.identifier, definition, entry.sequence),
        )
    for gone in before.values():
        connection.execute("UPDATE members SET until = ? WHERE row = ?", (entry.sequence, gone["row"]))


def _record(connection: sqlite3.Connection, entry: Entry, *, active: bool) -> None:
    data = entry.data
    connection.execute(
        "INSERT OR REPLACE INTO endorsers VALUES (?, ?, ?, ?, ?, ?)",
        (data["name"], json.dumps(data, sort_keys=True), active, data["author"], data.get("reason", ""), entry.at),
    )


def _bar(connection: sqlite3.Connection, entry: Entry) -> None:
    data = entry.data
    connection.execute(
        "UPDATE endorser_pairs SET held = 0, author = ?, reason = ?, at = ? WHERE name = ? AND held = 1",
        (data["author"], data.get("reason", ""), entry.at, data["name"]),
    )


def _set(connection: sqlite3.Connection, entry: Entry, pair: t.Mapping[str, str], *, held: bool) -> None:
    data = entry.data
    connection.execute(
        "INSERT OR REPLACE INTO endorser_pairs VALUES (?, ?, ?, ?, ?, ?, ?)",
        (pair["dn"], pair["ca"], data["name"], held, data["author"], data.get("reason", ""), entry.at),
    )
