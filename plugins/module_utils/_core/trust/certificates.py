# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The few fields of a certificate that are compared as octets, read without any library (RFC 5280, 4.1)."""

from __future__ import annotations

import dataclasses
import functools
import typing as t

from . import ber

if t.TYPE_CHECKING:
    from cryptography import x509

#: Real certificates have a few thousand octets; what is larger only costs time and memory.
MAX_OCTETS: t.Final = 64 * 1024
_SUBJECT_KEY_IDENTIFIER: t.Final = "2.5.29.14"


@dataclasses.dataclass(frozen=True)
class Fields:
    """Serial number, the two names as sent (DER), the key's algorithm, and the subject key identifier."""

    serial: int
    issuer: bytes
    subject: bytes
    key_algorithm: ber.Algorithm
    key_identifier: bytes | None

    @property
    def self_issued(self) -> bool:
        """Whether subject and issuer are the same octets."""
        return self.subject == self.issuer


@functools.lru_cache(maxsize=1024)
def fields(der: bytes) -> Fields:
    """Read the fields of a DER certificate; raises `ber.BerError`."""
    if len(der) > MAX_OCTETS:
        raise ber.BerError(f"a certificate has {len(der)} octets; the cap is {MAX_OCTETS}")
    reader = ber.Reader(der, max_elements=2000)
    outer = reader.children(reader.only(ber.SEQUENCE))
    if len(outer) != 3:
        raise ber.BerError("a certificate has three parts")
    if reader.content(ber.expect(outer[2], ber.BIT_STRING))[:1] != b"\0":
        # The library passes over unused bits: one certificate would have several fingerprints.
        raise ber.BerError("the signature of a certificate is not made of whole octets")
    parts = reader.children(ber.expect(outer[0], ber.SEQUENCE))
    if parts and parts[0].tag == 0xA0:
        parts = parts[1:]
    if len(parts) < 6:
        raise ber.BerError("a certificate is incomplete")
    serial, _signature, issuer, _validity, subject, key = parts[:6]
    key_parts = reader.children(ber.expect(key, ber.SEQUENCE))
    if len(key_parts) != 2:
        raise ber.BerError("a public key has two parts")
    return Fields(
        serial=reader.integer(serial),
        issuer=reader.whole(ber.expect(issuer, ber.SEQUENCE)),
        subject=reader.whole(ber.expect(subject, ber.SEQUENCE)),
        key_algorithm=ber.algorithm(reader, key_parts[0]),
        key_identifier=_key_identifier(reader, parts[6:]),
    )


def _key_identifier(reader: ber.Reader, rest: t.Sequence[ber.Element]) -> bytes | None:
    for wrapper in rest:
        if wrapper.tag != 0xA3:
            continue
        for extensions in reader.children(wrapper):
            for extension in reader.children(ber.expect(extensions, ber.SEQUENCE)):
                parts = reader.children(ber.expect(extension, ber.SEQUENCE))
                if len(parts) >= 2 and reader.oid(parts[0]) == _SUBJECT_KEY_IDENTIFIER:
                    value = ber.Reader(reader.content(ber.expect(parts[-1], ber.OCTET_STRING)), max_elements=4)
                    return value.content(value.only(ber.OCTET_STRING))
    return None


@functools.lru_cache(maxsize=1024)
def der_of(certificate: x509.Certificate) -> bytes:
    """The DER octets of a certificate; kept, because every path asks for those of all anchors."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.DER)


def fields_of(certificate: x509.Certificate) -> Fields:
    """The fields of a loaded certificate."""
    return fields(der_of(certificate))
