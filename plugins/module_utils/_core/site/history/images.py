# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history of images at a site: who endorsed them, when and in which versions; what was decided and done."""

from __future__ import annotations

import json
import sqlite3
import typing as t
from dataclasses import dataclass, field

from ...errors import VmimagesError
from .. import queries
from ..judgement.decided import Decided, read_ruleset
from ..judgement.records import list_records
from ..store import journal
from .lists import decision, line

if t.TYPE_CHECKING:
    from ..matching import Subject
    from ..rules.rule import Rule
    from ..store.catalogue import Catalogue
    from ..store.journal import Entry

#: The events of the cache, and what they are about.
_FILES: t.Final = frozenset({"cached", "expired", "damaged", "purged", "lost"})


def history(catalogue: Catalogue, image_ids: t.Iterable[str]) -> dict[str, dict[str, t.Any]]:
    """The history of each image (UUIDs that the catalogue knows): the journal is read once for all of them.

    Every line of it is checked (``journal_damaged``), and every message that holds an image: ``intact`` is false for
    one that was changed.
    """
    messages = _Messages(catalogue)
    told = {name: _told(catalogue, name, messages) for name in image_ids}
    called: dict[tuple[str, str], list[_Told]] = {}
    for one in told.values():
        for target in one.names:
            called.setdefault(target, []).append(one)
    # Most lines are about other images, or about one of very many: none is shown to all of them.
    for entry in journal.read(catalogue.state.journal, after=journal.Head()):
        if entry.event == "decided":
            for one in called.get((entry.data["target_type"], entry.data["target"]), ()):
                one.decisions.append(decision(entry))
        elif entry.event == "rules":
            rules = read_ruleset(json.dumps(entry.data["rules"]))
            for one in told.values():
                one.rule(entry, rules)
        elif entry.event in _FILES:
            found = told.get(str(entry.data["name"]).partition("_")[0])
            if found is not None:
                found.place(entry)
    return {name: one.as_dict() for name, one in told.items()}


@dataclass
class _Messages:
    """The kept messages, each of them read once: one message holds many images."""

    catalogue: Catalogue
    known: dict[int, bool] = field(default_factory=dict)

    def intact(self, version: sqlite3.Row) -> bool:
        """Whether the message of a row of `versions` is the one that was accepted."""
        if version["sequence"] not in self.known:
            try:
                self.catalogue.load(version["message"], version["message_sha256"])
                self.known[version["sequence"]] = True
            except VmimagesError:
                self.known[version["sequence"]] = False
        return self.known[version["sequence"]]


@dataclass
class _Told:
    """Gathers what the journal says of one image, line by line.

    `names` are what decisions may call it: (kind of target, target); `subjects` are what it is in each of its lists,
    for the rules.
    """

    identifier: str
    appearances: list[dict[str, t.Any]]
    endorsements: list[dict[str, t.Any]]
    holders: list[dict[str, t.Any]]
    names: set[tuple[str, str]]
    subjects: list[Subject]
    decisions: list[dict[str, t.Any]] = field(default_factory=list)
    events: list[dict[str, t.Any]] = field(default_factory=list)
    ruled: dict[str, dict[str, t.Any]] = field(default_factory=dict)

    def place(self, entry: Entry) -> None:
        """What the cache did with a file of the image."""
        data = entry.data
        told = {key: data.get(key) for key in ("version", "sha512", "list", "code")}
        self.events.append({**line(entry), "event": entry.event, "file": data["name"], **told})

    def rule(self, entry: Entry, standing: t.Iterable[Rule]) -> None:
        """A rule that begins, changes or ends to speak of the image is a decision about it."""
        found = {
            rule.name: rule.as_dict()
            for rule in standing
            if any(rule.decide(subject) is not None for subject in self.subjects)
        }
        for name in sorted({*found, *self.ruled}):
            if found.get(name) == self.ruled.get(name):
                continue
            rule = found.get(name)
            said = {key: rule[key] if rule else None for key in ("reason", "until")}
            self.decisions.append(
                {
                    **line(entry),
                    "decision": rule["decision"] if rule else "clear",
                    "target_type": "rule",
                    "target": name,
                    "author": rule["author"] if rule else entry.data.get("author"),
                    "list": None,
                    **said,
                }
            )
        self.ruled = found

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "appearances": self.appearances,
            "endorsements": self.endorsements,
            "decisions": self.decisions,
            "events": self.events,
            "holders": self.holders,
        }


def _told(catalogue: Catalogue, image_id: str, messages: _Messages) -> _Told:
    rows = catalogue.rows("SELECT * FROM images WHERE image_id = ? ORDER BY row", image_id)
    lists = list_records(catalogue, {row["list_id"] for row in rows})
    decided = Decided(catalogue)
    latest = {row["list_id"]: row for row in rows}
    subjects = [decided.subject(row, lists[list_id]) for list_id, row in latest.items()]
    endorsements = [one for row in rows for one in _endorsements(catalogue, row, messages)]
    signers = {("endorser", name) for subject in subjects for name in subject.endorsers}
    return _Told(
        identifier=image_id,
        appearances=[_appearance(catalogue, row) for row in rows],
        endorsements=sorted(endorsements, key=lambda one: int(one["number"])),
        holders=queries.holders(catalogue, rows[-1]["sha512"]) if rows else [],
        names={
            ("image", image_id),
            *(("tag", row["tag"]) for row in rows),
            *(("list", list_id) for list_id in lists),
            *signers,
        },
        subjects=subjects,
    )


def _appearance(catalogue: Catalogue, row: sqlite3.Row) -> dict[str, t.Any]:
    """One state of the image in one list: what it was, and from which version on until which one."""
    return {
        "list": row["list_id"],
        "version": row["version"],
        "sha512": row["sha512"],
        "size": row["size"],
        "title": str(json.loads(row["metadata"]).get("dc:title", "")),
        "uri": row["uri"],
        "since": _version(catalogue, row["since"]),
        "until": _version(catalogue, row["until"]) if row["until"] is not None else None,
    }


def _version(catalogue: Catalogue, sequence: int) -> dict[str, t.Any]:
    row = catalogue.row("SELECT version, accepted_at FROM versions WHERE sequence = ?", sequence)
    return {"list_version": row["version"] if row else None, "at": row["accepted_at"] if row else None}


def _endorsements(catalogue: Catalogue, row: sqlite3.Row, messages: _Messages) -> t.Iterator[dict[str, t.Any]]:
    """Every accepted version of the list that holds this state of the image, with who signed it."""
    versions = catalogue.rows(
        "SELECT * FROM versions WHERE list_id = ? AND sequence >= ? AND (? IS NULL OR sequence < ?) ORDER BY sequence",
        row["list_id"],
        row["since"],
        row["until"],
        row["until"],
    )
    for version in versions:
        yield {
            "list": row["list_id"],
            "list_version": version["version"],
            "version": row["version"],
            "sha512": row["sha512"],
            "number": version["sequence"],
            "at": version["accepted_at"],
            "created": version["created"],
            "expires": version["expires"],
            "signer": json.loads(version["signer"]),
            "message_sha256": version["message_sha256"],
            "intact": messages.intact(version),
        }
