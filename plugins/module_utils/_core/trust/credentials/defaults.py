# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an endorser's certificate and key are when nobody says: as the grid's tools and vmcaster looked for them."""

from __future__ import annotations

import typing as t
from pathlib import Path

#: The variables that name the two, the first that is set.
_CERTIFICATE: t.Final = ("X509_USER_CERT", "VMCASTER_X509_CERT")
_KEY: t.Final = ("X509_USER_KEY", "VMCASTER_X509_KEY")
_DIRECTORY: t.Final = "VMCASTER_X509_DIR"


def find(certificate: str | None, private_key: str | None, environment: t.Mapping[str, str]) -> tuple[str, str | None]:
    """The certificate and the key to use; None for a key that is in the certificate's own file.

    What is given counts; without a certificate ``X509_USER_CERT`` and ``X509_USER_KEY``, then vmcaster's variables,
    then ``usercert.pem`` and ``userkey.pem``, or else ``usercred.p12``, in ``VMCASTER_X509_DIR`` or ``~/.globus``.
    """
    if certificate is not None:
        return certificate, private_key
    folder = Path(environment.get(_DIRECTORY) or Path(environment.get("HOME") or "~").expanduser() / ".globus")
    named = next((environment[name] for name in _CERTIFICATE if environment.get(name)), None)
    key = private_key or next((environment[name] for name in _KEY if environment.get(name)), None)
    if named is None and key is None and not (folder / "usercert.pem").exists():
        bundle = folder / "usercred.p12"
        if bundle.exists():
            return str(bundle), None
    return named or str(folder / "usercert.pem"), key or str(folder / "userkey.pem")
