# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read and write signed messages. Reading needs no library; believing what was read is `verify.verify_message`."""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
import secrets
import typing as t

from ...errors import PublishError, TrustError
from .. import certificates, library, steps
from ..credentials import keys
from . import cms, mime
from .limits import MAX_MESSAGE

if t.TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

Form = t.Literal["as sent", "canonical", "opaque"]
SIGNING_DIGESTS: t.Final = ("sha256", "sha384", "sha512")


@dataclasses.dataclass(frozen=True)
class SignedMessage:
    """A message whose content has the digest that its signer names; nothing is said about the signer yet.

    `content` is what was signed, without the part's header block where it has one; `form` says which octets had the
    digest: as they were sent, with LF as CRLF, or those embedded in an opaque signature.
    """

    content: bytes
    form: Form
    signed_data: cms.SignedData


def read_message(
    octets: bytes, *, allow_sha1: bool = True, explanation: steps.Explanation | None = None
) -> SignedMessage:
    """Take a message apart: steps 1 to 4. MD5 and the like are refused, SHA-1 only when `allow_sha1` is false.

    Raises `TrustError` with the codes of the message: too_large, mime_*, cms_*, digest_mismatch, weak_algorithm, ...
    """
    explanation = explanation or steps.Explanation()
    with steps.refuse_unexpected():
        with explanation.step(1) as note:
            if len(octets) > MAX_MESSAGE:
                raise TrustError("too_large", f"The message has {len(octets)} octets; the cap is {MAX_MESSAGE}")
            note(f"{len(octets)} octets")
        with explanation.step(2) as note:
            parts = mime.split(octets)
            note("opaque signature" if parts.content is None else "detached signature")
        with explanation.step(3) as note:
            signed_data = cms.read(parts.cms, allow_sha1=allow_sha1)
            note(str(signed_data.signer.scheme))
        with explanation.step(4) as note:
            signed, form = _signed_octets(parts, signed_data)
            content = mime.without_headers(signed)
            note(f"{signed_data.signer.digest}, content {form}")
    return SignedMessage(content, form, signed_data)


def _signed_octets(parts: mime.Parts, signed_data: cms.SignedData) -> tuple[bytes, Form]:
    if parts.content is not None and signed_data.content is not None:
        raise TrustError("cms_dual_content", "The message has a detached and an embedded content")
    candidates: list[tuple[bytes, Form]]
    if parts.content is not None:
        candidates = [(parts.content, "as sent"), (mime.canonical(parts.content), "canonical")]
    elif signed_data.content is not None:
        candidates = [(signed_data.content, "opaque")]
    else:
        raise TrustError("cms_no_content", "The opaque signature holds no content")
    for candidate, form in candidates:
        digest = hashlib.new(signed_data.signer.digest, candidate, usedforsecurity=False).digest()
        if hmac.compare_digest(digest, signed_data.signer.message_digest):
            return candidate, form
    raise TrustError("digest_mismatch", "The content does not have the signed digest")


def sign_message(
    content: bytes,
    *,
    certificate: x509.Certificate,
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey,
    chain: t.Sequence[x509.Certificate] = (),
    digest: str = "sha256",
) -> bytes:
    """Sign `content` (UTF-8, LF or CRLF) as a detached multipart/signed message with `certificate` and `chain`.

    Self-signed certificates of the chain are left out: a reader must have them. The dates of the certificate are not
    looked at here (`keys.check_signer` does that); whoever publishes verifies the result first (trust.md, section 7).

    Raises `PublishError`: key_mismatch, publish_invalid (digest, a kind of key that cannot sign).
    """
    library.require()
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

    if digest not in SIGNING_DIGESTS:
        raise PublishError("publish_invalid", f"The digest {digest!r} is none of {', '.join(SIGNING_DIGESTS)}")
    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise PublishError("publish_invalid", f"A key of kind {type(key).__name__} cannot sign; use RSA or EC")
    keys.check_pair(certificate, key)
    algorithms: dict[str, hashes.SHA256 | hashes.SHA384 | hashes.SHA512]
    algorithms = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
    body = mime.canonical(content)
    builder = pkcs7.PKCS7SignatureBuilder().set_data(body).add_signer(certificate, key, algorithms[digest])
    present = {certificates.der_of(certificate)}
    for issuer in chain:  # last of all: set_data() and add_signer() drop what was added before
        der = certificates.der_of(issuer)
        if der in present or certificates.fields(der).self_issued:
            continue
        present.add(der)
        builder = builder.add_certificate(issuer)
    # Binary only keeps the octets as they are: they are canonical already, and a lone CR must not be touched.
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    signature = builder.sign(Encoding.DER, options)
    boundary = f"----{secrets.token_hex(16).upper()}"
    while boundary.encode("ascii") in body:
        boundary = f"----{secrets.token_hex(16).upper()}"
    return mime.join(body, signature, micalg=f"sha-{digest[3:]}", boundary=boundary)
