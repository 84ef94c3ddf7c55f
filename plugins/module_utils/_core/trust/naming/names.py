# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Distinguished names in slash form: generated from the certificate and compared, never parsed (trust.md, section 4).

A name is given as the DER octets of an X.501 Name. OpenSSL 1 writes `/` and `+` inside a value as they are, OpenSSL 3
puts a backslash before them; both write octets outside printable ASCII as `\\xHH`, where other tools write UTF-8.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import typing as t

from .. import ber, certificates

if t.TYPE_CHECKING:
    from cryptography import x509

_EMAIL: t.Final = "1.2.840.113549.1.9.1"
EMAIL_KEYS: t.Final = ("emailAddress", "E", "Email")
_KEYS: t.Final[t.Mapping[str, str]] = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.17": "postalCode",
    "2.5.4.20": "telephoneNumber",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.3": "mail",
    "0.9.2342.19200300.100.1.25": "DC",
    _EMAIL: "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.2.840.113549.1.9.8": "unstructuredAddress",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}
# Keys that only other tools write are listed too: their reading of a name counts as well.
_OTHER_KEYS = ("USERID", "S", "SP", "G", "I", "T", "serial", "givenName", "surname")
_KEY_WORDS = sorted({*_KEYS.values(), *EMAIL_KEYS, *_OTHER_KEYS})
_READS_AS_KEY = re.compile(rf"[/+]\s*(?:{'|'.join(_KEY_WORDS)}|(?:OID\.)?[0-9]+(?:\.[0-9]+)+)\s*=", re.IGNORECASE)
_READS_AS_ESCAPE = re.compile(r"\\(?:[/+]|x[0-9A-Fa-f]{2})")
#: tag of the string -> its encoding: UTF8, Printable, IA5, T61, BMP, Universal
_ENCODINGS: t.Final[t.Mapping[int, str]] = {
    0x0C: "utf-8",
    0x13: "ascii",
    0x16: "ascii",
    0x14: "latin-1",
    0x1E: "utf-16-be",
    0x1C: "utf-32-be",
}


@dataclasses.dataclass(frozen=True)
class Attribute:
    """One attribute of a name: dotted type, the string's tag and its octets; `first` of its RDN or one more in it."""

    oid: str
    tag: int
    octets: bytes
    first: bool

    @property
    def text(self) -> str | None:
        """The value as text, None where its octets are not of its encoding."""
        try:
            return self.octets.decode(_ENCODINGS[self.tag])
        except (KeyError, UnicodeDecodeError):
            return None


@functools.lru_cache(maxsize=1024)
def read_name(der: bytes) -> tuple[Attribute, ...]:
    """The attributes of a Name in their order; raises `ber.BerError`."""
    reader = ber.Reader(der, max_elements=1000)
    found = []
    for rdn in reader.children(reader.only(ber.SEQUENCE)):
        for position, pair in enumerate(reader.children(ber.expect(rdn, ber.SET))):
            parts = reader.children(ber.expect(pair, ber.SEQUENCE))
            if len(parts) != 2:
                raise ber.BerError("an attribute of a name has two parts")
            found.append(Attribute(reader.oid(parts[0]), parts[1].tag, reader.content(parts[1]), position == 0))
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def folded(der: bytes) -> t.Hashable:
    """The same for every encoding of one name (RFC 5280, 7.1): neither the kind of string, nor case, nor blanks count.

    It only finds what may be meant: what is found must prove itself by a signature.
    """
    try:
        attributes = read_name(der)
    except ber.BerError:
        return der
    texts = [attribute.text for attribute in attributes]
    values = [
        attribute.octets if text is None else " ".join(text.casefold().split())
        for attribute, text in zip(attributes, texts)
    ]
    return tuple((attribute.oid, attribute.first, value) for attribute, value in zip(attributes, values))


def slash(der: bytes) -> str:
    """The OpenSSL 1 slash form, the one that is shown and stored."""
    return _form(read_name(der), newer=False, plain=False, email_key=EMAIL_KEYS[0])


