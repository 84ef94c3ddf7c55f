# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rule of the site: one decision about all images that are like its match, those of now and those to come."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from datetime import datetime

from ...errors import SiteError
from ...imagelist.fields import read_time
from ...times import from_text, to_text
from ..judgement.verdict import RUN_ANYWAY, Decision
from ..matching import Match, MatchError, Subject, parse
from ..subscription import UUID

#: A rule clears nothing: it is taken out of the set.
DECISIONS: t.Final = ("approve", "blacklist", RUN_ANYWAY)
KEYS: t.Final = ("name", "decision", "match", "except", "reason", "until")

MAX_RULES: t.Final = 1000
_NAME: t.Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._-]{0,62}[A-Za-z0-9._-])?")


@dataclass(frozen=True)
class Rule:
    """`spared` are the UUIDs and tags that the rule does not speak of; `until` ends it."""

    name: str
    decision: str
    match: Match
    spared: tuple[str, ...]
    reason: str
    until: datetime | None
    author: str

    @property
    def meaning(self) -> dict[str, t.Any]:
        """What is compared and shown: all but the author."""
        return {
            "decision": self.decision,
            "match": self.match.as_dict(),
            "except": list(self.spared),
            "reason": self.reason,
            "until": to_text(self.until) if self.until else None,
        }

    def as_dict(self) -> dict[str, t.Any]:
        """For the journal; `from_dict` reads it back."""
        return {"name": self.name, **self.meaning, "author": self.author}

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Rule:
        """What `as_dict` wrote."""
        return cls(
            name=data["name"],
            decision=data["decision"],
            match=parse(data["match"]),
            spared=tuple(data["except"]),
            reason=data["reason"],
            until=from_text(data["until"]) if data["until"] else None,
            author=data["author"],
        )

    def decide(self, subject: Subject) -> Decision | None:
        """What the rule says of this image, now or when it is older; None for nothing."""
        if subject.image_id in self.spared or subject.tag in self.spared:
            return None
        window = self.match.window(subject)
        if window is None:
            return None
        ends = [end for end in (window.ends, self.until) if end is not None]
        return Decision(
            decision=self.decision,
            target_type="rule",
            target=self.name,
            reason=self.reason,
            author=self.author,
            until=min(ends, default=None),
            begins=window.begins,
        )


def read_rules(given: t.Any, *, author: str) -> list[Rule]:
    """The rules of an option, by name; ``rule_invalid`` names what is wrong, as in ``rules[2].match.size_min``."""
    if not isinstance(given, (list, tuple)):
        raise _invalid("rules", f"{given!r} is not a list of rules")
    if len(given) > MAX_RULES:
        raise _invalid("rules", f"there are {len(given)} rules; every image is compared with each of up to {MAX_RULES}")
    rules: dict[str, Rule] = {}
    for number, item in enumerate(given):
        where = f"rules[{number}]"
        rule = _read(item, where, author)
        if rule.name in rules:
            raise _invalid(f"{where}.name", f"there is a rule {rule.name!r} already; the name of a rule is its own")
        rules[rule.name] = rule
    return [rules[name] for name in sorted(rules)]


def _read(given: t.Any, where: str, author: str) -> Rule:
    if not isinstance(given, t.Mapping):
        raise _invalid(where, f"{given!r} is not a mapping with name, decision and match")
    for key in given:
        if key not in KEYS:
            raise _invalid(f"{where}.{key}", f"there is no such key; there are {', '.join(KEYS)}")
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _invalid(
            f"{where}.name",
            f"{name!r} is not a name of up to 64 ASCII letters, digits, spaces, dots, hyphens, underscores",
        )
    decision = given.get("decision")
    if decision not in DECISIONS:
        raise _invalid(f"{where}.decision", f"{decision!r} is none of {', '.join(DECISIONS)}")
    match = _match(given.get("match"), f"{where}.match")
    if decision != "blacklist" and not match.names_provenance:
        raise _invalid(
            f"{where}.match",
            "whoever signs a subscribed list may describe images like this; say whose are approved under list or "
            "endorser, or write list: '*' if all are meant",
        )
    return Rule(
        name=name,
        decision=decision,
        match=match,
        spared=_spared(given.get("except"), f"{where}.except"),
        reason=_text(given.get("reason"), f"{where}.reason"),
        until=_until(given.get("until"), f"{where}.until"),
        author=author,
    )


def _match(given: t.Any, where: str) -> Match:
    try:
        return parse({} if given is None else given)
    except MatchError as error:
        raise _invalid(f"{where}.{error.path}" if error.path else where, str(error)) from error


def _spared(given: t.Any, where: str) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, (list, tuple)):
        raise _invalid(where, f"{given!r} is not a list of UUIDs and tags")
    for number, item in enumerate(given):
        if not isinstance(item, str) or not item:
            raise _invalid(f"{where}[{number}]", f"{item!r} is neither a UUID nor a tag")
    return tuple(sorted({item.lower() if UUID.match(item.lower()) else item for item in given}))


def _text(given: t.Any, where: str) -> str:
    if given is not None and not isinstance(given, str):
        raise _invalid(where, f"{given!r} is not text")
    return given or ""


def _until(given: t.Any, where: str) -> datetime | None:
    if given is None:
        return None
    when = read_time(given) if isinstance(given, str) else None
    if when is None:
        raise _invalid(where, f"{given!r} is not a time; write it in UTC, such as '2027-01-31T00:00:00Z'")
    return when


def _invalid(where: str, text: str) -> SiteError:
    return SiteError("rule_invalid", f"{where}: {text}.", option=where)
