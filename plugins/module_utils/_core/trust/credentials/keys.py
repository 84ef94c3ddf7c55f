# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endorser's key and certificates, by path only; nothing of them ever reaches a message or a log."""

from __future__ import annotations

import datetime
import os
import pathlib
import re
import stat
import typing as t

from ... import files
from ...errors import PublishError, TrustError
from .. import algorithms, library

if t.TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    SigningKey = t.Union[rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey]

MAX_FILE: t.Final = 1024 * 1024
Path = t.Union[str, os.PathLike[str]]

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----")


def load_signing_key(path: Path, passphrase: bytes | None = None) -> SigningKey:
    """The private key in a PEM file that only its owner may read. A passphrase that is not needed is ignored.

    Raises `PublishError`: key_missing key_permissions key_unreadable passphrase_missing passphrase_wrong;
    `TrustError`: weak_key.
    """
    octets = read_private(path)
    library.require()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        try:
            key = load_pem_private_key(octets, None)
        except TypeError:  # it is encrypted
            if not passphrase:
                detail = f"The private key {path} is encrypted"
                raise PublishError("passphrase_missing", detail, path=str(path)) from None
            key = _decrypted(octets, passphrase, path)
    except (ValueError, UnsupportedAlgorithm):
        detail = f"The file {path} holds no private key that can be read"
        raise PublishError("key_unreadable", detail, path=str(path)) from None
    return require_signing_key(key, f"The private key {path}")


def require_signing_key(key: t.Any, what: str) -> SigningKey:
    """The key, of a kind and a strength that may sign. Raises `PublishError` key_unreadable, `TrustError` weak_key."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if not isinstance(key, (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey)):
        raise PublishError("key_unreadable", f"{what} is neither RSA nor EC")
    _check_strength(key.public_key(), what)
    return key


def _decrypted(octets: bytes, passphrase: bytes, path: Path) -> t.Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        return load_pem_private_key(octets, passphrase)
    except (ValueError, TypeError):
        detail = f"The passphrase does not open the private key {path}"
        raise PublishError("passphrase_wrong", detail, path=str(path)) from None


def _is_credential(path: Path) -> bool:
    """Whether systemd gives the file to this service alone (LoadCredential=): by an access list, which looks like a
    group's right to read it, in a directory that nobody else enters."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return bool(directory) and str(pathlib.Path(path).parent) == directory


def read_private(path: Path) -> bytes:
    """The octets of a file that only its owner may read; `PublishError` key_missing key_permissions key_unreadable."""
    try:
        found, octets = files.read(path, MAX_FILE)
    except FileNotFoundError:
        raise PublishError("key_missing", f"There is no private key at {path}", path=str(path)) from None
    except (OSError, files.UnusableFileError) as error:
        detail = f"The private key {path} cannot be read: {files.reason(error)}"
        raise PublishError("key_unreadable", detail, path=str(path)) from None
    if found.st_mode & (0o007 if _is_credential(path) else 0o077):
        detail = f"The private key {path} has mode {stat.S_IMODE(found.st_mode):04o}: others than its owner may use it"
        raise PublishError("key_permissions", detail, path=str(path), mode=f"{stat.S_IMODE(found.st_mode):04o}")
    return octets


def _check_strength(key: t.Any, what: str) -> None:
    size = key.key_size
    curve = getattr(getattr(key, "curve", None), "name", None)
    if curve is None and size < algorithms.MINIMUM_RSA:
        raise TrustError("weak_key", f"{what} is RSA with {size} bits")
    if curve is not None and curve not in algorithms.CURVES:
        raise TrustError("weak_key", f"{what} is on the curve {curve}")


def load_certificate(path: Path) -> x509.Certificate:
    """The first certificate of a PEM file, or the one of a DER file.

    Raises `PublishError`: certificate_missing; `TrustError`: certificate_malformed.
    """
    return _load_certificates(path)[0]


def load_chain(paths: t.Iterable[Path]) -> tuple[x509.Certificate, ...]:
    """Every certificate of every file, in their order; raises as `load_certificate`."""
    return tuple(certificate for path in paths for certificate in _load_certificates(path))


def _load_certificates(path: Path) -> list[x509.Certificate]:
    try:
        _found, octets = files.read(path, MAX_FILE)
    except FileNotFoundError:
        raise PublishError("certificate_missing", f"There is no certificate at {path}", path=str(path)) from None
    except (OSError, files.UnusableFileError) as error:
        detail = f"The certificate {path} cannot be read: {files.reason(error)}"
        raise PublishError("certificate_missing", detail, path=str(path)) from None
    library.require()
    from cryptography import x509

    try:
        with library.quiet():
            if octets[:1] == b"\x30":
                return [x509.load_der_x509_certificate(octets)]
            found = [x509.load_pem_x509_certificate(block) for block in _PEM.findall(octets)]
    except (ValueError, x509.InvalidVersion):
        found = []
    if not found:
        detail = f"The file {path} holds no certificate that can be read"
        raise TrustError("certificate_malformed", detail, path=str(path))
    return found


def check_pair(certificate: x509.Certificate, key: SigningKey) -> None:
    """Raise `PublishError` (key_mismatch) unless the key belongs to the certificate."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise PublishError("key_mismatch", "The private key does not belong to the certificate")


def check_signer(certificate: x509.Certificate, key: SigningKey, when: datetime.datetime) -> None:
    """Raise `PublishError` (key_mismatch, certificate_expired) unless the two belong together and hold at `when`."""
    check_pair(certificate, key)
    before, after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if when > after:
        raise PublishError("certificate_expired", f"The certificate has expired on {after:%Y-%m-%dT%H:%M:%SZ}")
    if when < before:
        raise PublishError("certificate_expired", f"The certificate is valid only from {before:%Y-%m-%dT%H:%M:%SZ} on")


def read_passphrase(path: Path) -> bytes:
    """The first line of a passphrase file; raises `PublishError` (passphrase_missing, key_permissions)."""
    try:
        found, octets = files.read(pathlib.Path(path), 4096)
    except (OSError, files.UnusableFileError) as error:
        detail = f"The passphrase file {path} cannot be read: {files.reason(error)}"
        raise PublishError("passphrase_missing", detail, path=str(path)) from None
    if found.st_mode & 0o077:
        detail = f"Others than its owner may use the passphrase file {path}"
        raise PublishError("key_permissions", detail, path=str(path))
    return octets.split(b"\n", 1)[0].rstrip(b"\r")
