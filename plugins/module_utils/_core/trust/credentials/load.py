# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What signs, from whichever form it is kept in: PEM files, one PKCS#12 file, or a token that never gives its key."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from . import bundle, keys, token

if t.TYPE_CHECKING:
    from cryptography import x509

    from .keys import SigningKey

#: Asked for the passphrase of a key or the PIN of a token, only when there is need; None: there is none.
Passphrase = t.Callable[[], t.Optional[bytes]]


@dataclass(frozen=True)
class Credentials:
    """What signs. The key is never shown."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: SigningKey

    def __repr__(self) -> str:
        return f"Credentials({self.certificate.subject.rfc4514_string()!r})"


def load(
    certificate: str,
    private_key: str | None,
    passphrase: Passphrase,
    now: datetime,
    *,
    chain: t.Sequence[Path] = (),
) -> Credentials:
    """The certificate and its key, belonging together and valid now, and the certificates above it.

    `certificate` and `private_key` are paths of files or ``pkcs11:`` addresses (RFC 7512). Without a `private_key` it
    is in the certificate's file: a PKCS#12 file, or a PEM file with both. Raises PublishError: ``key_missing
    key_permissions key_unreadable passphrase_missing passphrase_wrong certificate_missing key_mismatch
    certificate_expired``; TrustError: ``certificate_malformed weak_key library_missing``.
    """
    found = _load(certificate, private_key, passphrase)
    keys.check_signer(found.certificate, found.key, now)
    return Credentials(found.certificate, (*keys.load_chain(chain), *found.chain), found.key)


def _load(certificate: str, private_key: str | None, passphrase: Passphrase) -> Credentials:
    if private_key is None and not token.is_address(certificate) and bundle.is_bundle(certificate):
        opened = bundle.load(certificate, passphrase)
        return Credentials(opened.certificate, opened.chain, opened.key)
    source = certificate if private_key is None else private_key
    if token.is_address(certificate):
        signer = token.load_certificate(certificate)
    else:
        signer = keys.load_certificate(certificate)
    if token.is_address(source):
        return Credentials(signer, (), token.load_key(source, signer, passphrase))
    return Credentials(signer, (), keys.load_signing_key(source, passphrase()))


def passphrase_of(given: bytes | None, path: Path | None) -> Passphrase:
    """The passphrase that was given, or the first line of a file that is read when it is asked for."""

    def ask() -> bytes | None:
        return given if given is not None or path is None else keys.read_passphrase(path)

    return ask
