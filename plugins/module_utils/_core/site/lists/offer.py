# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An offer: what a list's server answered, and how it was judged. Nothing is written here, and no catalogue is read,
so that many offers can be fetched and judged side by side."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime

from ...endorserlist.kinds import KINDS
from ...errors import SiteError, TrustError, VmimagesError
from ...trust.message.limits import MAX_MESSAGE
from ..judgement.path_status import AnchorStore, verify
from ..subscription import Subscription

if t.TYPE_CHECKING:
    from ...imagelist.model import SignedList
    from ...transfer.session import Session
    from ...transfer.sources import Validators
    from ...trust.verify import Verified
    from ..endorsers.warrants import Authorisation


@dataclass(frozen=True)
class Accepted:
    """The last accepted version of a list, and what decides about the next one.

    `not_after` is the end of its signer's certificate; `stands`: its message is still believed, by the present anchors,
    CRLs and endorsers. `set_aside`: after a re-baselining the digests of the contents accepted before it; `rebaseline`:
    the digest of the content that an administrator's act lets in whatever its version.
    """

    version: str
    content_sha512: str
    not_after: datetime
    stands: bool = True
    set_aside: frozenset[str] = frozenset()
    rebaseline: str | None = None

    def as_state(self) -> dict[str, str]:
        """As the check of a list wants it."""
        return {"version": self.version, "sha512_of_signed_content": self.content_sha512}


@dataclass(frozen=True)
class Offer:
    """`status` is one of

    - ``new``: a version to accept; ``renewed``: the accepted content, signed with a certificate that lasts longer, or
      by somebody who is believed while the accepted message no longer is;
    - ``same``: the accepted content again; ``unchanged``: the server says that nothing changed;
    - ``refused``: a message that was judged and not accepted; ``failed``: no message could be fetched.

    `error` is set for the last two, `verified` and `content` for the first three, which were judged `against` what
    was accepted then, by whom was authorised then.
    """

    status: str
    octets: bytes = b""
    validators: Validators | None = None
    verified: Verified | None = None
    content: SignedList | None = None
    error: VmimagesError | None = None
    against: Accepted | None = None
    allowed: Authorisation | None = None


def fetch_offer(
    subscription: Subscription,
    anchors: AnchorStore,
    *,
    allowed: Authorisation,
    last: Accepted | None,
    validators: Validators | None,
    now: datetime,
    session: Session | None = None,
) -> Offer:
    """Ask the list's server, and judge what it answers. A refusal is an answer, not an exception.

    `session` keeps connections for further lists; without it there is one for this question.
    """
    from ...transfer.fetch import fetch_message

    policy = session.policy if session else subscription.policy(content=False)
    try:
        fetched = fetch_message(
            subscription.uri, cap=MAX_MESSAGE, policy=policy, validators=validators, session=session
        )
    except VmimagesError as error:
        return Offer("refused" if isinstance(error, TrustError) else "failed", error=error)
    if fetched.status == "unchanged":
        return Offer("unchanged", validators=fetched.validators)
    try:
        return judge_octets(
            fetched.octets, subscription, anchors, allowed=allowed, last=last, now=now, validators=fetched.validators
        )
    except VmimagesError as error:
        return Offer("refused", octets=fetched.octets, validators=fetched.validators, error=error)


def judge_octets(
    octets: bytes,
    subscription: Subscription,
    anchors: AnchorStore,
    *,
    allowed: Authorisation,
    last: Accepted | None,
    now: datetime,
    validators: Validators | None = None,
) -> Offer:
    """Verify a message and check its list: the sixteen steps, in order; TrustError where one fails."""
    verified = verify(octets, subscription.trust, anchors.get(subscription.trust.anchors), now)
    content = KINDS[subscription.kind].check(
        verified.content,
        verified.certificate,
        now,
        identifier=subscription.identifier,
        endorsers=allowed.pairs_for(verified.certificate),
        remark=allowed.remark(verified.certificate),
        last_accepted=last.as_state() if last else None,
        rebaseline=last.rebaseline if last else None,
        set_aside=last.set_aside if last else (),
    )
    status = "new"
    from ...imagelist.check import content_digest

    if last is not None and content_digest(verified.content) == last.content_sha512:
        status = "renewed" if not last.stands or verified.signer.not_after > last.not_after else "same"
    return Offer(
        status,
        octets=octets,
        validators=validators,
        verified=verified,
        content=content,
        against=last,
        allowed=allowed,
    )


def require_message(offer: Offer) -> tuple[Verified, SignedList]:
    """The verified message of an offer; raises what it was refused or failed for."""
    if offer.error is not None:
        raise offer.error
    if offer.verified is None or offer.content is None:
        raise SiteError("internal_error", "An offer without a message was to be accepted.")
    return offer.verified, offer.content
