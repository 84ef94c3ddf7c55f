# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's decisions about images: approve, blacklist, run_anyway, clear; for a UUID or for a tag."""

from __future__ import annotations

import typing as t
from datetime import datetime

from ..errors import SiteError
from ..outcome import Outcome
from ..times import to_text
from .judgement import snapshot
from .judgement.assess import resolve
from .subscription import UUID

if t.TYPE_CHECKING:
    from .store.catalogue import Catalogue

DECISIONS: t.Final = ("approve", "blacklist", "run_anyway", "clear")


def decide(
    catalogue: Catalogue,
    *,
    decision: str,
    images: t.Sequence[str] = (),
    tags: t.Sequence[str] = (),
    reason: str = "",
    author: str | None = None,
    until: datetime | None = None,
    check: bool = False,
) -> Outcome:
    """Record one decision for every image (UUID) and tag named; each target has one standing decision, the last.

    ``run_anyway`` approves, and overrides the expiry of list or image; ``clear`` takes the standing decision back.
    A decision that stands already, with this reason and end, is not written again; its author stays the first.
    Raises ``unknown_image`` for a target no subscribed list holds (except to clear it), ``decision_invalid``.
    """
    if decision not in DECISIONS:
        raise SiteError("decision_invalid", f"decision: {decision!r} is none of {', '.join(DECISIONS)}.")
    if not images and not tags:
        raise SiteError("decision_invalid", "images: name at least one image or tag.")
    if until is not None and until <= catalogue.now():
        raise SiteError("decision_invalid", f"until: {to_text(until)} is in the past.")
    targets = [("image", _uuid(image)) for image in images] + [("tag", tag) for tag in tags]
    standing = {target: _standing(catalogue, target) for target in targets}
    if decision != "clear":
        for _kind, name in targets:
            resolve(catalogue, name)
    wanted = {"decision": decision, "reason": reason, "until": to_text(until) if until else None}
    pending = [target for target in standing if _differs(standing[target], wanted)]
    acting = author or catalogue.actor
    if pending and not check:
        with catalogue.writing() as writer:
            writer.commit(
                *(
                    ("decided", {**wanted, "target_type": kind, "target": name, "author": acting})
                    for kind, name in pending
                )
            )
        snapshot.write(catalogue)
    elif not check:
        snapshot.ensure(catalogue)
    before = {name: standing[kind, name] for kind, name in standing}
    planned = None if decision == "clear" else {**wanted, "author": acting}
    after = {name: planned if (kind, name) in pending else standing[kind, name] for kind, name in standing}
    return Outcome(
        changed=bool(pending),
        before=before,
        after=after,
        actions=tuple({"action": decision, kind: name} for kind, name in pending),
        data={"decisions": after},
    )


def _uuid(text: str) -> str:
    if not UUID.match(text.lower()):
        raise SiteError("decision_invalid", f"images: {text!r} is not a UUID; name a tag under tags.")
    return text.lower()


def _standing(catalogue: Catalogue, target: tuple[str, str]) -> dict[str, t.Any] | None:
    row = catalogue.row(
        "SELECT decision, reason, until, author FROM decisions WHERE target_type = ? AND target = ?", *target
    )
    return dict(row) if row else None


def _differs(standing: t.Mapping[str, t.Any] | None, wanted: t.Mapping[str, t.Any]) -> bool:
    if wanted["decision"] == "clear":
        return standing is not None
    return standing is None or any(standing[key] != wanted[key] for key in wanted)
