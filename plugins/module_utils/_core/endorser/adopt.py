# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A message at the list's address that our history does not know: published from elsewhere, or before a loss."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass
from datetime import datetime

from ..endorserlist.kinds import KINDS
from ..errors import TrustError, VmimagesError
from ..imagelist import versions
from ..imagelist.check import content_digest
from .compose import Base, Signer
from .declared.options import invalid
from .declared.spec import PublishSpec
from .delivery.places import Place
from .history import Record
from .signing import load_anchors, verify


@dataclass(frozen=True)
class Adoption:
    """What to do about the message: continue from `base`, or replace it and say so in `warning`."""

    base: t.Optional[Base] = None
    warning: t.Optional[str] = None


def judge_found(
    found: bytes,
    place: Place,
    *,
    spec: PublishSpec,
    record: Record,
    base: t.Optional[Base],
    signer: Signer,
    now: datetime,
) -> Adoption:
    """Judge the message at `place` against our own record, whose current list is `base`.

    Only a message of the same signer is continued: whatever is merged into the list will carry our signature.
    Raises TrustError, when there is no history and the message does not verify or is another list;
    PublishError ``publish_invalid``, when somebody else has signed this list.
    """
    if any(entry.sha256 == hashlib.sha256(found).hexdigest() for entry in record.entries):
        return Adoption()
    try:
        verified = verify(found, load_anchors(spec), now, spec)
        content = KINDS[spec.kind].read(verified.content)
    except VmimagesError as refusal:
        if base is not None:
            return Adoption(warning=f"{place.target} held a message that does not verify ({refusal.code}).")
        detail = f"{place.target} holds something else than a good list, and is not overwritten: {refusal.detail}"
        raise TrustError(refusal.code, detail, path=place.target) from refusal
    if content.identifier != spec.identifier:
        raise TrustError(
            "identifier_mismatch", f"{place.target} holds the list {content.identifier}, and is not overwritten."
        )
    if (verified.signer.dn, verified.signer.ca) != (signer.dn, signer.ca):
        raise invalid(
            "uri", f"{place.target} holds this list signed by {verified.signer.dn}; move that file away first"
        )
    if base is not None and versions.compare(content.version, base.content.version) < 0:
        return Adoption(warning=f"{place.target} held the older version {content.version}, which our history lacks.")
    return Adoption(base=Base(content, content_digest(verified.content), verified.signer.not_after))
