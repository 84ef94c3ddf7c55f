# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the snapshot is to say: every list, and a sheet of verdicts for each, judged anew only where it may be another.

A sheet of the former snapshot stands while nothing that went into it has changed: no journal line has touched the list
(see `store.touched`), the list's own reasons and its cached files are as they were, and no image's time has come. In
case that something was overlooked here, no sheet stands for more than a day.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import typing as t
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ...times import from_text, to_text
from ..endorsers import members
from ..store.replay.touched import ALL
from . import sheets
from .assess import Assessor, Known, latest, rebaseline_record
from .records import stat_record
from .sheets import Content, Sheet
from .verdict import Decision, earliest, list_end, list_reasons, list_turns

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

#: To be raised when the rules of `verdict` or the form of a sheet change, so that no former sheet stands.
RULES: t.Final = 2
#: How long a sheet stands at most.
_LASTS: t.Final = timedelta(days=1)
#: Refusals of images that nobody waits for, unless the site has decided about them or holds their file.
_UNSOUGHT: t.Final = frozenset(
    {"not_approved", "not_selected", "withdrawn", "blacklisted", "unsubscribed", "image_expired"}
)


@dataclass(frozen=True)
class Former:
    """What the former snapshot says, as far as it can be believed: its sheets by list, and the files that there are."""

    sheets: t.Mapping[str, Sheet]
    files: t.Mapping[str, int]


@dataclass(frozen=True)
class Composed:
    """`lists` and `sheets` by identifier, the sheets to be written, and until when all of this holds by the clock."""

    lists: dict[str, t.Any]
    sheets: dict[str, Sheet]
    new: list[Content]
    until: datetime | None


def compose(assessor: Assessor, former: Former) -> Composed:
    """Everything that the snapshot has to say at the time of `assessor`."""
    catalogue, now = assessor.catalogue, assessor.now
    names = [row["list_id"] for row in catalogue.rows("SELECT list_id FROM lists ORDER BY list_id")]
    assessor.look_up(names)
    lines = {row["list_id"]: row["sequence"] for row in catalogue.rows("SELECT list_id, sequence FROM touched")}
    odd = _odd_files(catalogue)
    composed = Composed({}, {}, [], None)
    turns = []
    for name in names:
        _subscription, facts = assessor.of_list(name)
        status = assessor.path_status(name)
        terms = _terms(assessor, name, odd.get(name, ()))
        end = _text(list_end(facts, status))
        line = max(lines.get(name, 0), lines.get(ALL, 0))
        sheet = former.sheets.get(name)
        if sheet is not None and _stands(sheet, line, terms, now, former.files):
            sheet = sheet if sheet.end == end else replace(sheet, end=end)
        else:
            content, until = _judge(assessor, name)
            composed.new.append(content)
            sheet = _sheet(catalogue, content, now, until, terms, end)
        composed.sheets[name] = sheet
        if facts.subscribed:
            composed.lists[name] = describe_list(assessor, name)
        turns += [list_turns(facts, status, now), from_text(sheet.until) if sheet.until else None]
    return replace(composed, until=earliest(*turns))


def _stands(sheet: Sheet, line: int, terms: str, now: datetime, files: t.Mapping[str, int]) -> bool:
    judged = from_text(sheet.judged)
    return (
        line <= sheet.sequence
        and terms == sheet.terms
        and judged <= now < judged + _LASTS
        and (sheet.until is None or now < from_text(sheet.until))
        and (not sheet.file or files.get(sheet.file) == sheet.size)
    )


