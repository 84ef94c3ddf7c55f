# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carry out the table: results, waivers, and one verdict."""

from __future__ import annotations

import fnmatch
import itertools
import re
import typing as t
from dataclasses import dataclass, replace
from datetime import date

from ...errors import GuestError
from .model import ERROR, WARNING, Check, Finding, Subject
from .table import TABLE

PASS, FAIL, WARN, NOTED, WAIVED = "pass", "fail", "warn", "note", "waived"
NOT_APPLICABLE, UNKNOWN = "not_applicable", "unknown"

#: As many findings of a check are looked at; a report lists fewer.
_MOST: t.Final = 20_000

_DATE: t.Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")


@dataclass(frozen=True)
class Waiver:
    """What the endorser accepts, and until when (that day included); `path` is a pattern, None stands for all."""

    check: str
    reason: str
    until: date
    path: str | None = None

    def covers(self, check: str, path: str | None, today: date) -> bool:
        if self.check != check or self.until < today:
            return False
        return self.path is None or (path is not None and fnmatch.fnmatchcase(path, self.path))


@dataclass(frozen=True)
class Result:
    """What became of one check; `why` is a sentence where it is unknown."""

    check: Check
    result: str
    findings: tuple[Finding, ...] = ()
    waived: tuple[Finding, ...] = ()
    why: str | None = None


def read_waivers(given: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[Waiver, ...]:
    """The waivers as they were given. Raises `GuestError` (waiver_invalid)."""
    known = {check.id for check in TABLE}
    made: list[Waiver] = []
    for number, item in enumerate(given):
        where = f"waivers[{number}]"
        if item["check"] not in known:
            raise _invalid(where, f"there is no check {str(item['check'])[:40]!a}")
        if len(str(item["reason"]).strip()) < 3:
            raise _invalid(where, "it gives no reason")
        made.append(Waiver(item["check"], str(item["reason"]).strip(), _until(where, item["until"]), item.get("path")))
    return tuple(made)


def _until(where: str, text: str) -> date:
    try:
        if _DATE.match(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _invalid(where, f"until is no date such as 2026-12-31: {text[:40]!a}")


def _invalid(where: str, what: str) -> GuestError:
    return GuestError("waiver_invalid", f"{where} cannot be used: {what}", option=where)


def carry_out(subject: Subject, waivers: t.Sequence[Waiver], today: date) -> tuple[Result, ...]:
    """Every check of the table; what of the image cannot be read makes a check unknown, never good."""
    return tuple(_result(check, subject, waivers, today) for check in TABLE)


def _result(check: Check, subject: Subject, waivers: t.Sequence[Waiver], today: date) -> Result:
    try:
        found = check.search(subject)
        if found is None:
            return Result(check, NOT_APPLICABLE)
        bounded = list(itertools.islice(found, _MOST + 1))
        if len(bounded) > _MOST:
            # What is behind these, nobody has looked at.
            bounded[_MOST:] = [Finding("/", f"There are more than {_MOST}.", None, ERROR)]
        findings = tuple(replace(finding, severity=finding.severity or check.severity) for finding in bounded)
    except GuestError as error:
        waived = any(waiver.covers(check.id, None, today) for waiver in waivers)
        return Result(check, WAIVED if waived else UNKNOWN, why=error.detail)
    sorted_out: dict[bool, list[Finding]] = {True: [], False: []}
    for finding in findings:
        sorted_out[any(waiver.covers(check.id, finding.path, today) for waiver in waivers)].append(finding)
    accepted, left = tuple(sorted_out[True]), tuple(sorted_out[False])
    if any(finding.severity == ERROR for finding in left):
        return Result(check, FAIL, left, accepted)
    if left:
        warned = any(finding.severity == WARNING for finding in left)
        return Result(check, WARN if warned else NOTED, left, accepted)
    return Result(check, WAIVED if accepted else PASS, (), accepted)


def verdict(results: t.Sequence[Result]) -> str:
    """fail, unknown, waived or pass, the first that any check gives; warnings and notes block nothing."""
    given = {result.result for result in results}
    return next((name for name in (FAIL, UNKNOWN, WAIVED) if name in given), PASS)
