# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify a signed message: what it must prove before anybody believes it (steps 1 to 10 of trust.md, section 2)."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import typing as t

from ..errors import TrustError
from . import certificates, library, steps
from .message import smime
from .naming import names, namespaces
from .path import building, crl, signer
from .path.crl import CrlUsed

if t.TYPE_CHECKING:
    from cryptography import x509

    from .anchors import Anchors

__all__ = ["CrlUsed", "Signer", "Verified", "verify_message"]


@dataclasses.dataclass(frozen=True)
class Signer:
    """Who signed: subject and issuer in slash form, the subject by RFC 4514, SHA-256 in hex, end of validity."""

    dn: str
    ca: str
    rfc4514: str
    fingerprint: str
    not_after: datetime.datetime

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON output; the time as YYYY-MM-DDThh:mm:ssZ."""
        return {
            "dn": self.dn,
            "ca": self.ca,
            "rfc4514": self.rfc4514,
            "fingerprint": self.fingerprint,
            "not_after": f"{self.not_after:%Y-%m-%dT%H:%M:%SZ}",
        }


@dataclasses.dataclass(frozen=True)
class Verified:
    """A content whose signer is proven: path (signer first, root last), CRLs used, and until when all of it holds.

    `good_until` is the first notAfter of the path or nextUpdate of a CRL; `good_until_reason` says which. `digest` is
    the message digest's name, and `steps` says how each step went.
    """

    content: bytes
    certificate: x509.Certificate
    path: tuple[x509.Certificate, ...]
    signer: Signer
    crls: tuple[CrlUsed, ...]
    good_until: datetime.datetime
    good_until_reason: str
    digest: str
    steps: tuple[steps.Step, ...]


def verify_message(
    octets: bytes,
    anchors: Anchors,
    when: datetime.datetime,
    *,
    allow_sha1: bool = False,
    allow_host: bool = False,
    crl_mode: crl.Mode = "require",
    namespaces_mode: namespaces.Mode = "require",
    crls_at: datetime.datetime | None = None,
    explanation: steps.Explanation | None = None,
) -> Verified:
    """Verify a message against `anchors` as of `when` (an aware UTC time).

    With `crls_at`, for audits, the CRLs of `anchors` are those of that later time, and tell from which date on they
    revoke a certificate; one that has expired since, its CA may have left out.
    `explanation` records the outcome of each step, also when the message is refused.
    Raises `TrustError` with the code of the first rule that the message breaks; anything unforeseen is internal_error.
    """
    explanation = explanation or steps.Explanation()
    with steps.refuse_unexpected(), library.quiet():
        if when.utcoffset() is None:
            raise ValueError("the time has no time zone")
        if crl_mode not in ("require", "if-present") or namespaces_mode not in ("require", "if-present"):
            raise ValueError("a mode is neither require nor if-present")
        library.require()
        when = when.astimezone(datetime.timezone.utc)
        message = smime.read_message(octets, allow_sha1=allow_sha1, explanation=explanation)
        signed_data = message.signed_data
        with explanation.step(5) as note:
            certificate = signer.load(signed_data.certificate)
            note(signer.check_signature(certificate, signed_data.signer))
        with explanation.step(6) as note:
            note(signer.check_end_entity(certificate, allow_host=allow_host))
        with explanation.step(7) as note:
            path = building.build(certificate, signed_data.certificates, anchors.roots, anchors.intermediates, when)
            note(" <- ".join(names.slash(certificates.fields_of(one).subject) for one in path))
        with explanation.step(8) as note:
            crls = crl.check(path, anchors.crls, crls_at or when, crl_mode, as_of=when if crls_at else None)
            note(", ".join(f"{one.issuer} CRL {one.number}" for one in crls) or "no CRL")
        with explanation.step(9) as note:
            permitted = namespaces.check(path, anchors.policies, namespaces_mode)
            note(f"{permitted} of {len(path) - 1} names permitted by a rule")
        with explanation.step(10):
            _check_names(path)
        good_until, reason = _good_until(path, crls)
        return Verified(
            content=message.content,
            certificate=certificate,
            path=path,
            signer=describe(certificate),
            crls=crls,
            good_until=good_until,
            good_until_reason=reason,
            digest=signed_data.signer.digest,
            steps=explanation.steps(),
        )


def describe(certificate: x509.Certificate) -> Signer:
    """The names and the fingerprint of a signer's certificate."""
    found = certificates.fields_of(certificate)
    return Signer(
        dn=names.slash(found.subject),
        ca=names.slash(found.issuer),
        rfc4514=names.rfc4514(certificate),
        fingerprint=hashlib.sha256(certificates.der_of(certificate)).hexdigest(),
        not_after=certificate.not_valid_after_utc,
    )


def _check_names(path: t.Sequence[x509.Certificate]) -> None:
    for certificate in path:
        subject = certificates.fields_of(certificate).subject
        why = names.ambiguity(subject)
        if why:
            raise TrustError("dn_ambiguous", f"The name {names.slash(subject)} could be read as another one: {why}")


def _good_until(path: t.Sequence[x509.Certificate], crls: t.Sequence[CrlUsed]) -> tuple[datetime.datetime, str]:
    ends = [
        (one.not_valid_after_utc, f"the certificate of {names.slash(certificates.fields_of(one).subject)} expires")
        for one in path
    ]
    ends += [(one.next_update, f"the CRL of {one.issuer} expires") for one in crls]
    return min(ends)
