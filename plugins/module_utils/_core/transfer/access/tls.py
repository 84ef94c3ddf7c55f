# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS contexts: whom we trust, and who we are."""

from __future__ import annotations

import ssl
import typing as t
from pathlib import Path

from ...errors import TransferError
from .credentials import Credentials
from .private import require_private


def tls_context(ca_path: t.Optional[str], credentials: t.Optional[Credentials] = None) -> ssl.SSLContext:
    """Return a context that trusts the CAs of `ca_path` (PEM file or hashed directory) only, or else the system's.

    It shows the client certificate of the `credentials`, if there is one. Raises `TransferError`: ``not_found``,
    ``not_readable``, ``tls_failed`` (no certificate in the file), ``secret_unreadable``, ``secret_permissions``.
    """
    context = _trusting(ca_path)
    if credentials is not None and credentials.certificate:
        _show(context, credentials.certificate, credentials.private_key or credentials.certificate)
    return context


def _trusting(ca_path: t.Optional[str]) -> ssl.SSLContext:
    if ca_path is None:
        return ssl.create_default_context()
    path = Path(ca_path)
    try:
        if path.is_dir():
            return ssl.create_default_context(capath=ca_path)
        return ssl.create_default_context(cafile=ca_path)
    except ssl.SSLError as error:
        raise TransferError("tls_failed", f"The file {ca_path} holds no readable CA certificate") from error
    except FileNotFoundError as error:
        raise TransferError("not_found", f"There is no file or directory of CAs at {ca_path}") from error
    except OSError as error:
        raise TransferError("not_readable", f"The CAs in {ca_path} cannot be read: {error.strerror}") from error


def _show(context: ssl.SSLContext, certificate: str, private_key: str) -> None:
    """Show the certificate, and what is in its file of the path to its CA (RFC 3820: that of a proxy is)."""
    require_private(private_key, "The file of the private key")
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(certificate, private_key, password="")
    except FileNotFoundError:
        raise _unusable(certificate, "there is no such file") from None
    except ssl.SSLError as error:
        mismatch = error.reason == "KEY_VALUES_MISMATCH"
        why = "the private key is not its own" if mismatch else "it, or its key, is not readable PEM without a password"
        raise _unusable(certificate, why) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "its key is encrypted"
        raise _unusable(certificate, why.lower()) from None


def _unusable(path: str, why: str) -> TransferError:
    return TransferError("secret_unreadable", f"The client certificate {path} cannot be used: {why}", path=path)
