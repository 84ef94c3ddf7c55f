# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people have said about a site, as one document: to look at, to keep, and to begin a new state with.

Endorsers, subscriptions, decisions and rules are what nothing can derive again. The lists themselves are fetched, and
what an endorser list has brought follows from it; neither is in the document.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, replace

from ..errors import SiteError, VmimagesError
from ..imagelist.fields import read_time
from ..outcome import Outcome
from ..times import to_text
from .decisions import DECISIONS
from .endorsers import registry
from .endorsers.endorser import as_dicts, read_name, read_pairs
from .judgement import snapshot
from .judgement.assess import active_lists, subscription_of
from .rules.declare import replacement
from .rules.declare import standing as standing_rules
from .rules.rule import Rule, read_rules
from .subscription import UUID, Subscription

if t.TYPE_CHECKING:
    from .store.catalogue import Catalogue

FORMAT: t.Final = 1
TARGETS: t.Final = ("image", "tag", "list", "endorser")

_Item = t.Mapping[str, t.Any]
_Event = tuple[str, dict[str, t.Any]]


def export(catalogue: Catalogue) -> dict[str, t.Any]:
    """The document of a site; `restore` reads it."""
    return {
        "format": FORMAT,
        "exported": to_text(catalogue.now()),
        "endorsers": _endorsers(catalogue),
        "subscriptions": [_plain(subscription) for subscription in _subscriptions(catalogue).values()],
        "decisions": list(_decisions(catalogue).values()),
        "rules": [rule.as_dict() for rule in standing_rules(catalogue)],
    }


def restore(catalogue: Catalogue, document: t.Any, *, check: bool = False) -> Outcome:
    """Say again what the document says, in one piece: all of it or nothing. What it does not name stays as it is.

    Nothing is fetched: the next refresh does that. A document without ``rules`` leaves them alone, one with them
    replaces them. Raises SiteError ``import_invalid`` with the place of what is wrong.
    """
    wanted = _read(document)
    if check:
        steps = _plan(catalogue, wanted)
    else:
        with catalogue.writing() as writer:
            steps = _plan(catalogue, wanted)
            if steps:
                writer.commit(*(event for step in steps for event in step.events))
        if steps:
            snapshot.write(catalogue)
    return Outcome(
        changed=bool(steps),
        before={step.name: step.before for step in steps},
        after={step.name: step.after for step in steps},
        actions=tuple({"action": "import", "what": step.what, "name": step.name} for step in steps),
    )


@dataclass(frozen=True)
class _Wanted:
    endorsers: tuple[_Item, ...]
    subscriptions: tuple[Subscription, ...]
    decisions: tuple[_Item, ...]
    rules: list[Rule] | None


@dataclass(frozen=True)
class _Step:
    """One thing that is not as the document has it, and the journal's words that make it so."""

    what: str
    name: str
    before: t.Any
    after: t.Any
    events: tuple[_Event, ...]


def _endorsers(catalogue: Catalogue) -> list[dict[str, t.Any]]:
    barred: dict[str, list[tuple[str, str]]] = {}
    for row in registry.barred(catalogue):
        barred.setdefault(row["name"], []).append((row["dn"], row["ca"]))
    found = []
    for row in catalogue.rows("SELECT * FROM endorsers ORDER BY name"):
        told = registry.describe(row)
        del told["at"]
        held = told["pairs"] if told["registered"] else []
        found.append({**told, "pairs": held, "barred": as_dicts(barred.get(told["name"], ()))})
    return found


def _subscriptions(catalogue: Catalogue) -> dict[str, Subscription]:
    """By identifier, without those that an endorser list has brought."""
    found = {name: subscription_of(catalogue, name) for name in active_lists(catalogue)}
    return {name: subscription for name, subscription in found.items() if not subscription.origin}


def _plain(subscription: Subscription) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", json.loads(json.dumps(subscription.as_dict())))


def _decisions(catalogue: Catalogue) -> dict[tuple[str, str, str], dict[str, t.Any]]:
    rows = catalogue.rows("SELECT * FROM decisions ORDER BY target_type, target, list_id")
    return {
        (row["target_type"], row["target"], row["list_id"]): {
            row["target_type"]: row["target"],
            "of_list": row["list_id"] or None,
            **{key: row[key] for key in ("decision", "reason", "author", "until")},
        }
        for row in rows
    }


