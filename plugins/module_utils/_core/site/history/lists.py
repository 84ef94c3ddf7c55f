# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of one list at a site: what was accepted and refused when, signed by whom, and what was decided."""

from __future__ import annotations

import functools
import sqlite3
import typing as t
from dataclasses import dataclass, field

from ...errors import SiteError
from ...imagelist import chronicle
from ..store import journal

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue
    from ..store.journal import Entry


def history(catalogue: Catalogue, name: str, *, between: tuple[str, str] | None = None) -> dict[str, t.Any]:
    """The history of the list `name` (identifier or address), be it subscribed now or not; ``unknown_list``.

    With `between` also what changed between two versions (``option_invalid`` for one that was never accepted). Every
    line of the journal and every message of the list is read and checked: ``journal_damaged``; a message that was
    changed is told under ``problems``.
    """
    row = find(catalogue, name)
    if row is None:
        raise SiteError("unknown_list", f"No list {name!r} is or was subscribed.", name=name)
    told = _Told(catalogue, row["list_id"])
    for entry in journal.read(catalogue.state.journal, after=journal.Head()):
        told.take(entry)
    versions, problems = chronicle.describe(told.kept)
    standing = catalogue.standing_version(row["list_id"])
    return {
        "list": {
            "identifier": row["list_id"],
            "kind": row["kind"],
            "uri": row["uri"],
            "title": standing["title"] if standing else "",
            "subscribed": bool(row["active"]),
        },
        "versions": [
            {**version, "standing": standing is not None and version["number"] == standing["sequence"]}
            for version in versions
        ],
        "refusals": told.refusals,
        "rebaselines": told.rebaselines,
        "subscriptions": told.subscriptions,
        "decisions": told.decisions,
        "difference": chronicle.between(told.kept, *between) if between else None,
        "problems": [problem.as_dict() for problem in problems],
    }


def find(catalogue: Catalogue, name: str) -> sqlite3.Row | None:
    """The list that a name means, one that is subscribed before one that was; None where there is none."""
    return catalogue.row(
        "SELECT * FROM lists WHERE list_id = ? OR uri = ? ORDER BY active DESC, list_id", name.lower(), name
    )


def line(entry: Entry) -> dict[str, t.Any]:
    """What every line of the journal says: when, by whom, and which line it is."""
    return {"at": entry.at, "by": entry.by, "number": entry.sequence}


def decision(entry: Entry) -> dict[str, t.Any]:
    """A line about a decision."""
    keys = ("decision", "target_type", "target", "reason", "author", "until")
    return {**line(entry), **{key: entry.data.get(key) for key in keys}, "list": entry.data.get("list") or None}


@dataclass
class _Told:
    """Gathers what the journal says of one list, line by line."""

    catalogue: Catalogue
    list_id: str
    kept: list[chronicle.Kept] = field(default_factory=list)
    refusals: list[dict[str, t.Any]] = field(default_factory=list)
    rebaselines: list[dict[str, t.Any]] = field(default_factory=list)
    subscriptions: list[dict[str, t.Any]] = field(default_factory=list)
    decisions: list[dict[str, t.Any]] = field(default_factory=list)

    def take(self, entry: Entry) -> None:
        data = entry.data
        if entry.event == "decided":
            if data["target_type"] == "list" and data["target"] == self.list_id:
                self.decisions.append(decision(entry))
        elif data.get("identifier") == self.list_id:
            heard = {
                "accepted": self._accepted,
                "refused": self._refused,
                "rebaselined": self._rebaselined,
                "subscribed": self._subscribed,
                "unsubscribed": self._unsubscribed,
            }.get(entry.event)
            if heard is not None:
                heard(entry)

    def _accepted(self, entry: Entry) -> None:
        data = entry.data
        row = self.catalogue.row("SELECT created, expires FROM versions WHERE sequence = ?", entry.sequence)
        before = self.kept[-1].facts["content_sha512"] if self.kept else None
        facts = {
            **line(entry),
            "version": data["version"],
            "state": "renewed" if data["content_sha512"] == before else "accepted",
            "created": row["created"] if row else None,
            "expires": row["expires"] if row else None,
            "signer": data["signer"],
            "path": data.get("path", []),
            "crls": data.get("crls", []),
            "good_until": data.get("good_until"),
            "message": str(self.catalogue.state.messages / data["message"]),
            "message_sha256": data["message_sha256"],
            "content_sha512": data["content_sha512"],
            "rebaselined": any(
                act["state"] == "pending" and act["digest"] == data["content_sha512"] for act in self.rebaselines
            ),
        }
        for act in self.rebaselines:
            # The standing content signed anew uses no act up.
            if act["state"] == "pending" and (facts["rebaselined"] or facts["state"] == "accepted"):
                act["state"] = "done" if act["digest"] == data["content_sha512"] else "ended"
        load = functools.partial(self.catalogue.load, data["message"], data["message_sha256"])
        self.kept.append(chronicle.Kept(data["version"], facts, load))

    def _refused(self, entry: Entry) -> None:
        self.refusals.append({**line(entry), **{key: entry.data[key] for key in ("code", "detail", "message_sha256")}})

    def _rebaselined(self, entry: Entry) -> None:
        self._end_acts()
        told = {"digest": entry.data["content_sha512"], "reason": entry.data["reason"], "author": entry.data["author"]}
        self.rebaselines.append({**line(entry), **told, "state": "pending"})

    def _subscribed(self, entry: Entry) -> None:
        data = entry.data
        # Of a VO's list of endorsers, those who may sign it are its authorities.
        signers = data.get("endorsers") or data.get("authorities") or []
        self.subscriptions.append({**line(entry), "event": "subscribed", "uri": data["uri"], "endorsers": signers})

    def _unsubscribed(self, entry: Entry) -> None:
        self._end_acts()
        self.subscriptions.append({**line(entry), "event": "unsubscribed", "uri": None, "endorsers": []})

    def _end_acts(self) -> None:
        for act in self.rebaselines:
            if act["state"] == "pending":
                act["state"] = "ended"
