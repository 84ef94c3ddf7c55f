# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's decisions: approve, blacklist, run_anyway, clear; for a UUID, a tag, a whole list or an endorser."""

from __future__ import annotations

import typing as t
from dataclasses import asdict, dataclass, field
from datetime import datetime

from ..errors import SiteError
from ..outcome import Outcome
from ..times import to_text
from .judgement import snapshot
from .judgement.assess import active_lists, require_list, resolve_image, resolve_tag
from .subscription import UUID
from .targets import Target, about_endorsers, about_lists

if t.TYPE_CHECKING:
    from .store.catalogue import Catalogue

DECISIONS: t.Final = ("approve", "blacklist", "run_anyway", "clear")


@dataclass(frozen=True)
class Targets:
    """What a decision is about: UUIDs, tags, whole lists (identifier or address), endorsers ({dn, ca} or {name})."""

    images: t.Sequence[str] = ()
    tags: t.Sequence[str] = ()
    lists: t.Sequence[str] = ()
    endorsers: t.Sequence[t.Mapping[str, t.Any]] = ()


def decide(
    catalogue: Catalogue,
    *,
    decision: str,
    images: t.Sequence[str] = (),
    tags: t.Sequence[str] = (),
    lists: t.Sequence[str] = (),
    endorsers: t.Sequence[t.Mapping[str, t.Any]] = (),
    of_list: str | None = None,
    reason: str = "",
    author: str | None = None,
    until: datetime | None = None,
    check: bool = False,
) -> Outcome:
    """Record one decision for everything named; the last decision about a target stands.

    About images (UUID) and tags ``approve`` and ``run_anyway`` (which approves, and overrides the expiry of list or
    image) speak of the images of one list: `of_list` (identifier or address), else the one that holds the target;
    another endorser cannot step into an approval by choosing the same tag. About an endorser every decision speaks of
    all lists that this person signs, unless `of_list` is given. ``blacklist`` speaks of every list unless `of_list` is
    given, and ``clear`` takes back what stands. What stands already, with this reason and end, is not written again;
    its author stays. Raises ``unknown_image`` for a target no subscribed list holds (except to clear it),
    ``unknown_list``, ``unknown_endorser``, ``decision_invalid``.
    """
    if decision not in DECISIONS:
        raise _invalid("decision", f"{decision!r} is none of {', '.join(DECISIONS)}")
    if not (images or tags or lists or endorsers):
        raise _invalid("images", "name at least one image, tag, list or endorser")
    if "" in tags:
        raise _invalid("tags", "an empty tag names no image")
    if lists and of_list is not None:
        raise _invalid("list", "a whole list is named by itself; decide about it in a call of its own")
    targets = Targets(tuple(_uuid(image) for image in images), tags, lists, endorsers)
    wanted = _Wanted(decision, reason, to_text(until) if until else None, author or catalogue.actor)
    if check:
        plan = _plan(catalogue, targets, wanted, of_list)
    else:
        with catalogue.writing() as writer:
            plan = _plan(catalogue, targets, wanted, of_list)
            if plan.events:
                writer.commit(*(("decided", event) for event in plan.events))
        if plan.events:
            snapshot.write(catalogue)
        else:
            snapshot.ensure(catalogue)
    return Outcome(
        changed=bool(plan.events),
        before=plan.before,
        after=plan.after,
        actions=tuple({"action": decision, event["target_type"]: event["target"]} for event in plan.events),
        warnings=tuple(plan.warnings),
        data={"decisions": plan.after},
    )


@dataclass(frozen=True)
class _Wanted:
    decision: str
    reason: str
    until: str | None
    author: str


