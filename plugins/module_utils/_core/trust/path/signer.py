# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The signer's own certificate: its key and signature, and whether such a certificate may endorse (steps 5 and 6)."""

from __future__ import annotations

import typing as t

from ...errors import TrustError
from .. import algorithms, ber, certificates
from ..naming import names

if t.TYPE_CHECKING:
    from cryptography import x509

    from ..message import cms

MAX_RSA: t.Final = 16384
_PROXY_EXTENSIONS: t.Final = frozenset(
    {"1.3.6.1.5.5.7.1.14", "1.3.6.1.4.1.3536.1.222", "1.3.6.1.4.1.3536.1.1.222"}  # RFC 3820 and its drafts
)
_LEGACY_PROXIES: t.Final = frozenset({"proxy", "limited proxy"})
_COMMON_NAME: t.Final = "2.5.4.3"


def load(der: bytes) -> x509.Certificate:
    """The signer's certificate; raises `TrustError` (certificate_malformed)."""
    from cryptography import x509

    try:
        found = certificates.fields(der)
        names.read_name(found.subject)
        names.read_name(found.issuer)
        return x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as error:
        raise TrustError("certificate_malformed", f"The signer's certificate is malformed: {error}") from error


def check_signature(certificate: x509.Certificate, signer: cms.SignerInfo) -> str:
    """Check the signature over the signed attributes and return what kind of key made it.

    Raises `TrustError`: weak_key unsupported_algorithm bad_signature certificate_malformed.
    """
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm as error:
        raise TrustError("unsupported_algorithm", "The signer's key is of an unknown kind") from error
    except ValueError as error:
        raise TrustError("certificate_malformed", f"The signer's public key is malformed: {error}") from error
    scheme = signer.scheme
    digest: hashes.HashAlgorithm = {
        "sha1": hashes.SHA1(),
        "sha256": hashes.SHA256(),
        "sha384": hashes.SHA384(),
        "sha512": hashes.SHA512(),
    }[scheme.digest]
    try:
        if isinstance(key, rsa.RSAPublicKey):
            _check_rsa(certificate, key.key_size, scheme)
            rsa_padding: padding.AsymmetricPadding = padding.PKCS1v15()
            if scheme.kind == "pss":
                rsa_padding = padding.PSS(padding.MGF1(digest), scheme.salt)
            key.verify(signer.signature, signer.signed_octets, rsa_padding, digest)
            return f"RSA {key.key_size}"
        if isinstance(key, ec.EllipticCurvePublicKey):
            _check_curve(key.curve.name, key.key_size)
            _same_kind(scheme, "ecdsa")
            key.verify(signer.signature, signer.signed_octets, ec.ECDSA(digest))
            return f"EC {key.curve.name}"
        if isinstance(key, ed25519.Ed25519PublicKey):
            _same_kind(scheme, "ed25519")
            key.verify(signer.signature, signer.signed_octets)
            return "Ed25519"
    except (InvalidSignature, ValueError) as error:
        detail = "The signature does not fit the signed attributes and the signer's key"
        raise TrustError("bad_signature", detail) from error
    except UnsupportedAlgorithm as error:
        raise TrustError("unsupported_algorithm", f"The signature {scheme} cannot be checked here") from error
    raise TrustError("unsupported_algorithm", f"The signer's key is of the kind {type(key).__name__}")


def _same_kind(scheme: algorithms.Scheme, *kinds: str) -> None:
    if scheme.kind not in kinds:
        raise TrustError("unsupported_algorithm", f"The signature {scheme} does not fit the kind of the signer's key")


def _check_rsa(certificate: x509.Certificate, size: int, scheme: algorithms.Scheme) -> None:
    if size < algorithms.MINIMUM_RSA:
        raise TrustError("weak_key", f"The signer's key is RSA with {size} bits")
    if size > MAX_RSA:
        raise TrustError("unsupported_algorithm", f"The signer's key is RSA with {size} bits; the cap is {MAX_RSA}")
    _same_kind(scheme, "rsa", "pss")
    key_algorithm = certificates.fields_of(certificate).key_algorithm
    if key_algorithm.oid != algorithms.PSS:
        return
    # RFC 4055, 1.2 and 3.3: such a key signs nothing but RSASSA-PSS, with its own parameters
    _same_kind(scheme, "pss")
    try:
        bound = algorithms.pss_parameters(key_algorithm)
    except ber.BerError as error:
        detail = f"The parameters of the signer's key are malformed: {error}"
        raise TrustError("certificate_malformed", detail) from error
    if bound and (bound.digest != scheme.digest or bound.mask_digest != scheme.digest or bound.salt > scheme.salt):
        raise TrustError("unsupported_algorithm", "The signature does not keep to the RSASSA-PSS parameters of its key")


def _check_curve(name: str, size: int) -> None:
    if name in algorithms.CURVES:
        return
    code = "weak_key" if size < 256 else "unsupported_algorithm"
    raise TrustError(code, f"The signer's key is on the curve {name}")


def check_end_entity(certificate: x509.Certificate, *, allow_host: bool) -> str:
    """Whether this kind of certificate may endorse; returns what it is for.

    Raises `TrustError`: proxy_certificate not_end_entity key_usage extended_key_usage certificate_malformed.
    """
    from cryptography import x509

    try:
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        detail = f"The extensions of the signer's certificate are malformed: {error}"
        raise TrustError("certificate_malformed", detail) from error
    _check_proxy(certificate, extensions)
    usage = _value(extensions, x509.KeyUsage)
    constraints = _value(extensions, x509.BasicConstraints)
    if (constraints and constraints.ca) or (usage and usage.key_cert_sign):
        raise TrustError("not_end_entity", "The signer's certificate is that of a certification authority")
    if usage and not (usage.digital_signature or usage.content_commitment):
        raise TrustError("key_usage", "The key usage of the signer's certificate does not allow signatures")
    return _check_purpose(_value(extensions, x509.ExtendedKeyUsage), allow_host=allow_host)


def _value(extensions: x509.Extensions, kind: t.Any) -> t.Any:
    from cryptography import x509

    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _check_proxy(certificate: x509.Certificate, extensions: x509.Extensions) -> None:
    subject = names.read_name(certificates.fields_of(certificate).subject)
    last = subject[-1] if subject else None
    legacy = bool(last and last.oid == _COMMON_NAME and (last.text or "").strip().lower() in _LEGACY_PROXIES)
    if legacy or any(extension.oid.dotted_string in _PROXY_EXTENSIONS for extension in extensions):
        raise TrustError("proxy_certificate", "The message is signed with a proxy certificate")


def _check_purpose(purposes: x509.ExtendedKeyUsage | None, *, allow_host: bool) -> str:
    from cryptography.x509.oid import ExtendedKeyUsageOID as Purpose

    if purposes is None:
        return "any purpose"
    found = set(purposes)
    if found & {Purpose.EMAIL_PROTECTION, Purpose.ANY_EXTENDED_KEY_USAGE}:
        return "e-mail protection"
    if Purpose.SERVER_AUTH in found:
        if allow_host:
            return "a host"
        raise TrustError("extended_key_usage", "The message is signed with a host certificate")
    if Purpose.CLIENT_AUTH in found:
        return "client authentication"
    raise TrustError("extended_key_usage", "The signer's certificate is neither for e-mail nor for client use")