def _terms(assessor: Assessor, name: str, odd: t.Sequence[str]) -> str:
    """A digest of what the verdicts rest on, beside the journal and the images' own times."""
    _subscription, facts = assessor.of_list(name)
    reasons = list_reasons(facts, assessor.path_status(name), assessor.now)
    parts = [RULES, str(assessor.catalogue.state.current), [(one.code, one.text) for one in reasons], list(odd)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _odd_files(catalogue: Catalogue) -> dict[str, list[str]]:
    """The cached files that are gone, or not as they were verified, for each list that knows their image."""
    found: dict[str, str] = {}
    for row in catalogue.rows("SELECT * FROM files WHERE state = 'current' ORDER BY name"):
        record = stat_record(catalogue.state.current / row["name"])
        if record is None or any(record[key] != row[key] for key in record):
            found[row["name"]] = "changed" if record else "gone"
    odd: dict[str, list[str]] = {}
    for name, how in found.items():
        lists = catalogue.rows(
            "SELECT DISTINCT images.list_id FROM files JOIN images USING (image_id) WHERE name = ?", name
        )
        for row in lists:
            odd.setdefault(row["list_id"], []).append(f"{how} {name}")
    return odd


def _judge(assessor: Assessor, name: str) -> tuple[Content, datetime | None]:
    """The sheet of a list, and when a verdict in it may be another by the clock alone."""
    known = list(_speaking(assessor, name))
    content = sheets.compose(name, ((_image(one), _is_listed(one)) for one in known))
    return content, earliest(*(assessor.turns(one) for one in known))


def _speaking(assessor: Assessor, name: str) -> t.Iterator[Known]:
    """The images that the list owns or, where nobody does, that no list before it holds: one answer for each UUID."""
    rows = latest(assessor.catalogue, list_id=name)
    for known in assessor.assess_all(rows):
        owner = known.facts.owner
        if owner == name or (not owner and _first_holder(assessor.catalogue, known.row) == name):
            yield known


def _first_holder(catalogue: Catalogue, row: sqlite3.Row) -> str:
    found = catalogue.row("SELECT min(list_id) AS list_id FROM images WHERE image_id = ?", row["image_id"])
    return str(found["list_id"]) if found else ""


def _sheet(
    catalogue: Catalogue, content: Content, now: datetime, until: datetime | None, terms: str, end: str | None
) -> Sheet:
    return Sheet(
        file=content.file,
        size=len(content.octets),
        sequence=catalogue.head().sequence,
        judged=to_text(now),
        until=_text(until),
        terms=terms,
        end=end,
        names=content.names,
        listed=content.listed,
        others=content.others,
    )


def _image(known: Known) -> dict[str, t.Any]:
    file = known.facts.file
    # What its list sets an end to is in the sheet's own `end`, which may move while the verdict stands.
    judged = replace(known.verdict, good_until=known.verdict.own_end)
    return {
        "identifier": known.image_id,
        "list": known.list_id,
        "title": known.facts.title,
        "tag": known.facts.tag,
        "version": known.facts.version,
        "endorsed": known.facts.endorsed,
        "dated": known.row["dated"],
        "sha512": known.row["sha512"],
        "stat": dict(file.record) if file else None,
        "verdict": judged.as_dict(),
        **({"format": known.metadata.get("hv:format"), "expires": _text(known.facts.expires)} if file else {}),
    }


def _is_listed(known: Known) -> bool:
    decided = any(decision.target_type in ("image", "tag") for decision in known.decisions)
    if decided or known.facts.file is not None:
        return True
    return _UNSOUGHT.isdisjoint(reason.code for reason in known.verdict.reasons)


def describe_list(assessor: Assessor, name: str) -> dict[str, t.Any]:
    """One list: title, address, version, dates, last success, last error, an act of re-baselining that waits for its
    content, what is decided about it or its signer as a whole, how its certification path stands."""
    subscription, facts = assessor.of_list(name)
    record = assessor.record(name)
    poll, act = record.poll, record.rebaseline
    status = assessor.path_status(name)
    return {
        "kind": subscription.kind,
        "origin": subscription.origin or None,
        "endorsers": members.accepted(assessor.catalogue, name, subscription.terms),
        "title": record.title,
        "signer": {key: record.signer.get(key) for key in ("dn", "ca")} if record.signer else None,
        "uri": subscription.uri,
        "version": facts.version,
        "created": _text(facts.created),
        "expires": _text(facts.expires),
        "refreshed": poll["refreshed"] if poll else None,
        "max_unrefreshed": subscription.max_unrefreshed,
        "error": {"code": poll["code"], "detail": poll["detail"]} if poll and poll["code"] else None,
        "rebaseline": rebaseline_record(act) if act else None,
        "decisions": [
            _decision(item) for item in assessor.decided.about_list(record) if item.is_in_force(assessor.now)
        ],
        "path": {
            "code": status.code,
            "detail": status.detail,
            "good_until": _text(status.good_until),
            "crls": list(status.crls),
        },
    }


def _decision(decision: Decision) -> dict[str, t.Any]:
    keys = ("decision", "target_type", "target", "reason", "author")
    return {**{key: getattr(decision, key) for key in keys}, "until": _text(decision.until)}


def _text(when: datetime | None) -> str | None:
    return to_text(when) if when is not None else None
