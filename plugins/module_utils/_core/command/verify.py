# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages verify``: one signed message, without any state."""

from __future__ import annotations

import typing as t

from ..errors import VmimagesError
from ..site.inspection import InspectionSpec, inspect_list, refusal
from ..site.subscription import TrustOptions
from ..times import utc_now
from ..trust.steps import TITLES, Explanation
from .line.output import (
    emit,
    emit_error,
    emit_json,
    emit_notes,
    printable,
    table,
)
from .line.values import moment

if t.TYPE_CHECKING:
    import argparse
    from datetime import datetime

REFUSED: t.Final = 1


def verify(options: argparse.Namespace) -> int:
    """0 if the message proves what it must, 1 if it is refused."""
    explanation = Explanation()
    when = _time(options.when)
    try:
        report = inspect_list(_spec(options), now=when or utc_now(), explanation=explanation, audit=when is not None)
    except VmimagesError as error:
        if explanation.refused() is None:
            raise
        _refused(error, explanation, options)
        return REFUSED
    if options.json:
        emit_json(report)
        return 0
    emit(_headline(report), *_facts(report), "", *_path(report), "", *_crls(report))
    if options.explain:
        emit("", *_steps(report["steps"]))
    elif report["images"]:
        images = [(image["identifier"], image["title"], image["version"], image["size"]) for image in report["images"]]
        emit("", *table(("IMAGE", "TITLE", "VERSION", "SIZE"), images))
    elif report["elected"]:
        emit("", *_elected(report))
    return 0


def _spec(options: argparse.Namespace) -> InspectionSpec:
    return InspectionSpec(
        src=options.file,
        identifier=options.identifier,
        endorsers=None if options.endorsers is None else tuple((dn, ca) for dn, ca in options.endorsers),
        trust=TrustOptions(
            anchors=options.anchors,
            crl_mode=options.crl_mode,
            namespaces_mode=options.namespaces_mode,
            allow_sha1=options.allow_sha1,
            allow_host=options.allow_host,
        ),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else moment(text, "--when")


def _headline(report: t.Mapping[str, t.Any]) -> str:
    if report["audit"]:
        return f"good at {report['as_of']}: an audit of that time, which authorises nothing"
    return "verified"


def _facts(report: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    found, signer = report["list"], report["signer"]
    facts = {
        "list": f"{found['identifier']} version {found['version']}",
        "title": found["title"],
        "created": found["created"],
        "expires": found["expires"],
        "content": f"SHA-512 {found['sha512_of_content']}",
        "signer": signer["dn"],
        "issuer": signer["ca"],
        "RFC 4514": signer["rfc4514"],
        "certificate": f"SHA-256 {signer['fingerprint']}",
        "good until": f"{report['good_until']}, when {report['good_until_reason']}",
    }
    return (f"  {name:<11}  {printable(value)}" for name, value in facts.items())


def _elected(report: t.Mapping[str, t.Any]) -> list[str]:
    rows = [(one["identifier"], pair["dn"], pair["ca"]) for one in report["elected"] or () for pair in one["pairs"]]
    return table(("ENDORSER", "DN", "CA"), rows)


def _path(report: t.Mapping[str, t.Any]) -> list[str]:
    rows = [(one["dn"], one["not_after"], one["fingerprint"]) for one in report["path"]]
    return table(("CERTIFICATION PATH", "UNTIL", "SHA-256"), rows)


def _crls(report: t.Mapping[str, t.Any]) -> list[str]:
    rows = [(one["issuer"], one["number"], _age(one["age"]), one["next_update"]) for one in report["crls"]]
    return table(("CRL OF", "NUMBER", "AGE", "UNTIL"), rows) or ["No CRL was used."]


def _age(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if days else f"{hours} h {rest // 60} min"


def _steps(steps: t.Iterable[t.Mapping[str, t.Any]]) -> list[str]:
    rows = [(f"{one['number']:>4}", one["title"], one["outcome"], _found(one)) for one in steps]
    return table(("STEP", "WHAT", "OUTCOME", "FOUND"), rows)


def _found(step: t.Mapping[str, t.Any]) -> str:
    return f"{step['code']}: {step['detail']}" if step["code"] else step["detail"]


def _refused(error: VmimagesError, explanation: Explanation, options: argparse.Namespace) -> None:
    facts = refusal(explanation)
    if options.json:
        emit_json({"error": error.as_dict(), **facts})
        return
    if options.explain:
        emit(*_steps(facts["steps"]))
    emit_error(error, as_json=False)
    emit_notes(f"refused at step {facts['step']['number']} of {len(TITLES)}: {facts['step']['title']}")
