# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endorser's key and certificate, and a signature that is not believed before our own verifier accepts it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime

from ..endorserlist.kinds import KINDS
from ..errors import TrustError
from ..trust.certificates import fields_of
from ..trust.credentials.load import Credentials, load, passphrase_of
from ..trust.message.smime import read_message, sign_message
from ..trust.naming import names
from .compose import Base, Signer
from .declared.spec import PublishSpec

if t.TYPE_CHECKING:
    from cryptography import x509

    from ..trust.anchors import Anchors
    from ..trust.verify import Verified


@dataclass(frozen=True)
class Signed:
    """A message that verifies, and the content that a reader will see in it."""

    message: bytes
    content: bytes


def load_credentials(spec: PublishSpec, now: datetime) -> Credentials:
    """The key, the certificate and the chain, belonging together and valid now; refusals as in `load`."""
    passphrase = passphrase_of(spec.passphrase, spec.passphrase_file)
    return load(spec.certificate, spec.private_key, passphrase, now, chain=spec.chain)


def describe_signer(certificate: x509.Certificate) -> Signer:
    """What the list says about its endorser. Raises TrustError ``dn_ambiguous``."""
    fields = fields_of(certificate)
    for name in (fields.subject, fields.issuer):
        why = names.ambiguity(name)
        if why is not None:
            raise TrustError("dn_ambiguous", f"The name {names.slash(name)} cannot stand in a list: {why}.")
    return Signer(
        dn=names.slash(fields.subject),
        ca=names.slash(fields.issuer),
        not_after=certificate.not_valid_after_utc,
        name=_common_name(certificate),
        email=_email(certificate),
    )


def load_anchors(spec: PublishSpec) -> Anchors:
    """The trust anchors. Raises TrustError."""
    from ..trust import anchors

    return anchors.load(spec.anchors)


def verify(message: bytes, anchors: Anchors, when: datetime, spec: PublishSpec) -> Verified:
    """Steps 1 to 10, under the publication's trust options. Raises TrustError."""
    from ..trust.verify import verify_message

    return verify_message(message, anchors, when, **spec.trust)


def sign(
    raw: t.Mapping[str, t.Any],
    spec: PublishSpec,
    credentials: Credentials,
    base: t.Optional[Base],
    now: datetime,
) -> Signed:
    """Sign the list object, and judge the message as a subscriber who has accepted `base` would.

    Raises TrustError with the code of the reader's refusal.
    """
    kind = KINDS[spec.kind]
    message = _sign(kind.write(raw), spec, credentials)
    signer = describe_signer(credentials.certificate)
    accepted = None
    if base is not None:
        accepted = {"version": base.content.version, "sha512_of_signed_content": base.sha512}
    anchors = load_anchors(spec)
    try:
        verified = verify(message, anchors, now, spec)
        found = kind.check(
            verified.content,
            verified.certificate,
            now,
            identifier=spec.identifier,
            endorsers=[(signer.dn, signer.ca)],
            last_accepted=accepted,
        )
    except TrustError as refusal:
        detail = f"A site with these trust anchors would refuse the signed list: {refusal.detail}"
        raise TrustError(refusal.code, detail, **refusal.context) from refusal
    if found.raw != raw:
        raise TrustError("internal_error", "The signed list reads differently from the list that was to be signed.")
    return Signed(message, verified.content)


def is_mended_by_signing(message: bytes, spec: PublishSpec, credentials: Credentials, now: datetime) -> bool:
    """Whether a site refuses `message` by now, and would not if `credentials` had signed its content.

    So when the CA has revoked the certificate that signed it, and not when the trust anchors or CRLs are missing: then
    a new signature would be refused as well.
    """
    try:
        anchors = load_anchors(spec)
        if _stands(message, anchors, now, spec):
            return False
        return _stands(_sign(read_message(message).content, spec, credentials), anchors, now, spec)
    except TrustError:
        return False


def _stands(message: bytes, anchors: Anchors, now: datetime, spec: PublishSpec) -> bool:
    try:
        verify(message, anchors, now, spec)
    except TrustError:
        return False
    return True


def _sign(content: bytes, spec: PublishSpec, credentials: Credentials) -> bytes:
    return sign_message(
        content,
        certificate=credentials.certificate,
        key=credentials.key,
        chain=credentials.chain,
        digest=spec.digest,
    )


def _common_name(certificate: x509.Certificate) -> str:
    from cryptography.x509.oid import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else ""


def _email(certificate: x509.Certificate) -> str:
    """The first mail address of the certificate: in the subject's alternative names, else in the subject."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        addresses = extension.value.get_values_for_type(x509.RFC822Name)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        addresses = []
    named = certificate.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)
    return str(addresses[0]) if addresses else str(named[0].value) if named else ""
