# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom a blacklist concerns: the lists whose images a decision or a rule forbids, then, later, or with their age."""

from __future__ import annotations

import json
import sqlite3
import typing as t
from datetime import datetime, timezone

from ...times import from_text
from ..judgement.decided import Decided, read_ruleset, subject_of
from ..store.journal import Entry

if t.TYPE_CHECKING:
    from ..rules.rule import Rule
    from ..store.catalogue import Catalogue

_COLUMNS: t.Final[t.Mapping[str, str]] = {"image": "image_id", "tag": "tag", "list": "list_id"}
_LONG_AGO: t.Final = datetime.min.replace(tzinfo=timezone.utc)
_THEN: t.Final = "since <= ? AND (until IS NULL OR until > ?)"


class Concern(t.NamedTuple):
    """A list to whose endorsers a blacklist is told; `target` is what was decided about, as in ``rule:old``."""

    list_id: str
    target: str
    reason: str


def by_decision(catalogue: Catalogue, entry: Entry) -> t.Iterator[Concern]:
    """A blacklist, for each list that held such images at that time and that the decision is meant for."""
    data = entry.data
    if data["decision"] != "blacklist":
        return
    kind, target, meant = data["target_type"], data["target"], data.get("list") or ""
    if kind == "endorser":
        lists = [name for name in data.get("lists", ()) if meant in ("", name)]
    elif kind in _COLUMNS:
        rows = catalogue.rows(
            f"SELECT DISTINCT list_id FROM images WHERE {_COLUMNS[kind]} = ? AND {_THEN} AND (? = '' OR list_id = ?) "
            "ORDER BY list_id",
            target,
            entry.sequence,
            entry.sequence,
            meant,
            meant,
        )
        lists = [row["list_id"] for row in rows]
    else:
        lists = []
    yield from (Concern(name, f"{kind}:{target}", data["reason"]) for name in lists)


def by_rules(entry: Entry) -> t.Iterator[Concern]:
    """What new and changed rules forbid, by what the line itself says of the lists that they concern."""
    reasons = {rule["name"]: rule["reason"] for rule in entry.data["rules"]}
    for name, lists in sorted(entry.data.get("concerns", {}).items()):
        yield from (Concern(list_id, f"rule:{name}", reasons[name]) for list_id in lists)


def by_version(catalogue: Catalogue, entry: Entry) -> t.Iterator[Concern]:
    """A rule that forbids an image of this version of the list, which it did not forbid before."""
    rules = _blacklisting(catalogue, entry.sequence)
    if not rules:
        return
    list_id, now = entry.data["identifier"], from_text(entry.at)
    rows = catalogue.rows("SELECT * FROM images WHERE list_id = ? AND since = ?", list_id, entry.sequence)
    earlier = catalogue.rows("SELECT * FROM images WHERE list_id = ? AND until = ?", list_id, entry.sequence)
    replaced = {row["image_id"]: row for row in earlier}
    whose = _whose(catalogue, list_id, entry.sequence)
    for rule in rules:
        for row in rows:
            before = replaced.get(row["image_id"])
            if _speaks(rule, row, whose, now) and not (before and _speaks(rule, before, whose, now)):
                yield Concern(list_id, f"rule:{rule.name}", rule.reason)
                break


def by_age(catalogue: Catalogue, entry: Entry) -> t.Iterator[Concern]:
    """A rule that an image has grown into before it left the cache: no line but this one tells of it."""
    data = entry.data
    if data.get("code") != "blacklisted":
        return
    row = catalogue.row(
        f"SELECT * FROM images WHERE list_id = ? AND image_id = ? AND {_THEN}",
        data["list"],
        data["image"],
        entry.sequence,
        entry.sequence,
    )
    if row is None:
        return
    whose, now = _whose(catalogue, data["list"], entry.sequence), from_text(entry.at)
    for rule in _blacklisting(catalogue, entry.sequence):
        decision = rule.decide(_subject(row, whose))
        if decision is None or decision.begins is None or not decision.is_in_force(now):
            continue
        if decision.begins > max(_declared(catalogue, rule, entry.sequence), _accepted(catalogue, row["since"])):
            yield Concern(data["list"], f"rule:{rule.name}", rule.reason)


