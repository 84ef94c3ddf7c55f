# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Add endorsers to the site's registry, change them, and remove them: counts at once, and without any network."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...outcome import Outcome
from ..judgement import snapshot
from . import registry
from .endorser import Endorser, Pair, as_dicts, invalid, likeness, read_name, read_pairs

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

_Event = tuple[str, dict[str, t.Any]]


@dataclass(frozen=True)
class Removal:
    """An endorser to be removed. `pairs` are taken away with those that the registry knows; it need not know any."""

    name: str
    pairs: tuple[Pair, ...] = ()


@dataclass(frozen=True)
class Declaration:
    """What is said of the endorsers in one call; `author` None: the user of the process."""

    wanted: tuple[Endorser, ...] = ()
    removals: tuple[Removal, ...] = ()
    reason: str = ""
    author: str | None = None

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any]) -> Declaration:
        """Read module options: one endorser, or those of the list ``endorsers``; ``endorser_invalid``."""
        items = options.get("endorsers")
        single = items is None
        wanted: list[Endorser] = []
        removals: list[Removal] = []
        for number, item in enumerate([options] if items is None else items):
            option = "" if single else f"endorsers[{number}]"
            if (item.get("state") or options.get("state") or "present") == "present":
                wanted.append(Endorser.from_options(item, option=option))
            else:
                where = f"{option}." if option else ""
                pairs = read_pairs(item.get("pairs"), f"{where}pairs", required=False)
                removals.append(Removal(read_name(item.get("name"), f"{where}name"), pairs))
        reason = str(options.get("reason") or "").strip()
        found = cls(tuple(wanted), tuple(removals), reason, options.get("author"))
        found.check()
        return found

    def check(self) -> None:
        """Each name is said once, and each pair of one endorser; else ``endorser_invalid``."""
        said: tuple[Endorser | Removal, ...] = (*self.wanted, *self.removals)
        names = [item.name for item in said]
        for name in names:
            if names.count(name) > 1:
                raise invalid("endorsers", f"{name!r} is named twice")
        holders: dict[Pair, str] = {}
        for item in said:
            for pair in item.pairs:
                holder = holders.setdefault(likeness(pair), item.name)
                if holder != item.name:
                    raise invalid("pairs", f"{pair[0]} issued by {pair[1]} is that of {holder} and {item.name}")


def declare(catalogue: Catalogue, said: Declaration, *, check: bool = False) -> Outcome:
    """Make the registry what is said; endorsers that are not named stay as they are.

    Removing an endorser, or one of its pairs, takes the pair away from every subscription, also from those that name
    the pair itself, until an endorser is declared with it again. Raises ``endorser_invalid`` for a pair that another
    endorser holds.
    """
    if check:
        plan = _plan(catalogue, said)
    else:
        with catalogue.writing() as writer:
            plan = _plan(catalogue, said)
            if plan:
                writer.commit(*(step.event for step in plan))
        if plan:
            snapshot.write(catalogue)
        else:
            snapshot.ensure(catalogue)
    return Outcome(
        changed=bool(plan),
        before={step.name: step.before for step in plan},
        after={step.name: step.after for step in plan},
        actions=tuple({"action": step.action, "endorser": step.name} for step in plan),
        warnings=(*_unknown(catalogue, said), *_remembered(catalogue, plan)),
        data={
            "endorsers": [endorser.as_dict() for endorser in said.wanted],
            "removed": [removal.name for removal in said.removals],
        },
    )


def _unknown(catalogue: Catalogue, said: Declaration) -> t.Iterator[str]:
    """Whoever removes somebody believes that this stops something."""
    for removal in said.removals:
        if not removal.pairs and registry.record(catalogue, removal.name) is None:
            yield (
                f"No endorser {removal.name} is or was registered, so nothing is taken away. Somebody whom only a "
                "subscription or an endorser list names is removed by pairs."
            )


def _remembered(catalogue: Catalogue, plan: t.Iterable[_Step]) -> t.Iterator[str]:
    """What was decided about a name holds for whoever has it next."""
    for step in plan:
        decided = catalogue.row(
            "SELECT decision, author, at FROM decisions WHERE target_type = 'endorser' AND target = ?", step.name
        )
        if step.action == "add" and decided is not None:
            yield (
                f"The decision {decided['decision']} of {decided['author']}, made at {decided['at']} about the "
                f"endorser {step.name}, speaks of whoever is registered under this name now."
            )


@dataclass(frozen=True)
class _Step:
    action: str
    name: str
    event: _Event
    before: dict[str, t.Any] | None
    after: dict[str, t.Any] | None


def _plan(catalogue: Catalogue, said: Declaration) -> list[_Step]:
    signed = {"author": said.author or catalogue.actor, "reason": said.reason}
    # Removals first: a pair may go from one endorser to another in one call.
    freed = {removal.name for removal in said.removals}
    plan = [_remove(catalogue, removal, signed) for removal in said.removals]
    for endorser in said.wanted:
        for pair in endorser.pairs:
            other = registry.holder(catalogue, pair)
            if other not in (None, endorser.name) and other not in freed | _giving(said, pair):
                raise invalid("pairs", f"{pair[0]} issued by {pair[1]} is that of the endorser {other}")
        plan.append(_add(catalogue, endorser, signed))
    return [step for step in plan if step is not None]


def _giving(said: Declaration, pair: Pair) -> set[str]:
    """Endorsers that this call declares without the pair."""
    like = likeness(pair)
    return {endorser.name for endorser in said.wanted if like not in map(likeness, endorser.pairs)}


def _add(catalogue: Catalogue, endorser: Endorser, signed: t.Mapping[str, str]) -> _Step | None:
    present = registry.find(catalogue, endorser.name)
    if present == endorser:
        return None
    return _Step(
        "add" if present is None else "change",
        endorser.name,
        ("endorser", {**endorser.as_dict(), **signed}),
        present.as_dict() if present else None,
        endorser.as_dict(),
    )


def _remove(catalogue: Catalogue, removal: Removal, signed: t.Mapping[str, str]) -> _Step | None:
    present = registry.find(catalogue, removal.name)
    for pair in removal.pairs:
        other = registry.holder(catalogue, pair)
        if other not in (None, removal.name):
            raise invalid("pairs", f"{pair[0]} issued by {pair[1]} is that of the endorser {other}")
    known = {(row["dn"], row["ca"]) for row in registry.barred(catalogue)}
    if present is None and known.issuperset(removal.pairs):
        return None
    standing = registry.record(catalogue, removal.name)
    before = registry.describe(standing) if standing is not None else {}
    pairs = sorted({*(present.pairs if present else ()), *removal.pairs})
    return _Step(
        "remove",
        removal.name,
        (
            "endorser_removed",
            {
                "name": removal.name,
                "pairs": as_dicts(pairs),
                "email": before.get("email", ""),
                "comment": before.get("comment", ""),
                **signed,
            },
        ),
        present.as_dict() if present else None,
        None,
    )
