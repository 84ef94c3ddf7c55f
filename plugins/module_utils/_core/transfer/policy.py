# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From where, and how patiently, octets may be fetched (trust.md section 6: endless data, slow retrieval, mirrors)."""

from __future__ import annotations

import dataclasses
import typing as t
import urllib.parse
from dataclasses import dataclass

from ..errors import TransferError
from .addresses import restriction

if t.TYPE_CHECKING:
    from .access.credentials import Credentials


@dataclass(frozen=True)
class Policy:
    """The limits of a transfer. Times are seconds, rates octets per second. Hashable: connections are kept by policy.

    allow_private: connect to private, loopback, link-local, ... addresses of any host.
    allow_file: accept ``file:`` addresses. Only for addresses that the administrator named, never for list content.
    trusted_hosts: host names (see `host_of`) that may have any address: those the administrator subscribed to.
    file_roots: directories, each with a slash at its end, below which ``file:`` addresses are accepted all the same.
    ca_path: PEM file or hashed directory of the CAs for https; None means the system's.
    credentials: for the servers that they name. proxy: its address, or "environment" for those that the environment
    names; proxy_password_file: who we are to it; no_proxy: hosts and domains that are asked directly.
    connect_timeout: for each connection, TLS handshake included. read_timeout: longest silence.
    message_timeout: for a whole message, and for everything before the body of a file.
    total_timeout: for a whole file, all attempts included. minimum_rate: of a body, measured over each rate_window.
    retries: how often a file that does not come is asked for again, after pauses that begin with retry_pause and
    double; attempts that brought octets do not count. 0: every address is asked once.
    """

    allow_private: bool = False
    allow_file: bool = False
    trusted_hosts: frozenset[str] = frozenset()
    file_roots: tuple[str, ...] = ()
    ca_path: t.Optional[str] = None
    credentials: tuple[Credentials, ...] = ()
    proxy: t.Optional[str] = None
    proxy_password_file: t.Optional[str] = None
    no_proxy: tuple[str, ...] = ()
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    message_timeout: float = 120.0
    total_timeout: float = 86400.0
    minimum_rate: int = 1024
    rate_window: float = 30.0
    max_redirects: int = 5
    retries: int = 3
    retry_pause: float = 1.0
    user_agent: str = "hepix.vmimages"

    def trusting(self, *uris: str) -> Policy:
        """Return this policy with the hosts of `uris` trusted as well; an address without a host adds none."""
        hosts = {host for host in map(host_of, uris) if host}
        return dataclasses.replace(self, trusted_hosts=self.trusted_hosts | hosts)

    def allows_file(self, uri: str) -> bool:
        """Whether `uri`, if it is a ``file:`` address, may be read."""
        if self.allow_file:
            return True
        path = urllib.parse.unquote(uri[len("file://") :]) if uri.startswith("file:///") else ""
        return ".." not in path.split("/") and any(path.startswith(root) for root in self.file_roots)

    def check_address(self, host: str, address: str) -> None:
        """Refuse (``address_refused``) to connect to `host` at the numeric `address` unless this policy allows it."""
        if self.allow_private or normal_host(host) in self.trusted_hosts:
            return
        why = restriction(address)
        if why is not None:
            raise TransferError(
                "address_refused", f"The host {host} has the {why} address {address}", host=host, address=address
            )


def normal_host(host: str) -> str:
    """Return `host` in the one spelling in which hosts are compared: lower case, no brackets, no final dot."""
    return host.strip("[]").rstrip(".").lower()


def host_of(uri: str) -> str:
    """Return the host of `uri` in normal spelling, or an empty string."""
    try:
        return normal_host(urllib.parse.urlsplit(uri).hostname or "")
    except ValueError:
        return ""


def shown(uri: str) -> str:
    """Return `uri` as it may be shown and logged: no user, no password, no query, no fragment, no odd characters."""
    try:
        parts = urllib.parse.urlsplit(uri)
        netloc = parts.netloc.rpartition("@")[2]
        text = f"{parts.scheme}://{netloc}{parts.path}" if parts.scheme else f"{netloc}{parts.path}"
        text += "?..." if parts.query else ""
    except ValueError:
        return "(unreadable address)"
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= 300 else f"{text[:297]}..."


def check_uri(uri: str, *, allow_file: bool = False) -> str:
    """Check the form of `uri` and return its scheme: ``https``, ``http`` or, where allowed, ``file``.

    Raises `TransferError` ``uri_unsupported``; what the host resolves to is checked when connecting.
    """
    if any(not "!" <= character <= "~" or character == "\\" for character in uri):
        raise _unsupported(uri, "holds a character that an address must not hold")
    try:
        parts = urllib.parse.urlsplit(uri)
        has_credentials = "@" in parts.netloc
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise _unsupported(uri, "is malformed") from None
    if parts.scheme == "file":
        if not allow_file:
            raise _unsupported(uri, "is a file address, which only the administrator may name")
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
            raise _unsupported(uri, "does not name a local file by its full path")
        return "file"
    if parts.scheme not in ("https", "http"):
        raise _unsupported(uri, "is not an https or http address")
    if has_credentials:
        raise _unsupported(uri, "holds a user name or a password")
    if not has_host:
        raise _unsupported(uri, "names no valid host and port")
    return parts.scheme


def _unsupported(uri: str, why: str) -> TransferError:
    return TransferError("uri_unsupported", f"The address {shown(uri)} {why}", uri=shown(uri))
