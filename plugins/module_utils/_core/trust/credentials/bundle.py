# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A PKCS#12 file (RFC 7292), as certification authorities hand it out: certificate, key and chain in one."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ... import files
from ...errors import PublishError
from .. import library
from . import keys

if t.TYPE_CHECKING:
    from cryptography import x509

    from .keys import SigningKey

#: The version 3 that such a file begins with, behind its outer sequence: no certificate begins so.
_VERSION: t.Final = b"\x02\x01\x03"
_HEAD: t.Final = 16


@dataclass(frozen=True)
class Bundle:
    """What such a file holds; `chain` in the order of the file."""

    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]
    key: SigningKey


def is_bundle(path: str) -> bool:
    """Whether the file is a PKCS#12 file, by its first octets; False also where it cannot be read."""
    try:
        _found, head = files.read(path, keys.MAX_FILE, only=_HEAD)
    except (OSError, files.UnusableFileError):
        return False
    return head[:1] == b"\x30" and _VERSION in (head[2:5], head[3:6], head[4:7], head[5:8])


def load(path: str, passphrase: t.Callable[[], t.Optional[bytes]]) -> Bundle:
    """Open the file. Raises PublishError: key_permissions key_unreadable passphrase_missing passphrase_wrong."""
    octets = keys.read_private(path)
    library.require()
    from cryptography import x509

    try:
        found = _open(octets, None)
    except ValueError:
        secret = passphrase()
        if not secret:
            raise PublishError("passphrase_missing", f"The file {path} is encrypted", path=path) from None
        try:
            found = _open(octets, secret)
        except ValueError:
            detail = f"The passphrase does not open the file {path}, or it is damaged"
            raise PublishError("passphrase_wrong", detail, path=path) from None
    key, certificate, others = found
    if key is None or not isinstance(certificate, x509.Certificate):
        raise PublishError("key_unreadable", f"The file {path} does not hold a key with its certificate", path=path)
    return Bundle(certificate, tuple(others), keys.require_signing_key(key, f"The private key in {path}"))


def _open(octets: bytes, secret: t.Optional[bytes]) -> tuple[t.Any, t.Any, list[t.Any]]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import pkcs12

    try:
        with library.quiet():
            return pkcs12.load_key_and_certificates(octets, secret)
    except (UnsupportedAlgorithm, TypeError) as error:
        raise ValueError(str(error)) from error
