# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Audit a tree, repair what is safe to repair, and write the report outside of it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from datetime import datetime

from ...errors import GuestError
from ...outcome import Outcome
from ...transfer.atomic import write_atomic
from ...transfer.checksum import digest_file
from ..boot.system import read_system
from ..packages.manifest import check_not_inside, read_existing
from ..root.names import printable, shown
from ..root.tree import Root
from ..root.writing import remove, write
from .model import Asked, Finding, Fix, Repair, Subject
from .places import read_places
from .report import as_json, as_text, make_report, with_time_of
from .running import Result, carry_out, read_waivers


@dataclass(frozen=True)
class Wanted:
    """What to audit and where the reports go."""

    waivers: t.Sequence[t.Mapping[str, t.Any]] = ()
    asked: Asked = field(default_factory=Asked)
    image: str | None = None
    fix: bool = False
    report: str | None = None
    text_report: str | None = None
    given: t.Mapping[str, t.Any] = field(default_factory=dict)


def audit(root: Root, wanted: Wanted, *, check: bool, now: datetime) -> Outcome:
    """Audit the tree, after the repairs that were asked for; in check mode it is told as it is.

    Raises `GuestError`: waiver_invalid, report_inside, audit_writes, audit_moved (the image changed meanwhile),
    guest_*;
    `TransferError`.
    """
    waivers = read_waivers(wanted.waivers)
    if wanted.fix and wanted.image is not None:
        raise GuestError("audit_writes", f"Repairs would change {wanted.image} while it is audited", path=wanted.image)
    for path in filter(None, (wanted.report, wanted.text_report)):
        check_not_inside(root, path)
    before = None if wanted.image is None else digest_file(wanted.image)
    results = carry_out(_subject(root, wanted), waivers, now.date())
    repairs = _repairs(root, wanted, results) if wanted.fix else ()
    if repairs and not check:
        for repair in repairs:
            _repair(root, repair)
        results = carry_out(_subject(root, wanted), waivers, now.date())
    after = None if wanted.image is None else digest_file(wanted.image)
    if before != after:
        raise GuestError("audit_moved", f"{wanted.image} changed while it was audited", path=wanted.image)
    image = None if after is None else {"path": wanted.image, "size": after.size, "sha512": after.sha512}
    made = make_report(
        results, waivers, system=printable(read_system(root).as_dict()), image=image, given=wanted.given, now=now
    )
    written = _write_reports(wanted, made, check=check)
    actions = tuple([{"action": item.text, "path": shown(item.path)} for item in repairs] + written)
    return Outcome(
        changed=bool(actions),
        before={"found": sorted(shown(item.path) for item in repairs)} if actions else {},
        after={"found": [], "written": [item["path"] for item in written]} if actions else {},
        actions=actions,
        data={"report": made},
    )


def _subject(root: Root, wanted: Wanted) -> Subject:
    return Subject(root, read_places(root), wanted.image, wanted.asked)


def _repairs(root: Root, wanted: Wanted, results: t.Sequence[Result]) -> tuple[Repair, ...]:
    """What the checks with one way to repair have found is repaired at once: P01 and P02 lock in the same file."""
    subject = _subject(root, wanted)
    findings: dict[Fix, list[Finding]] = {}
    for result in results:
        if result.check.fix is not None and result.findings:
            findings.setdefault(result.check.fix, []).extend(result.findings)
    found: dict[str, Repair] = {}
    for fix, these in findings.items():
        for repair in fix(subject, [finding for finding in these if finding.path != "/"]):
            found.setdefault(repair.path, repair)
    return tuple(found.values())


def _repair(root: Root, repair: Repair) -> None:
    if repair.octets is None:
        remove(root, repair.path)
    else:
        write(root, repair.path, repair.octets)


def _write_reports(wanted: Wanted, made: dict[str, t.Any], *, check: bool) -> list[dict[str, str]]:
    written: list[dict[str, str]] = []
    if wanted.report is not None:
        made.update(with_time_of(made, read_existing(wanted.report)))
    for path, octets in ((wanted.report, as_json(made)), (wanted.text_report, as_text(made))):
        if path is not None and read_existing(path) != octets:
            if not check:
                write_atomic(path, octets)
            written.append({"action": "write", "path": path})
    return written