@functools.lru_cache(maxsize=32)
def forms(der: bytes) -> frozenset[str]:
    """Every slash form that is accepted for this name."""
    attributes = read_name(der)
    keys = EMAIL_KEYS if any(attribute.oid == _EMAIL for attribute in attributes) else EMAIL_KEYS[:1]
    return frozenset(
        _form(attributes, newer=newer, plain=plain, email_key=key)
        for newer in (False, True)
        for plain in (False, True)
        for key in keys
    )


@functools.lru_cache(maxsize=32)
def ambiguity(der: bytes) -> str | None:
    """Why the slash form of this name could be read as another name, or None when it cannot."""
    attributes = read_name(der)
    if not attributes:
        return "it is empty"
    for attribute in attributes:
        if not attribute.first:
            return "several attributes share one RDN"
        for value in (_escaped(attribute.octets), attribute.text or ""):
            if _READS_AS_KEY.search(value):
                return f"the value {_shown(value)} holds what reads as a further attribute"
            if _READS_AS_ESCAPE.search(_unescaped_source(attribute)):
                return f"the value {_shown(value)} holds what reads as an escaped character"
    return None


def _shown(value: str) -> str:
    return repr(value[:120])


def _unescaped_source(attribute: Attribute) -> str:
    return attribute.octets.decode("latin-1")


def _escaped(octets: bytes) -> str:
    return "".join(chr(octet) if 0x20 <= octet <= 0x7E else f"\\x{octet:02X}" for octet in octets)


def _form(attributes: t.Sequence[Attribute], *, newer: bool, plain: bool, email_key: str) -> str:
    pieces = []
    for attribute in attributes:
        key = email_key if attribute.oid == _EMAIL else _KEYS.get(attribute.oid, attribute.oid)
        text = attribute.text if plain else None
        if text is None:
            value = _escaped(attribute.octets)
        else:
            value = "".join(char if " " <= char != "\x7f" else f"\\x{ord(char):02X}" for char in text)
        if newer:
            value = value.replace("/", "\\/").replace("+", "\\+")
        pieces.append(f"{'+' if newer and not attribute.first else '/'}{key}={value}")
    return "".join(pieces)


@functools.lru_cache(maxsize=4096)
def common_spelling(text: str) -> str:
    """One text for every spelling of a name in slash form. It tells who may be the same person, and authorises nobody:
    names that it takes for the same may be others."""
    plain = re.sub(r"(?:\\x[0-9A-Fa-f]{2})+", _decoded, text.replace("\\/", "/").replace("\\+", "+"))
    return re.sub(rf"/(?:{'|'.join(EMAIL_KEYS)})=", f"/{EMAIL_KEYS[0]}=", plain)


def _decoded(found: re.Match[str]) -> str:
    octets = bytes.fromhex(found[0].replace("\\x", ""))
    try:
        return octets.decode()
    except UnicodeDecodeError:
        return octets.decode("latin-1")


def rfc4514(certificate: x509.Certificate) -> str:
    """The subject's RFC 4514 form; all values in hexadecimal where one is not text of its own encoding."""
    try:
        return certificate.subject.rfc4514_string()
    except (ValueError, TypeError):
        reader = ber.Reader(certificates.fields_of(certificate).subject)
        rdns = []
        for rdn in reversed(reader.children(reader.only(ber.SEQUENCE))):
            pairs = [reader.children(pair) for pair in reader.children(rdn)]
            rdns.append("+".join(f"{reader.oid(kind)}=#{reader.whole(value).hex()}" for kind, value in pairs))
        return ",".join(rdns)


def signer_matches(certificate: x509.Certificate, dn: str, ca: str) -> bool:
    """Whether `dn` and `ca` (slash forms) are this certificate's subject and issuer; never for an ambiguous name."""
    try:
        found = certificates.fields_of(certificate)
        if ambiguity(found.subject) or ambiguity(found.issuer):
            return False
        return dn in forms(found.subject) and ca in forms(found.issuer)
    except ber.BerError:
        return False
