# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read CMS SignedData (RFC 5652) as an image list's message uses it, and refuse every freedom that it does not need."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from ...errors import TrustError
from .. import algorithms, ber, certificates

MAX_CERTIFICATES: t.Final = 64
_DATA: t.Final = "1.2.840.113549.1.7.1"
_SIGNED_DATA: t.Final = "1.2.840.113549.1.7.2"
_CONTENT_TYPE: t.Final = "1.2.840.113549.1.9.3"
_MESSAGE_DIGEST: t.Final = "1.2.840.113549.1.9.4"
_SIGNING_CERTIFICATE: t.Final = "1.2.840.113549.1.9.16.2.12"
_SIGNING_CERTIFICATE_V2: t.Final = "1.2.840.113549.1.9.16.2.47"
_OCTETS: t.Final = (ber.OCTET_STRING, ber.OCTET_STRING | ber.CONSTRUCTED)


@dataclasses.dataclass(frozen=True)
class SignerInfo:
    """The one signer: who (issuer and serial, or key identifier), what was signed, how, and the signature."""

    issuer: bytes | None
    serial: int | None
    key_identifier: bytes | None
    digest: str
    message_digest: bytes
    signed_octets: bytes
    scheme: algorithms.Scheme
    signature: bytes


@dataclasses.dataclass(frozen=True)
class SignedData:
    """A message's CMS part: embedded content (None when detached), the embedded certificates as DER, the signer's."""

    content: bytes | None
    certificates: tuple[bytes, ...]
    certificate: bytes
    signer: SignerInfo


def read(octets: bytes, *, allow_sha1: bool) -> SignedData:
    """Read a ContentInfo that is SignedData with exactly one signer.

    Raises `TrustError`: cms_malformed cms_not_signed_data cms_content_type cms_no_signed_attributes cms_signer_count
    signer_certificate weak_algorithm unsupported_algorithm.
    """
    try:
        return _read(ber.Reader(octets), allow_sha1=allow_sha1)
    except ber.BerError as error:
        raise TrustError("cms_malformed", f"The CMS structure is malformed: {error}") from error


def _read(reader: ber.Reader, *, allow_sha1: bool) -> SignedData:
    parts = reader.children(reader.only(ber.SEQUENCE))
    if not parts or reader.oid(parts[0]) != _SIGNED_DATA:
        raise TrustError("cms_not_signed_data", "The CMS structure is not SignedData")
    fields = reader.children(_explicit(reader, parts[1:], ber.SEQUENCE))
    if len(fields) < 4:
        raise ber.BerError("SignedData is incomplete")
    version, digests, encapsulated, *optional, signers = fields
    if not 1 <= reader.integer(version) <= 5:
        raise ber.BerError("the version of SignedData is unknown")
    for identifier in reader.children(ber.expect(digests, ber.SET)):
        ber.algorithm(reader, identifier)
    content = _content(reader, ber.expect(encapsulated, ber.SEQUENCE))
    if [field.tag for field in optional] not in ([], [0xA0], [0xA1], [0xA0, 0xA1]):
        raise ber.BerError("SignedData holds unknown fields")
    embedded = _certificates(reader, optional)
    infos = reader.children(ber.expect(signers, ber.SET))
    if len(infos) != 1:
        raise TrustError("cms_signer_count", f"The message has {len(infos)} signatures")
    signer, attributes = _signer_info(reader, infos[0], allow_sha1=allow_sha1)
    certificate = _signer_certificate(signer, embedded)
    _check_signing_certificate(attributes, certificate)
    return SignedData(content, embedded, certificate, signer)


def _explicit(reader: ber.Reader, elements: t.Sequence[ber.Element], tag: int) -> ber.Element:
    """The one element inside the one [0] that `elements` must be."""
    if len(elements) != 1:
        raise ber.BerError("a content is missing or repeated")
    inner = reader.children(ber.expect(elements[0], 0xA0))
    if len(inner) != 1:
        raise ber.BerError("a content is not single-valued")
    return inner[0] if tag == 0 else ber.expect(inner[0], tag)


def _content(reader: ber.Reader, encapsulated: ber.Element) -> bytes | None:
    parts = reader.children(encapsulated)
    if not parts:
        raise ber.BerError("the content has no type")
    kind = reader.oid(parts[0])
    if kind != _DATA:
        raise TrustError("cms_content_type", f"The content is of type {kind}, not id-data")
    if len(parts) == 1:
        return None
    return reader.octet_string(_explicit(reader, parts[1:], 0))


def _certificates(reader: ber.Reader, optional: t.Sequence[ber.Element]) -> tuple[bytes, ...]:
    """The X.509 certificates; attribute certificates and CRLs are never looked at."""
    if not optional or optional[0].tag != 0xA0:
        return ()
    found = tuple(reader.whole(one) for one in reader.children(optional[0]) if one.tag == ber.SEQUENCE)
    if len(found) > MAX_CERTIFICATES:
        raise ber.BerError(f"there are more than {MAX_CERTIFICATES} certificates")
    return found