def stands(catalogue: Catalogue, target: str, sequence: int) -> bool:
    """Whether what the line `sequence` told of `target` has been neither taken back nor replaced, nor has ended."""
    kind, _colon, name = target.partition(":")
    if kind == "rule":
        standing = (rule for rule in Decided(catalogue).rules if rule.name == name and rule.decision == "blacklist")
        return any(rule.until is None or rule.until > catalogue.now() for rule in standing)
    row = catalogue.row(
        "SELECT until FROM decisions WHERE target_type = ? AND target = ? AND decision = 'blacklist' AND sequence = ?",
        kind,
        name,
        sequence,
    )
    return row is not None and (row["until"] is None or from_text(row["until"]) > catalogue.now())


def images(catalogue: Catalogue, list_id: str, target: str, sequence: int, now: datetime) -> list[sqlite3.Row]:
    """The images of the list, as it was at the line `sequence`, that are meant; by a rule that stands at `now`."""
    kind, _colon, name = target.partition(":")
    rows = catalogue.rows(
        f"SELECT * FROM images WHERE list_id = ? AND {_THEN} ORDER BY row", list_id, sequence, sequence
    )
    if kind in _COLUMNS:
        return [row for row in rows if row[_COLUMNS[kind]] == name]
    if kind == "rule":
        whose = _whose(catalogue, list_id, sequence)
        rules = [rule for rule in _blacklisting(catalogue, sequence + 1) if rule.name == name]
        return [row for row in rows if any(_speaks(rule, row, whose, now) for rule in rules)]
    return rows


def _blacklisting(catalogue: Catalogue, sequence: int) -> list[Rule]:
    """The rules that forbade something just before the line `sequence`."""
    row = catalogue.row("SELECT rules FROM rulesets WHERE sequence < ? ORDER BY sequence DESC LIMIT 1", sequence)
    return [rule for rule in read_ruleset(row["rules"]) if rule.decision == "blacklist"] if row else []


class _Whose(t.NamedTuple):
    """Where a list is subscribed, the VO that it names, and what its signer is called."""

    address: str
    vo: str
    endorsers: frozenset[str]


def _whose(catalogue: Catalogue, list_id: str, sequence: int) -> _Whose:
    row = catalogue.row(
        "SELECT uri, vo, spellings FROM versions JOIN origins USING (sequence) JOIN lists USING (list_id) "
        "WHERE list_id = ? AND sequence <= ? ORDER BY sequence DESC LIMIT 1",
        list_id,
        sequence,
    )
    return (
        _Whose(row["uri"], row["vo"], Decided(catalogue).called(row["spellings"]))
        if row
        else _Whose("", "", frozenset())
    )


def _subject(row: sqlite3.Row, whose: _Whose) -> t.Any:
    return subject_of(row, address=whose.address, vo=whose.vo, endorsers=whose.endorsers)


def _speaks(rule: Rule, row: sqlite3.Row, whose: _Whose, now: datetime) -> bool:
    decision = rule.decide(_subject(row, whose))
    return decision is not None and decision.is_in_force(now)


def _declared(catalogue: Catalogue, rule: Rule, sequence: int) -> datetime:
    """Since when the rule has stood as it did before the line `sequence`."""
    since = _LONG_AGO
    rows = catalogue.rows("SELECT rules, at FROM rulesets WHERE sequence < ? ORDER BY sequence DESC", sequence)
    for row in rows:
        if rule.as_dict() not in json.loads(row["rules"]):
            break
        since = from_text(row["at"])
    return since


def _accepted(catalogue: Catalogue, sequence: int) -> datetime:
    row = catalogue.row("SELECT accepted_at FROM versions WHERE sequence = ?", sequence)
    return from_text(row["accepted_at"]) if row else _LONG_AGO