@dataclass(frozen=True)
class _Plan:
    """The journal's events, and what stands before and after them, by target."""

    events: list[dict[str, t.Any]] = field(default_factory=list)
    before: dict[str, t.Any] = field(default_factory=dict)
    after: dict[str, t.Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def _plan(catalogue: Catalogue, targets: Targets, wanted: _Wanted, of_list: str | None) -> _Plan:
    plan = _Plan()
    seen: dict[str, str] = {}
    for target in _targets(catalogue, targets, wanted.decision):
        # A tag, a list or an endorser may be called what an image is: that is another target.
        kind = seen.setdefault(target.name, target.kind)
        key = target.name if kind == target.kind else f"{target.kind} {target.name}"
        if key in plan.after:
            continue
        list_id = _list_of(catalogue, target, wanted.decision, of_list)
        standing = _standing(catalogue, target)
        affected = [item for item in standing if not list_id or item["list"] in (None, list_id)]
        described = {**asdict(wanted), "list": list_id or None}
        after = [item for item in standing if item not in affected]
        if wanted.decision != "clear":
            same = [item for item in affected if _means(item) == _means(described)]
            if same and len(affected) == 1:
                plan.before[key] = plan.after[key] = standing
                continue
            after.append(described)
        plan.before[key], plan.after[key] = standing, after
        if wanted.decision != "clear" or affected:
            event = {"target_type": target.kind, "target": target.name, "list": list_id, **target.further}
            plan.events.append({**asdict(wanted), **event})
            plan.warnings.extend(target.warnings if wanted.decision != "clear" else ())
            plan.warnings.extend(_released(target, affected, list_id))
    # What stands already may have ended since it was written, in a playbook as in the journal.
    if plan.events and wanted.until is not None and wanted.until <= to_text(catalogue.now()):
        raise _invalid("until", f"{wanted.until} is in the past")
    return plan


def _released(target: Target, replaced: t.Sequence[t.Mapping[str, t.Any]], list_id: str) -> t.Iterator[str]:
    """What is decided for one list ends a blacklist that was meant for all of them; an image is in one list alone."""
    if (
        list_id
        and target.kind != "image"
        and any(not item["list"] and item["decision"] == "blacklist" for item in replaced)
    ):
        yield (
            f"The {target.kind} {target.name} was blacklisted in every list, and no longer is: what was decided now "
            f"takes its place. Blacklist it in the lists (option list) in which it is still to be forbidden."
        )


def _targets(catalogue: Catalogue, targets: Targets, decision: str) -> t.Iterator[Target]:
    yield from (Target("image", name) for name in targets.images)
    yield from (Target("tag", name) for name in targets.tags)
    yield from about_lists(catalogue, targets.lists, decision)
    yield from about_endorsers(catalogue, targets.endorsers, decision)


def _list_of(catalogue: Catalogue, target: Target, decision: str, of_list: str | None) -> str:
    """The list that the decision speaks of; empty: every list."""
    kind, name = target.kind, target.name
    if kind in ("list", "endorser"):
        return require_list(catalogue, of_list) if of_list is not None else ""
    if decision != "clear":
        rows = resolve_image(catalogue, name) if kind == "image" else resolve_tag(catalogue, name)
    if of_list is not None:
        return require_list(catalogue, of_list)
    if decision in ("blacklist", "clear"):
        return ""
    if kind == "image":
        return str(rows[0]["list_id"])
    subscribed = active_lists(catalogue)
    holding = [row for row in rows if row["list_id"] in subscribed] or rows[:1]
    endorsing = [row for row in holding if row["until"] is None] or holding
    found = list(dict.fromkeys(row["list_id"] for row in endorsing))
    if len(found) > 1:
        raise _invalid("list", f"the tag {name!r} is in the lists {' and '.join(found)}, name the one that is meant")
    return str(found[0])


def _standing(catalogue: Catalogue, target: Target) -> list[dict[str, t.Any]]:
    rows = catalogue.rows(
        "SELECT decision, reason, until, author, list_id FROM decisions WHERE target_type = ? AND target = ? "
        "ORDER BY list_id",
        target.kind,
        target.name,
    )
    return [
        {**{key: row[key] for key in ("decision", "reason", "until", "author")}, "list": row["list_id"] or None}
        for row in rows
    ]


def _means(item: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {key: value for key, value in item.items() if key != "author"}


def _uuid(text: str) -> str:
    if not UUID.match(text.lower()):
        raise _invalid("images", f"{text!r} is not a UUID; name a tag under tags")
    return text.lower()


def _invalid(option: str, text: str) -> SiteError:
    return SiteError("decision_invalid", f"{option}: {text}.", option=option)