def _read(document: t.Any) -> _Wanted:
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise _invalid("format", f"this is not a document that `vmimages export` of format {FORMAT} wrote")
    known = {"format", "exported", "endorsers", "subscriptions", "decisions", "rules"}
    for key in document:
        if key not in known:
            raise _invalid(str(key), "there is no such key")
    items = {key: _items(document, key) for key in ("endorsers", "subscriptions", "decisions")}
    wanted = _Wanted(
        endorsers=tuple(_endorser(item, number) for number, item in enumerate(items["endorsers"])),
        subscriptions=tuple(_subscription(item, number) for number, item in enumerate(items["subscriptions"])),
        decisions=tuple(_decision(item, number) for number, item in enumerate(items["decisions"])),
        rules=_rules(_items(document, "rules")) if "rules" in document else None,
    )
    _once("endorsers", [item["name"] for item in wanted.endorsers])
    _once("subscriptions", [subscription.identifier for subscription in wanted.subscriptions])
    _once("decisions", [_about(item) for item in wanted.decisions])
    everywhere = {_about(item) for item in wanted.decisions if not item["of_list"]}
    for kind, target, of_list in map(_about, wanted.decisions):
        if of_list and (kind, target, "") in everywhere:
            raise _invalid("decisions", f"there is one about the {kind} {target} in every list, and one in a list")
    return wanted


def _once(key: str, names: t.Sequence[t.Any]) -> None:
    """What is said in two ways would be made so and so in turns."""
    seen = set()
    for number, name in enumerate(names):
        if name in seen:
            raise _invalid(f"{key}[{number}]", "this was said already")
        seen.add(name)


def _about(decision: _Item) -> tuple[str, str, str]:
    kind = next(kind for kind in TARGETS if kind in decision)
    return kind, decision[kind], decision["of_list"] or ""


def _items(document: _Item, key: str) -> list[_Item]:
    items = [] if document.get(key) is None else document[key]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _invalid(key, "this is not a list of mappings")
    return items


def _endorser(item: _Item, number: int) -> dict[str, t.Any]:
    where = f"endorsers[{number}]"
    registered = item.get("registered", True) is True
    try:
        name = read_name(item.get("name"), f"{where}.name")
        pairs = read_pairs(item.get("pairs"), f"{where}.pairs", required=registered)
        barred = read_pairs(item.get("barred"), f"{where}.barred", required=False)
    except VmimagesError as error:
        raise _invalid(where, error.detail) from error
    words = {key: str(item.get(key) or "") for key in ("email", "comment", "reason", "author")}
    return {"name": name, "registered": registered, "pairs": as_dicts(pairs), "barred": as_dicts(barred), **words}


def _subscription(item: _Item, number: int) -> Subscription:
    where = f"subscriptions[{number}]"
    try:
        subscription = Subscription.from_options(item)
    except VmimagesError as error:
        raise _invalid(where, error.detail) from error
    if subscription.identifier is None:
        raise _invalid(f"{where}.identifier", "this is missing")
    return subscription


def _rules(items: t.Sequence[_Item]) -> list[Rule]:
    try:
        rules = read_rules([{key: item[key] for key in item if key != "author"} for item in items], author="")
    except VmimagesError as error:
        raise _invalid("rules", error.detail) from error
    authors = {item["name"]: str(item.get("author") or "") for item in items}
    return [replace(rule, author=authors[rule.name]) for rule in rules]


def _decision(item: _Item, number: int) -> dict[str, t.Any]:
    where = f"decisions[{number}]"
    targets = [(kind, item[kind]) for kind in TARGETS if item.get(kind)]
    if len(targets) != 1 or not isinstance(targets[0][1], str):
        raise _invalid(where, f"exactly one of {', '.join(TARGETS)} says what it is about")
    kind, target = targets[0]
    if item.get("decision") not in DECISIONS[:-1]:
        raise _invalid(f"{where}.decision", f"{item.get('decision')!r} is none of {', '.join(DECISIONS[:-1])}")
    until, of_list = item.get("until"), item.get("of_list")
    for option, value in (("image", target if kind in ("image", "list") else None), ("of_list", of_list)):
        if value is not None and not UUID.match(str(value)):
            raise _invalid(f"{where}.{option}", f"{value!r} is not a UUID")
    ends = None if until is None else read_time(str(until))
    if until is not None and ends is None:
        raise _invalid(f"{where}.until", f"{until!r} is not a time in UTC, such as 2027-01-31T00:00:00Z")
    return {
        kind: target,
        "of_list": of_list,
        "decision": item["decision"],
        "reason": str(item.get("reason") or ""),
        "author": str(item.get("author") or ""),
        # As the journal has it: a bare date is read as a time here, and nowhere else.
        "until": to_text(ends) if ends is not None else None,
    }


