# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP proxies: the one that the administrator names, or on request those of the environment; by default none."""

from __future__ import annotations

import os
import typing as t
import urllib.parse

from ...errors import TransferError
from ..policy import Policy, normal_host
from .credentials import user_and_password

#: Stands for the proxies that the environment names.
ENVIRONMENT: t.Final = "environment"


class Proxy(t.NamedTuple):
    """A proxy's address without credentials, and the credentials as ``user:password``."""

    address: str
    credentials: t.Optional[str]


def proxy_for(uri: str, policy: Policy) -> t.Optional[Proxy]:
    """Return the proxy to ask for `uri`; None for a direct connection. Raises `TransferError`."""
    if policy.proxy == ENVIRONMENT:
        named = _environment_proxy(uri)
        return None if named is None else _parts(named)
    if policy.proxy is None or _is_direct(uri, policy.no_proxy):
        return None
    pair = user_and_password(policy.proxy_password_file) if policy.proxy_password_file else None
    return Proxy(policy.proxy, pair)


def is_proxy_address(text: str) -> bool:
    """Whether an option may hold this: an http or https address of a host, with nothing else in it."""
    try:
        parts = urllib.parse.urlsplit(text)
        return (
            parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
            and "@" not in parts.netloc
            and parts.path in ("", "/")
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        return False


def _is_direct(uri: str, exceptions: t.Iterable[str]) -> bool:
    """Whether the host is one of the exceptions, or below a domain that is one."""
    host = normal_host(urllib.parse.urlsplit(uri).hostname or "")
    return any(host == name.lstrip(".") or host.endswith(f".{name.lstrip('.')}") for name in exceptions)


def _environment_proxy(uri: str) -> t.Optional[str]:
    """Return the proxy that the environment names for `uri`, by requests' rules; None for a direct connection."""
    names = (name.lower() for name, value in os.environ.items() if value)
    if not any(name.endswith("_proxy") and name != "no_proxy" for name in names):
        return None
    try:
        from requests.utils import get_environ_proxies, select_proxy
    except ImportError as error:
        from ..connections import library_missing  # what reads a subscription needs no sockets

        raise library_missing("requests") from error
    return select_proxy(uri, get_environ_proxies(uri))


def _parts(proxy: str) -> Proxy:
    try:
        parts = urllib.parse.urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        scheme, user, password = parts.scheme, parts.username, parts.password
    except ValueError:
        raise TransferError("unreachable", "The environment names a proxy by a malformed address") from None
    if scheme not in ("http", "https"):
        raise TransferError("unreachable", f"The environment names a {scheme} proxy, which is not supported")
    address = f"{scheme}://{parts.netloc.rpartition('@')[2]}"
    if user is None:
        return Proxy(address, None)
    return Proxy(address, f"{urllib.parse.unquote(user)}:{urllib.parse.unquote(password or '')}")
