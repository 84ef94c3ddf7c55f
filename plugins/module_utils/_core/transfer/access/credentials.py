# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What proves to one server who we are, by paths; no other server ever sees it."""

from __future__ import annotations

import base64
import re
import typing as t
import urllib.parse
from dataclasses import dataclass

from ...errors import TransferError
from ..policy import normal_host
from .private import read_line

# RFC 6750, section 2.1
_TOKEN: t.Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True)
class Credentials:
    """For the server `host`, at the port `port` or at any: a bearer token, or a user and a password, in a file each,
    and a client certificate with its key, which may be in one file with it (as a grid proxy is).
    """

    host: str
    port: t.Optional[int] = None
    token_file: t.Optional[str] = None
    password_file: t.Optional[str] = None
    certificate: t.Optional[str] = None
    private_key: t.Optional[str] = None

    def headers(self) -> dict[str, str]:
        """The request headers, from the files as they are now: tokens are short-lived, and renewed in place.

        Raises `TransferError` as `read_line`.
        """
        if self.token_file:
            token = read_line(self.token_file, "The file of the token")
            if not _TOKEN.fullmatch(token):
                raise _unusable(self.token_file, "The file of the token", "it does not hold a bearer token")
            return {"Authorization": f"Bearer {token}"}
        if self.password_file:
            pair = user_and_password(self.password_file)
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return {}


def credentials_for(uri: str, known: t.Iterable[Credentials]) -> t.Optional[Credentials]:
    """Return the credentials of the server of `uri`; only a server that has shown its certificate gets any."""
    parts = urllib.parse.urlsplit(uri)
    if parts.scheme != "https":
        return None
    host, port = normal_host(parts.hostname or ""), parts.port or 443
    fitting = [item for item in known if item.host == host and item.port in (None, port)]
    return max(fitting, key=lambda item: item.port is not None, default=None)


def user_and_password(path: str) -> str:
    """The line ``user:password`` of a file. Raises `TransferError` as `read_line`."""
    pair = read_line(path, "The file of the password")
    if ":" not in pair:
        raise _unusable(path, "The file of the password", "it does not hold user:password")
    return pair


def _unusable(path: str, what: str, why: str) -> TransferError:
    return TransferError("secret_unreadable", f"{what} {path} cannot be used: {why}", path=path)
