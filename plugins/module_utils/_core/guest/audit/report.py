# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report of an audit, as JSON for machines and as text for people."""

from __future__ import annotations

import json
import typing as t
from datetime import date, datetime

from ...times import to_text
from ..root.names import printable
from .disclosure import rules, versions
from .model import ERROR, NOTE, WARNING, Finding
from .running import FAIL, UNKNOWN, Result, Waiver, verdict

#: As many findings of a check are told one by one.
_EACH: t.Final = 100


def make_report(
    results: t.Sequence[Result],
    waivers: t.Sequence[Waiver],
    *,
    system: t.Mapping[str, t.Any],
    image: t.Mapping[str, t.Any] | None,
    given: t.Mapping[str, t.Any],
    now: datetime,
) -> dict[str, t.Any]:
    """The report; `image` has path, size and sha512, or is None; `given` is what the audit compared with."""
    checks = [
        {
            "id": result.check.id,
            "clause": result.check.clause,
            "severity": result.check.severity,
            "title": result.check.title,
            "result": result.result,
            "why": result.why,
            "findings": _listed(result.findings),
            "waived": _listed(result.waived),
        }
        for result in results
    ]
    return printable(
        {
            "tool": "hepix.vmimages.image_audit",
            "created": to_text(now),
            "result": verdict(results),
            "image": image,
            "system": dict(system),
            "checks": checks,
            "rules": rules(),
            "versions": versions(),
            "given": dict(given),
            "waivers": [_waiver(waiver, now.date()) for waiver in waivers],
        }
    )


def _listed(findings: t.Sequence[Finding]) -> list[dict[str, t.Any]]:
    """The gravest hundred, and how many more there are."""
    order = [ERROR, WARNING, NOTE]
    graver = sorted(findings, key=lambda finding: order.index(finding.severity or NOTE))
    listed = list(findings) if len(findings) <= _EACH else graver[:_EACH]
    if len(findings) > _EACH:
        rest = graver[_EACH:]
        listed.append(Finding("/", f"There are {len(rest)} more.", None, rest[0].severity))
    return [{**finding.as_dict(), "severity": finding.severity} for finding in listed]


def _waiver(waiver: Waiver, today: date) -> dict[str, t.Any]:
    return {
        "check": waiver.check,
        "path": waiver.path,
        "reason": waiver.reason,
        "until": waiver.until.isoformat(),
        "expired": waiver.until < today,
    }


def as_json(report: t.Mapping[str, t.Any]) -> bytes:
    """The report as its file has it."""
    return (json.dumps(report, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def with_time_of(report: dict[str, t.Any], existing: bytes | None) -> dict[str, t.Any]:
    """The report, with the time of the existing one if nothing else differs."""
    try:
        old = json.loads(existing or b"")
        same = {**old, "created": report["created"]} == report
    except (ValueError, TypeError):
        return report
    return {**report, "created": old["created"]} if same and isinstance(old.get("created"), str) else report


def as_text(report: t.Mapping[str, t.Any]) -> bytes:
    """The report as lines."""
    image = report["image"]
    lines = [
        f"Audit of {report['system']['name'] or 'a system without a name'}, {report['created']}",
        f"Image: {image['path']}, {image['size']} octets, sha512 {image['sha512']}"
        if image
        else "Image: none was named",
        f"Result: {report['result']}{_why(report['checks'])}",
        "",
        "Each check, its result, the clause of the policy, and what is asked for:",
        "",
    ]
    for check in report["checks"]:
        lines.append(f"{check['id']}  {check['result']:<14}  {check['clause']:<8}  {check['title']}")
        if check["why"]:
            lines.append(f"       {'could not be told' if check['result'] == UNKNOWN else 'waived'}: {check['why']}")
        for kind, findings in (("", check["findings"]), ("waived: ", check["waived"])):
            for item in findings:
                where = item["path"] if item["line"] is None else f"{item['path']}:{item['line']}"
                mark = "" if item["sha256"] is None else f" (sha256 {item['sha256']}...)"
                lines.append(f"       {kind}{item['severity']}: {where}: {item['text']}{mark}")
    if report["waivers"]:
        lines += ["", "Waivers:"]
    for waiver in report["waivers"]:
        state = "expired" if waiver["expired"] else "until"
        lines.append(f"  {waiver['check']} {waiver['path'] or 'all'} {state} {waiver['until']}: {waiver['reason']}")
    lines += ["", "Disclosure:", f"  tool: {report['tool']}", f"  rules: sha256 {report['rules']}"]
    lines += [f"  {name}: {version}" for name, version in sorted(report["versions"].items()) if version]
    lines += [f"  given, {name}: {_plain(value)}" for name, value in sorted(report["given"].items()) if value]
    return ("\n".join(lines) + "\n").encode()


def _why(checks: t.Sequence[t.Mapping[str, t.Any]]) -> str:
    """The checks that block, by their result."""
    told = []
    for result in (FAIL, UNKNOWN):
        names = [check["id"] for check in checks if check["result"] == result]
        if names:
            told.append(f"{result} {', '.join(names)}")
    return f" ({'; '.join(told)})" if told else ""


def _plain(value: t.Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in sorted(value.items()))
    return "yes" if value is True else str(value)
