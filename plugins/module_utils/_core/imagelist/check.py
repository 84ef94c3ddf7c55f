# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a list must satisfy, once its message is verified (`trust.verify`), before it may be applied."""

from __future__ import annotations

import datetime
import hashlib
import typing as t

from ..errors import TrustError
from ..times import to_text
from ..trust.certificates import fields_of
from ..trust.naming.names import signer_matches, slash
from ..trust.steps import Explanation, refuse_unexpected
from . import versions
from .model import ImageList, SignedList
from .reader import read_list

if t.TYPE_CHECKING:
    from cryptography import x509

L = t.TypeVar("L", bound=SignedList)


def check_list(
    content: bytes,
    certificate: x509.Certificate,
    when: datetime.datetime,
    *,
    identifier: t.Optional[str],
    endorsers: t.Optional[t.Sequence[tuple[str, str]]],
    remark: str = "",
    last_accepted: t.Optional[t.Mapping[str, str]],
    rebaseline: t.Optional[str] = None,
    set_aside: t.Collection[str] = (),
    explanation: t.Optional[Explanation] = None,
) -> ImageList:
    """Read exactly the octets that were verified, and judge them against what the subscriber knows: steps 11 to 16.

    `content` and `certificate` are those of `Verified`; `when` is an aware time. `identifier` None: not pinned yet.
    `endorsers`: the authorised (DN, CA) pairs in slash form, an empty sequence authorises nobody; None: authorisation
    is not asked, for readers that only report; `remark` says what is known of a signer that is none of them.
    `last_accepted`: ``{"version", "sha512_of_signed_content"}`` or None.
    `rebaseline`: the digest of the one content whose version may be lower or reused, by an administrator's act;
    `set_aside`: digests of contents accepted before the last one, which do not come back by their version alone.
    `explanation` records the outcome of each step, as in `verify_message`.

    Raises TrustError: `read_list`'s codes, ``endorser_mismatch``, ``not_authorised``, ``identifier_mismatch``,
    ``list_not_yet_valid``, ``list_expired``, ``rollback``, ``version_reused``.
    """
    return check_content(
        content,
        certificate,
        when,
        read=read_list,
        tell=lambda found: count(len(found.images), "image"),
        identifier=identifier,
        endorsers=endorsers,
        remark=remark,
        last_accepted=last_accepted,
        rebaseline=rebaseline,
        set_aside=set_aside,
        explanation=explanation,
    )


def check_content(
    content: bytes,
    certificate: x509.Certificate,
    when: datetime.datetime,
    *,
    read: t.Callable[[bytes], L],
    tell: t.Callable[[L], str],
    identifier: t.Optional[str],
    endorsers: t.Optional[t.Sequence[tuple[str, str]]],
    remark: str,
    last_accepted: t.Optional[t.Mapping[str, str]],
    rebaseline: t.Optional[str],
    set_aside: t.Collection[str],
    explanation: t.Optional[Explanation],
) -> L:
    """`check_list` for a list of any kind: `read` reads it, and `tell` says in words what is in it."""
    explanation = explanation or Explanation()
    with refuse_unexpected():
        with explanation.step(11) as note:
            found = read(content)
            note(tell(found))
        with explanation.step(12) as note:
            _check_endorser(found, certificate)
            note(_name(certificate))
        if endorsers is None:
            explanation.not_asked(13, "no endorsers were named")
        else:
            with explanation.step(13) as note:
                _check_authorised(certificate, endorsers, remark)
                note(f"one of {count(len(endorsers), 'endorser')}")
        if identifier is None:
            explanation.not_asked(14, f"no identifier was named; the list is {found.identifier}")
        else:
            with explanation.step(14) as note:
                _check_identifier(found, identifier)
                note(found.identifier)
        with explanation.step(15) as note:
            _check_dates(found, when)
            note(f"created {to_text(found.created)}, expires {to_text(found.expires)}")
        if last_accepted is None:
            explanation.not_asked(16, f"no accepted version is known; the list has version {found.version}")
        else:
            with explanation.step(16) as note:
                note(_check_version(found, content_digest(content), last_accepted, rebaseline, set_aside))
    return found


def content_digest(content: bytes) -> str:
    """The sha512 of signed content in hex, as kept in ``sha512_of_signed_content``."""
    return hashlib.sha512(content).hexdigest()


def _check_endorser(found: SignedList, certificate: x509.Certificate) -> None:
    if not any(signer_matches(certificate, endorser.dn, endorser.ca) for endorser in found.endorsers):
        raise TrustError(
            "endorser_mismatch",
            f"The signer is {_name(certificate)}, and the list names another endorser.",
            named=[{"dn": endorser.dn, "ca": endorser.ca} for endorser in found.endorsers],
        )


def _check_authorised(certificate: x509.Certificate, endorsers: t.Sequence[tuple[str, str]], remark: str) -> None:
    if not any(signer_matches(certificate, dn, ca) for dn, ca in endorsers):
        text = f"The signer {_name(certificate)} is not authorised for this list."
        raise TrustError("not_authorised", f"{text} {remark}" if remark else text)


def _check_identifier(found: SignedList, identifier: str) -> None:
    if found.identifier != identifier.lower():
        raise TrustError(
            "identifier_mismatch",
            f"The list is {found.identifier}, not the expected {identifier.lower()}.",
            found=found.identifier,
            expected=identifier.lower(),
        )


def _check_dates(found: SignedList, when: datetime.datetime) -> None:
    if when < found.created:
        raise TrustError(
            "list_not_yet_valid", f"The list was created at {to_text(found.created)}, after {to_text(when)}."
        )
    if when >= found.expires:
        raise TrustError("list_expired", f"The list expired at {to_text(found.expires)}.")


def _check_version(
    found: SignedList,
    digest: str,
    last_accepted: t.Mapping[str, str],
    rebaseline: t.Optional[str],
    set_aside: t.Collection[str],
) -> str:
    """What was found, in words."""
    accepted = last_accepted["version"]
    if digest == last_accepted["sha512_of_signed_content"]:
        return f"version {found.version}, the accepted content"
    if digest == rebaseline:
        return f"version {found.version} after {accepted}, by an act of re-baselining"
    facts = {"found": found.version, "accepted": accepted, "sha512_of_signed_content": digest}
    order = versions.compare(found.version, accepted)
    if order < 0:
        detail = f"The list's version is {found.version}; version {accepted} was accepted before."
        raise TrustError("rollback", detail, **facts)
    if order == 0:
        detail = f"Version {found.version} was accepted before with other content."
        raise TrustError("version_reused", detail, **facts)
    if digest in set_aside:
        detail = f"This content of version {found.version} was set aside when version {accepted} was accepted."
        raise TrustError("rollback", detail, **facts)
    return f"version {found.version} after {accepted}"


def count(number: int, thing: str) -> str:
    """A number and its noun."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _name(certificate: x509.Certificate) -> str:
    found = fields_of(certificate)
    return f"{slash(found.subject)} (issued by {slash(found.issuer)})"
