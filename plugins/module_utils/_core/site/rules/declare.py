# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declare the rules of the site: the whole set at once, as it is reviewed, in place of the one before."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime

from ...outcome import Outcome
from ...times import to_text
from ..judgement import snapshot
from ..judgement.assess import active_lists
from ..judgement.decided import Decided
from ..judgement.records import list_records
from .rule import Rule, read_rules

if t.TYPE_CHECKING:
    import sqlite3

    from ..store.catalogue import Catalogue

#: How many of the images that a rule speaks of a result names; all are counted.
MOST_IMAGES: t.Final = 1000


def declare(
    catalogue: Catalogue, given: t.Sequence[t.Mapping[str, t.Any]], *, author: str | None = None, check: bool = False
) -> Outcome:
    """Make `given` the rules of the site. A rule that stands already, with this meaning, keeps its author.

    ``rule_invalid`` for a set that makes no sense; then the one before stays in force. The order of rules means
    nothing.
    """
    wanted = read_rules(given, author=author or catalogue.actor)
    if check:
        before, after = _plan(catalogue, wanted)
    else:
        with catalogue.writing() as writer:
            before, after = _plan(catalogue, wanted)
            if after != before:
                writer.commit(replacement(catalogue, before, after, author or catalogue.actor))
        if after != before:
            snapshot.write(catalogue)
        else:
            snapshot.ensure(catalogue)
    now = catalogue.now()
    return Outcome(
        changed=after != before,
        before={rule.name: rule.meaning for rule in before},
        after={rule.name: rule.meaning for rule in after},
        actions=tuple(_actions(before, after)),
        warnings=tuple(
            f"The rule {rule.name} ended at {to_text(rule.until)} and says nothing any more."
            for rule in after
            if rule.until is not None and rule.until <= now
        ),
        data={"rules": [{**rule.as_dict(), **found} for rule, found in touched(catalogue, after, now)]},
    )


def standing(catalogue: Catalogue) -> list[Rule]:
    """The rules in force, by name."""
    return Decided(catalogue).rules


def touched(catalogue: Catalogue, rules: t.Sequence[Rule], now: datetime) -> t.Iterator[tuple[Rule, dict[str, t.Any]]]:
    """For each rule how many endorsed images of subscribed lists it speaks of now (`count`), and which (`images`)."""
    found: dict[str, dict[str, None]] = {rule.name: {} for rule in rules}
    for name, row in _spoken_of(catalogue, rules, now):
        found[name][row["image_id"]] = None
    for rule in rules:
        yield rule, {"count": len(found[rule.name]), "images": list(found[rule.name])[:MOST_IMAGES]}


def _spoken_of(catalogue: Catalogue, rules: t.Sequence[Rule], now: datetime) -> t.Iterator[tuple[str, sqlite3.Row]]:
    """The name of a rule, and the row of an image that it speaks of now, for each such pair."""
    decided = Decided(catalogue)
    for name, record in list_records(catalogue, active_lists(catalogue) if rules else ()).items():
        rows = catalogue.rows("SELECT * FROM images WHERE list_id = ? AND until IS NULL ORDER BY row", name)
        for row in rows:
            subject = decided.subject(row, record)
            for rule in rules:
                decision = rule.decide(subject)
                if decision is not None and decision.is_in_force(now):
                    yield rule.name, row


def replacement(
    catalogue: Catalogue, before: t.Sequence[Rule], after: t.Sequence[Rule], author: str
) -> tuple[str, dict[str, t.Any]]:
    """The journal event that puts one set in the place of another, and says whom that concerns."""
    rules = [rule.as_dict() for rule in after]
    return "rules", {"rules": rules, "author": author, "concerns": _concerns(catalogue, before, after)}


def _concerns(catalogue: Catalogue, before: t.Sequence[Rule], after: t.Sequence[Rule]) -> dict[str, list[str]]:
    """The lists of whose images a new or changed rule forbids one that its old form did not; their endorsers hear."""
    now = catalogue.now()
    known = {rule.name: rule for rule in before if rule.decision == "blacklist"}
    fresh = [rule for rule in after if rule.decision == "blacklist" and known.get(rule.name) != rule]
    stood = {
        (name, row["row"])
        for name, row in _spoken_of(catalogue, [known[rule.name] for rule in fresh if rule.name in known], now)
    }
    found: dict[str, set[str]] = {}
    for name, row in _spoken_of(catalogue, fresh, now):
        if (name, row["row"]) not in stood:
            found.setdefault(name, set()).add(row["list_id"])
    return {name: sorted(lists) for name, lists in sorted(found.items())}


def _plan(catalogue: Catalogue, wanted: t.Sequence[Rule]) -> tuple[list[Rule], list[Rule]]:
    """The rules before and after; whoever wrote a rule that stays remains its author."""
    before = standing(catalogue)
    known = {rule.name: rule for rule in before}
    after = [
        replace(rule, author=known[rule.name].author)
        if rule.name in known and known[rule.name].meaning == rule.meaning
        else rule
        for rule in wanted
    ]
    return before, after


def _actions(before: t.Sequence[Rule], after: t.Sequence[Rule]) -> t.Iterator[dict[str, t.Any]]:
    known = {rule.name: rule for rule in before}
    names = {rule.name for rule in after}
    for rule in after:
        if rule.name not in known:
            yield {"action": "add", "rule": rule.name}
        elif known[rule.name] != rule:
            yield {"action": "change", "rule": rule.name}
    for rule in before:
        if rule.name not in names:
            yield {"action": "remove", "rule": rule.name}