def _plan(catalogue: Catalogue, wanted: _Wanted) -> list[_Step]:
    return [
        *_endorser_steps(catalogue, wanted.endorsers),
        *_subscription_steps(catalogue, wanted.subscriptions),
        *_decision_steps(catalogue, wanted.decisions),
        *_rule_steps(catalogue, wanted.rules),
    ]


def _endorser_steps(catalogue: Catalogue, wanted: t.Sequence[_Item]) -> t.Iterator[_Step]:
    present = {item["name"]: item for item in _endorsers(catalogue)}
    holders: dict[tuple[str, str], str] = {}
    for item in wanted:
        for pair in ((pair["dn"], pair["ca"]) for pair in item["pairs"]):
            other = holders.setdefault(pair, item["name"])
            standing = registry.holder(catalogue, pair)
            if other != item["name"] or standing not in (None, *(one["name"] for one in wanted)):
                held = other if other != item["name"] else standing
                raise _invalid("endorsers", f"{pair[0]} issued by {pair[1]} is that of {held} and of {item['name']}")
        before = present.get(item["name"])
        if before is not None and _covers(before, item):
            continue
        words = {key: item[key] for key in ("name", "email", "comment", "reason")}
        words["author"] = item["author"] or catalogue.actor
        events: list[_Event] = []
        if item["barred"] or not item["registered"]:
            # What was taken away from an endorser stays taken away.
            events.append(("endorser_removed", {**words, "pairs": item["barred"]}))
        if item["registered"]:
            events.append(("endorser", {**words, "pairs": item["pairs"]}))
        yield _Step("endorser", item["name"], before, item, tuple(events))


def _covers(present: _Item, wanted: _Item) -> bool:
    """Whether the registry says all of it already; what was taken away here beside that stays taken away."""
    said = {**wanted, "author": wanted["author"] or present["author"]}
    same = all(present[key] == said[key] for key in said if key != "barred")
    return same and all(pair in present["barred"] for pair in wanted["barred"])


def _subscription_steps(catalogue: Catalogue, wanted: t.Sequence[Subscription]) -> t.Iterator[_Step]:
    present = _subscriptions(catalogue)
    for subscription in wanted:
        name = t.cast(str, subscription.identifier)
        before = present.get(name)
        if before == subscription:
            continue
        row = catalogue.row("SELECT kind FROM lists WHERE list_id = ?", name)
        if row is not None and row["kind"] != subscription.kind:
            raise _invalid("subscriptions", f"list {name} is known here as a list of the kind {row['kind']}")
        event = ("subscribed", subscription.as_dict())
        yield _Step("subscription", name, _plain(before) if before else None, _plain(subscription), (event,))


def _decision_steps(catalogue: Catalogue, wanted: t.Sequence[_Item]) -> t.Iterator[_Step]:
    present = _decisions(catalogue)
    for item in wanted:
        (kind,) = (one for one in TARGETS if one in item)
        before = present.get((kind, item[kind], item["of_list"] or ""))
        # Whoever wrote the document by hand named no author: what stands keeps its own.
        if before is not None and before == {**item, "author": item["author"] or before["author"]}:
            continue
        everywhere = present.get((kind, item[kind], "")) if item["of_list"] else None
        if everywhere is not None and everywhere["decision"] == "blacklist":
            text = f"the {kind} {item[kind]} is blacklisted here in every list; clear that first, if that is meant"
            raise _invalid("decisions", text)
        event = {
            **{key: item[key] for key in ("decision", "reason", "until")},
            "author": item["author"] or catalogue.actor,
            "target_type": kind,
            "target": item[kind],
            "list": item["of_list"] or "",
        }
        yield _Step("decision", f"{kind} {item[kind]}", before, item, (("decided", event),))


def _rule_steps(catalogue: Catalogue, wanted: list[Rule] | None) -> t.Iterator[_Step]:
    before = standing_rules(catalogue)
    if wanted is None or wanted == before:
        return
    event = replacement(catalogue, before, wanted, catalogue.actor)
    yield _Step("rules", "all", [rule.as_dict() for rule in before], event[1]["rules"], (event,))


def _invalid(place: str, what: str) -> SiteError:
    return SiteError("import_invalid", f"{place}: {what.rstrip('.')}.", place=place)