def _signer_info(
    reader: ber.Reader, info: ber.Element, *, allow_sha1: bool
) -> tuple[SignerInfo, t.Mapping[str, tuple[bytes, ...]]]:
    fields = reader.children(ber.expect(info, ber.SEQUENCE))
    if len(fields) < 5:
        raise ber.BerError("SignerInfo is incomplete")
    if reader.integer(fields[0]) not in (1, 3):
        raise ber.BerError("the version of SignerInfo is unknown")
    issuer, serial, key_identifier = _signer_identifier(reader, fields[1])
    digest = algorithms.digest_name(ber.algorithm(reader, fields[2]), allow_sha1=allow_sha1)
    if fields[3].tag != 0xA0:
        raise TrustError("cms_no_signed_attributes", "The signature has no signed attributes")
    rest = fields[4:]
    if len(rest) not in (2, 3) or (len(rest) == 3 and rest[2].tag != 0xA1):
        raise ber.BerError("SignerInfo holds unknown fields or is incomplete")
    scheme = algorithms.scheme(ber.algorithm(reader, rest[0]), digest, allow_sha1=allow_sha1)
    attributes = _attributes(reader, fields[3])
    signer = SignerInfo(
        issuer=issuer,
        serial=serial,
        key_identifier=key_identifier,
        digest=digest,
        message_digest=_message_digest(attributes),
        # RFC 5652, 5.4: what is signed has the tag of a SET, everything else stays as sent
        signed_octets=b"\x31" + reader.whole(fields[3])[1:],
        scheme=scheme,
        signature=reader.octet_string(rest[1]),
    )
    return signer, attributes


def _signer_identifier(reader: ber.Reader, element: ber.Element) -> tuple[bytes | None, int | None, bytes | None]:
    if element.tag == 0x80:
        return None, None, reader.content(element)
    parts = reader.children(ber.expect(element, ber.SEQUENCE))
    if len(parts) != 2:
        raise ber.BerError("the signer's identifier is malformed")
    return reader.whole(ber.expect(parts[0], ber.SEQUENCE)), reader.integer(parts[1]), None


def _attributes(reader: ber.Reader, element: ber.Element) -> dict[str, tuple[bytes, ...]]:
    found: dict[str, tuple[bytes, ...]] = {}
    for attribute in reader.children(element):
        parts = reader.children(ber.expect(attribute, ber.SEQUENCE))
        if len(parts) != 2:
            raise ber.BerError("a signed attribute is malformed")
        kind = reader.oid(parts[0])
        if kind in found:
            raise ber.BerError(f"the signed attribute {kind} occurs twice")
        found[kind] = tuple(reader.whole(value) for value in reader.children(ber.expect(parts[1], ber.SET)))
    kind_reader = ber.Reader(_single(found, _CONTENT_TYPE, "contentType"))
    kind = kind_reader.oid(kind_reader.only(ber.OID))
    if kind != _DATA:
        raise TrustError("cms_content_type", f"The signed content type is {kind}, not id-data")
    return found


def _single(attributes: t.Mapping[str, tuple[bytes, ...]], kind: str, name: str) -> bytes:
    values = attributes.get(kind, ())
    if len(values) != 1:
        raise ber.BerError(f"the signed attribute {name} has {len(values)} values instead of one")
    return values[0]


def _message_digest(attributes: t.Mapping[str, tuple[bytes, ...]]) -> bytes:
    reader = ber.Reader(_single(attributes, _MESSAGE_DIGEST, "messageDigest"))
    return reader.content(reader.only(ber.OCTET_STRING))


def _signer_certificate(signer: SignerInfo, embedded: t.Sequence[bytes]) -> bytes:
    matching = []
    for der in embedded:
        try:
            found = certificates.fields(der)
        except ber.BerError:
            continue  # a broken neighbour is nobody's certificate
        if signer.key_identifier is not None:
            hit = found.key_identifier == signer.key_identifier
        else:
            hit = found.issuer == signer.issuer and found.serial == signer.serial
        if hit:
            matching.append(der)
    if len(matching) != 1:
        raise TrustError("signer_certificate", f"The message holds {len(matching)} certificates of its signer, not one")
    return matching[0]


def _check_signing_certificate(attributes: t.Mapping[str, tuple[bytes, ...]], certificate: bytes) -> None:
    """signingCertificate(V2), where present, must name the certificate (RFC 5035)."""
    for kind, default in ((_SIGNING_CERTIFICATE, "sha1"), (_SIGNING_CERTIFICATE_V2, "sha256")):
        if kind not in attributes:
            continue
        reader = ber.Reader(_single(attributes, kind, "signingCertificate"))
        parts = reader.children(reader.only(ber.SEQUENCE))
        named = reader.children(ber.expect(parts[0], ber.SEQUENCE)) if parts else []
        if not named:
            raise ber.BerError("the attribute signingCertificate names no certificate")
        if not _names(reader, named[0], default, certificate):
            raise TrustError("signer_certificate", "The attribute signingCertificate names another certificate")


def _names(reader: ber.Reader, identifier: ber.Element, digest: str, certificate: bytes) -> bool:
    parts = reader.children(ber.expect(identifier, ber.SEQUENCE))
    if parts and parts[0].tag == ber.SEQUENCE and digest != "sha1":
        known = algorithms.DIGESTS.get(ber.algorithm(reader, parts.pop(0)).oid)
        if known is None or known == algorithms.SHA1:
            return False
        digest = known
    if not 1 <= len(parts) <= 2:
        raise ber.BerError("the attribute signingCertificate is malformed")
    named = reader.content(ber.expect(parts[0], ber.OCTET_STRING))
    if named != hashlib.new(digest, certificate, usedforsecurity=False).digest():
        return False
    if len(parts) == 1:
        return True
    issuer_serial = reader.children(ber.expect(parts[1], ber.SEQUENCE))
    if len(issuer_serial) != 2:
        raise ber.BerError("the attribute signingCertificate is malformed")
    found = certificates.fields(certificate)
    general = reader.children(ber.expect(issuer_serial[0], ber.SEQUENCE))
    return [reader.content(one) for one in general if one.tag == 0xA4] == [found.issuer] and reader.integer(
        issuer_serial[1]
    ) == found.serial
