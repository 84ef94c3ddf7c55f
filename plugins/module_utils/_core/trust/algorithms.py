# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which digest and signature algorithms are believed (trust.md, section 3: the profile)."""

from __future__ import annotations

import dataclasses
import typing as t

from ..errors import TrustError
from . import ber

SHA1: t.Final = "sha1"
DIGESTS: t.Final[t.Mapping[str, str]] = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
    "1.3.14.3.2.26": SHA1,
}
_WEAK: t.Final = {
    "1.2.840.113549.2.2": "MD2",
    "1.2.840.113549.2.4": "MD4",
    "1.2.840.113549.2.5": "MD5",
    "1.3.36.3.2.1": "RIPEMD-160",
    "1.2.840.113549.1.1.2": "MD2 with RSA",
    "1.2.840.113549.1.1.3": "MD4 with RSA",
    "1.2.840.113549.1.1.4": "MD5 with RSA",
    "1.2.840.10040.4.3": "DSA with SHA-1",
}
RSA_KEY: t.Final = "1.2.840.113549.1.1.1"
PSS: t.Final = "1.2.840.113549.1.1.10"
ED25519: t.Final = "1.3.101.112"
#: The smallest RSA key in bits, and the curves, of a key that may sign.
MINIMUM_RSA: t.Final = 2048
CURVES: t.Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_MGF1: t.Final = "1.2.840.113549.1.1.8"
#: signature algorithm -> (scheme, digest that it names)
_SIGNATURES: t.Final[t.Mapping[str, tuple[str, str]]] = {
    "1.2.840.113549.1.1.5": ("rsa", SHA1),
    "1.3.14.3.2.29": ("rsa", SHA1),
    "1.2.840.113549.1.1.11": ("rsa", "sha256"),
    "1.2.840.113549.1.1.12": ("rsa", "sha384"),
    "1.2.840.113549.1.1.13": ("rsa", "sha512"),
    "1.2.840.10045.4.1": ("ecdsa", SHA1),
    "1.2.840.10045.4.3.2": ("ecdsa", "sha256"),
    "1.2.840.10045.4.3.3": ("ecdsa", "sha384"),
    "1.2.840.10045.4.3.4": ("ecdsa", "sha512"),
}


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How a signature was made: `kind` is rsa (PKCS#1 v1.5), pss, ecdsa or ed25519; `salt` in octets, for pss."""

    kind: str
    digest: str
    salt: int = 0

    def __str__(self) -> str:
        return f"{self.kind} with {self.digest}"


@dataclasses.dataclass(frozen=True)
class PssParameters:
    """RSASSA-PSS-params (RFC 4055, 3.1) with hash and mask generation by name."""

    digest: str
    mask_digest: str
    salt: int


def digest_name(identifier: ber.Algorithm, *, allow_sha1: bool) -> str:
    """The hashlib name of a message digest.

    Raises `TrustError`: weak_algorithm, unsupported_algorithm.
    """
    if identifier.oid in _WEAK:
        raise TrustError("weak_algorithm", f"The message digest is {_WEAK[identifier.oid]}")
    name = DIGESTS.get(identifier.oid)
    if name is None or not identifier.plain:
        raise TrustError("unsupported_algorithm", f"The message digest is {identifier.oid}")
    if name == SHA1 and not allow_sha1:
        raise TrustError("weak_algorithm", "The message digest is SHA-1")
    return name


def scheme(identifier: ber.Algorithm, digest: str, *, allow_sha1: bool) -> Scheme:
    """The signature scheme, which must use the message's own digest.

    Raises `TrustError`: weak_algorithm, unsupported_algorithm.
    """
    oid = identifier.oid
    if oid in _WEAK:
        raise TrustError("weak_algorithm", f"The signature is {_WEAK[oid]}")
    if oid == PSS:
        return _pss_scheme(identifier, digest)
    if oid == ED25519:
        # RFC 8419, 3.1: with signed attributes the digest is SHA-512
        if identifier.parameters is not None or digest != "sha512":
            raise TrustError("unsupported_algorithm", f"The signature is Ed25519 over a {digest} digest")
        return Scheme("ed25519", digest)
    if not identifier.plain:
        raise TrustError("unsupported_algorithm", f"The signature algorithm {oid} has unknown parameters")
    if oid == RSA_KEY:
        return Scheme("rsa", digest)
    if oid not in _SIGNATURES:
        raise TrustError("unsupported_algorithm", f"The signature algorithm is {oid}")
    kind, named = _SIGNATURES[oid]
    if named == SHA1 and not (allow_sha1 and digest == SHA1):
        raise TrustError("weak_algorithm", f"The signature is {kind} with SHA-1")
    if named != digest:
        raise TrustError("unsupported_algorithm", f"The signature uses {named}, but the message digest is {digest}")
    return Scheme(kind, named)


def _pss_scheme(identifier: ber.Algorithm, digest: str) -> Scheme:
    try:
        found = pss_parameters(identifier)
    except ber.BerError as error:
        raise TrustError("unsupported_algorithm", f"The RSASSA-PSS parameters are malformed: {error}") from error
    if found is None:
        raise TrustError("unsupported_algorithm", "The RSASSA-PSS signature has no parameters")
    if found.digest != digest or found.mask_digest != digest:
        raise TrustError(
            "unsupported_algorithm",
            f"The RSASSA-PSS signature mixes {found.digest}, {found.mask_digest} and the message digest {digest}",
        )
    return Scheme("pss", digest, found.salt)


def pss_parameters(identifier: ber.Algorithm) -> PssParameters | None:
    """The parameters of an RSASSA-PSS algorithm identifier, None when there are none; raises `ber.BerError`."""
    if identifier.parameters is None:
        return None
    reader = ber.Reader(identifier.parameters, max_elements=64)
    fields: dict[int, ber.Element] = {}
    for field in reader.children(reader.only(ber.SEQUENCE)):
        inner = reader.children(field)
        if field.tag in fields or field.tag not in (0xA0, 0xA1, 0xA2, 0xA3) or len(inner) != 1:
            raise ber.BerError("a field is unknown, repeated or not single-valued")
        fields[field.tag] = inner[0]
    digest = mask = SHA1
    if 0xA0 in fields:
        digest = _known(ber.algorithm(reader, fields[0xA0]))
    if 0xA1 in fields:
        outer = ber.algorithm(reader, fields[0xA1])
        if outer.oid != _MGF1 or outer.parameters is None:
            raise ber.BerError("the mask generation function is not MGF1")
        inside = ber.Reader(outer.parameters, max_elements=16)
        mask = _known(ber.algorithm(inside, inside.only(ber.SEQUENCE)))
    salt = reader.integer(fields[0xA2]) if 0xA2 in fields else 20
    trailer = reader.integer(fields[0xA3]) if 0xA3 in fields else 1
    if trailer != 1 or not 0 <= salt <= 512:
        raise ber.BerError("the salt length or the trailer is out of range")
    return PssParameters(digest, mask, salt)


def _known(identifier: ber.Algorithm) -> str:
    name = DIGESTS.get(identifier.oid)
    if name is None or not identifier.plain:
        raise ber.BerError(f"the hash {identifier.oid} is not known")
    return name
