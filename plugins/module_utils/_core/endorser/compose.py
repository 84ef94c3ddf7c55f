# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is declared and what is published to the list that should be published: pure functions.

`Base` is the current list; a composed list is the list object without its dates and version, which `decide` adds when
there is a reason to sign.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime

from ..errors import PublishError
from ..imagelist import versions
from ..imagelist.difference import PER_SIGNATURE
from ..imagelist.model import ENDORSER, X509, SignedList
from ..times import to_text
from .declared.images import EXPIRES
from .declared.spec import LIST_TEXTS, PublishSpec
from .entries.kinds import ENTRIES, meaning
from .entries.profile import apply
from .history import KnownImage

if t.TYPE_CHECKING:
    from ..transfer.checksum import Digest


@dataclass(frozen=True)
class Base:
    """The current list (pending or published), its signed content's digest, and when its signer's certificate ends."""

    content: SignedList
    sha512: str
    signer_not_after: datetime


@dataclass(frozen=True)
class Signer:
    """Who signs now: slash-form names, the end of the certificate, and what it says about the person."""

    dn: str
    ca: str
    not_after: datetime
    name: str
    email: str


@dataclass(frozen=True)
class Decision:
    """Sign this list, because: ``first``, ``content``, ``expiry``, ``certificate``, ``lifetime``, ``version``."""

    reason: str
    raw: t.Mapping[str, t.Any]
    version: str


def compose(
    spec: PublishSpec,
    base: t.Optional[Base],
    signer: Signer,
    digests: t.Mapping[str, Digest],
    known: t.Mapping[str, KnownImage],
) -> dict[str, t.Any]:
    """The list object without dates and version. `digests` by image identifier, for images with a path.

    Raises PublishError: ``publish_invalid``, ``version_not_raised``.
    """
    merged = base.content if base is not None and not spec.purge else None
    raw = {
        **dict.fromkeys(LIST_TEXTS[spec.kind].values(), ""),
        **({} if merged is None else merged.raw),
        **spec.keys,
        "dc:identifier": spec.identifier,
        "hv:uri": spec.uri,
        ENDORSER: _endorser(spec, merged, signer),
        **ENTRIES[spec.kind].compose(spec, merged, digests, known),
    }
    said = {key: value for key, value in raw.items() if value is not None and key not in PER_SIGNATURE}
    return apply(spec.profile, said)


def decide(
    spec: PublishSpec,
    base: t.Optional[Base],
    composed: t.Mapping[str, t.Any],
    signer: Signer,
    now: datetime,
    *,
    outlived: bool = False,
) -> t.Optional[Decision]:
    """What to sign and why, or None when the current list still says it all.

    `outlived`: sites refuse the signature of the current list by now, and not that of `signer`.
    Raises PublishError ``version_not_raised``.
    """
    reason = _reason(spec, base, composed, signer, now, outlived=outlived)
    order = _order(spec, base)
    if reason is None and order == 0:
        return None
    if order < 0 or (reason is not None and order == 0 and spec.version is not None):
        published = base.content.version if base is not None else ""
        raise PublishError(
            "version_not_raised",
            f"version: {published} is published, and {spec.version} is not higher ({_why(reason)}).",
            option="version",
            published=published,
        )
    version = spec.version or (versions.next_version(base.content.version) if base is not None else "1")
    raw = {
        **composed,
        "dc:date:created": to_text(now),
        EXPIRES: to_text(now + spec.lifetime),
        "hv:version": version,
    }
    return Decision(reason or "version", raw, version)


def _reason(
    spec: PublishSpec,
    base: t.Optional[Base],
    composed: t.Mapping[str, t.Any],
    signer: Signer,
    now: datetime,
    *,
    outlived: bool,
) -> t.Optional[str]:
    if base is None:
        return "first"
    if meaning(base.content.raw) != meaning(composed):
        return "content"
    if base.content.expires - now <= spec.renew_before:
        return "expiry"
    if outlived:
        return "certificate"
    # A new certificate only helps when it lasts longer: else every run would sign again.
    if base.signer_not_after - now <= spec.renew_before and signer.not_after > base.signer_not_after:
        return "certificate"
    if base.content.expires > now + spec.lifetime:
        return "lifetime"
    return None


def _why(reason: t.Optional[str]) -> str:
    return {
        "content": "the content has changed",
        "expiry": "the list has to be renewed before it expires",
        "certificate": "the list has to be signed with the new certificate",
        "lifetime": "the published expiry is later than the lifetime allows",
    }.get(reason or "", "a version never goes back")


def _order(spec: PublishSpec, base: t.Optional[Base]) -> int:
    """How the version that will be published compares to the current one: 0 when none is asked for."""
    if base is None:
        return 1
    return 0 if spec.version is None else versions.compare(spec.version, base.content.version)


def _endorser(spec: PublishSpec, merged: t.Optional[SignedList], signer: Signer) -> dict[str, t.Any]:
    name, email = signer.name, signer.email
    further: t.Mapping[str, t.Any] = {}
    if merged is not None and len(merged.endorsers) == 1 and merged.endorsers[0].dn == signer.dn:
        published = merged.endorsers[0]
        name, email, further = published.name, published.email, published.raw
    said = {
        **further,
        **spec.endorser_keys,
        "hv:dn": signer.dn,
        "hv:ca": signer.ca,
        "dc:creator": name if spec.endorser_name is None else spec.endorser_name,
        "hv:email": email if spec.endorser_email is None else spec.endorser_email,
    }
    return {X509: {key: value for key, value in said.items() if value is not None}}
