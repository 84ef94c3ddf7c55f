# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a publication did, or would do, as an `Outcome`."""

from __future__ import annotations

import typing as t

from ..imagelist.model import IMAGES
from ..outcome import Outcome
from ..times import to_text
from .history import PENDING
from .plan import Plan


def outcome(plan: Plan, *, octets_read: int) -> Outcome:
    """The same for a plan and for what was done by it; `octets_read` of image files is in its `data`."""
    actions = tuple(_actions(plan))
    before, after = _difference(plan)
    return Outcome(
        changed=bool(actions),
        before=before,
        after=after,
        actions=actions,
        warnings=plan.warnings,
        data={
            "list": {
                "identifier": plan.raw["dc:identifier"].lower(),
                "version": plan.entry.version,
                "uri": plan.raw.get("hv:uri", ""),
                "created": plan.entry.created,
                "expires": plan.entry.expires,
                "sha512_of_content": plan.entry.sha512_of_content,
            },
            plan.entries.result: plan.entries.tell(plan.raw),
            "signer": {"dn": plan.signer.dn, "ca": plan.signer.ca, "not_after": to_text(plan.signer.not_after)},
            "message_path": str(plan.path),
            **({"octets_read": octets_read} if plan.entries.key == IMAGES else {}),
        },
    )


def _actions(plan: Plan) -> t.Iterator[dict[str, t.Any]]:
    named = {"identifier": plan.raw["dc:identifier"].lower()}
    for evidence in plan.evidence:
        yield {"action": "record", "what": evidence.kind, "identifier": evidence.identifier}
    if plan.adopted is not None:
        yield {"action": "adopt", **named, "version": plan.adopted.entry.version}
    if plan.decision is not None:
        yield {"action": "sign", **named, "version": plan.entry.version, "reason": plan.decision.reason}
    for upload in (*plan.images, *plan.listing):
        yield upload.action()
    if plan.decision is None and plan.entry.state == PENDING:
        yield {"action": "complete", **named, "version": plan.entry.version}


def _difference(plan: Plan) -> tuple[dict[str, t.Any], dict[str, t.Any]]:
    before: dict[str, t.Any] = {}
    after: dict[str, t.Any] = {}
    if plan.decision is not None:
        before = {} if plan.base is None else _meaning(plan, plan.base.content.raw)
        after = _meaning(plan, plan.raw)
    uploads = (*plan.images, *plan.listing)
    if uploads:
        before["files"] = {upload.place.target: upload.found for upload in uploads}
        after["files"] = {
            upload.place.target: f"{upload.describes['what']} {upload.describes['identifier']} "
            f"version {upload.describes['version']}"
            for upload in uploads
        }
    for evidence in plan.evidence:
        after.setdefault("evidence", {})[f"{evidence.kind} of {evidence.identifier}"] = evidence.sha512
    if plan.decision is None and plan.entry.state == PENDING:
        before["publication"], after["publication"] = "unfinished", "finished"
    return before, after


def _meaning(plan: Plan, raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    entries = plan.entries
    said = {key: value for key, value in raw.items() if key != entries.key}
    return {"list": said, entries.result: entries.by_identifier(raw)}
