# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP requests under a policy: connections, TLS, proxies, redirects.

urllib3 is used directly, below requests: requests reads a redirect's body whole before it can be stopped, adds its own
CA bundle to the one that was asked for, and takes credentials from ``~/.netrc``. A proxy's own address is the
administrator's choice and not checked; the target's is, as far as this machine can resolve it, before the
proxy is asked, but what the proxy connects to in the end is for the proxy to restrict.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import typing as t
import urllib.parse

from ..errors import TransferError
from .access.credentials import Credentials, credentials_for
from .access.proxies import Proxy, proxy_for
from .access.tls import tls_context
from .connections import pool_classes, resolve
from .policy import Policy, check_uri, normal_host, shown
from .watchdog import Watchdog

if t.TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

#: Connections kept for each server: as many as ask at once in a refresh.
_KEPT: t.Final = 32
_REDIRECTS: t.Final = frozenset({301, 302, 303, 307, 308})


class Session:
    """Open connections, kept for further requests under the same policy; may be shared by threads.

    Close it (or use it as a context manager) when done.
    """

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._lock = threading.Lock()
        self._local = threading.local()
        self._managers: dict[tuple[t.Any, ...], PoolManager] = {}

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that no request is using."""
        with self._lock:
            managers, self._managers = list(self._managers.values()), {}
        for manager in managers:
            for key in manager.pools.keys():  # noqa: SIM118  (the container cannot be iterated while threads use it)
                with contextlib.suppress(KeyError):
                    manager.pools[key].close()

    def open(self, uri: str, headers: t.Mapping[str, str], watchdog: Watchdog) -> tuple[BaseHTTPResponse, str]:
        """Request `uri` and follow redirects by hand; return the first other answer and the address that gave it.

        At most `Policy.max_redirects` hops, never from https to http, never to another scheme, the address of every
        hop checked. The caller closes the response. Raises `TransferError`.
        """
        for _hop in range(self.policy.max_redirects + 1):
            response = self._request(uri, headers, watchdog)
            if response.status not in _REDIRECTS:
                return response, uri
            location = response.headers.get("Location")
            response.close()
            uri = _next_hop(uri, location)
        raise TransferError(
            "redirect_refused", f"More than {self.policy.max_redirects} redirects, the last to {shown(uri)}"
        )

    def _request(self, uri: str, headers: t.Mapping[str, str], watchdog: Watchdog) -> BaseHTTPResponse:
        scheme = check_uri(uri)
        proxy = proxy_for(uri, self.policy)
        if proxy is not None:
            self._check_target(uri)
        # Looked up for each hop of a redirect: what is for one server goes to no other.
        credentials = credentials_for(uri, self.policy.credentials)
        authorization = credentials.headers() if credentials is not None else {}
        always = {"User-Agent": self.policy.user_agent, "Accept-Encoding": "identity"}
        manager = self._manager(proxy, credentials, tls=scheme == "https")
        self._local.watchdog = watchdog
        from urllib3 import Timeout

        with http_errors(uri, watchdog):
            return manager.request(
                "GET",
                uri.partition("#")[0],
                headers={**always, **headers, **authorization},
                timeout=Timeout(connect=self.policy.connect_timeout, read=self.policy.read_timeout),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )

    def _manager(self, proxy: t.Optional[Proxy], credentials: t.Optional[Credentials], *, tls: bool) -> PoolManager:
        """The connections for requests of this kind: one that has shown a certificate serves no other request."""
        certificate = (credentials.certificate, credentials.private_key) if credentials is not None else (None, None)
        key = (tls, proxy, *certificate)
        with self._lock:
            if key not in self._managers:
                context = tls_context(self.policy.ca_path, credentials) if tls else None
                self._managers[key] = self._new_manager(proxy, context)
            return self._managers[key]

    def _new_manager(self, proxy: t.Optional[Proxy], context: t.Optional[ssl.SSLContext]) -> PoolManager:
        check = self.policy.check_address if proxy is None else _any_address
        classes = pool_classes(check, self._watchdog)
        from urllib3 import PoolManager, ProxyManager, make_headers

        manager: PoolManager
        if proxy is None:
            manager = PoolManager(num_pools=64, maxsize=_KEPT, ssl_context=context)
        else:
            headers = make_headers(proxy_basic_auth=proxy.credentials) if proxy.credentials else None
            manager = ProxyManager(
                proxy.address, proxy_headers=headers, num_pools=64, maxsize=_KEPT, ssl_context=context
            )
        manager.pool_classes_by_scheme = classes
        return manager

    def _watchdog(self) -> Watchdog:
        return t.cast(Watchdog, self._local.watchdog)

    def _check_target(self, uri: str) -> None:
        parts = urllib.parse.urlsplit(uri)
        host = parts.hostname or ""
        if self.policy.allow_private or normal_host(host) in self.policy.trusted_hosts:
            return
        try:
            answers = resolve(host, parts.port or 443)
        except TransferError:
            return  # behind a proxy the names of the outside often do not resolve: the proxy does it
        for *_kind, address in answers:
            self.policy.check_address(host, address[0])


@contextlib.contextmanager
def http_errors(uri: str, watchdog: Watchdog) -> t.Iterator[None]:
    """Turn what the HTTP library raises inside the block into a `TransferError`; the watchdog's reason comes first."""
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (HTTPError, http.client.HTTPException, OSError, ValueError) as error:
        watchdog.check()
        raise _http_failure(error, uri) from error


def _http_failure(error: Exception, uri: str) -> TransferError:
    from urllib3.exceptions import LocationValueError, ProxyError, SSLError
    from urllib3.exceptions import TimeoutError as HTTPTimeoutError

    host = urllib.parse.urlsplit(uri).hostname
    place = shown(uri)
    if isinstance(error, LocationValueError):
        return TransferError("uri_unsupported", f"The address {place} is malformed", uri=place)
    if isinstance(error, ProxyError):
        if " 407 " in f"{error.original_error} ":
            return TransferError("access_denied", "The proxy asks for another user or password", uri=place, status=407)
        return TransferError("unreachable", f"The proxy did not connect to {host}", uri=place)
    if isinstance(error, (SSLError, ssl.SSLError)) and not _is_cut(error):
        return TransferError("tls_failed", f"The TLS connection to {host} failed: {_tls_reason(error)}", uri=place)
    if isinstance(error, (HTTPTimeoutError, socket.timeout)):
        return TransferError("timeout", f"The server did not go on sending {place}", uri=place)
    return TransferError("unreachable", f"The connection for {place} broke, or the answer is not HTTP", uri=place)


def _is_cut(error: Exception) -> bool:
    """Whether the connection ended where TLS would go on: nobody objects to anything."""
    candidates = (error, *error.args, error.__cause__)
    return any(isinstance(candidate, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) for candidate in candidates)


def _tls_reason(error: Exception) -> str:
    for candidate in (error, *error.args, error.__cause__):
        if isinstance(candidate, ssl.SSLCertVerificationError):
            return candidate.verify_message or "the certificate is not trusted"
        if isinstance(candidate, ssl.SSLError) and candidate.reason:
            return candidate.reason.replace("_", " ").lower()
    return "the handshake broke"


def _next_hop(uri: str, location: t.Optional[str]) -> str:
    """Return the address that a redirect from `uri` leads to, or refuse it (``redirect_refused``)."""
    if not location:
        raise TransferError("http_status", f"The server redirects {shown(uri)} to no address", uri=shown(uri))
    with contextlib.suppress(UnicodeError):
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = urllib.parse.urljoin(uri, urllib.parse.quote(location, safe="!#$%&'()*+,/:;=?@[]~"))
        check_uri(target)
        downgrade = uri.lower().startswith("https:") and not target.lower().startswith("https:")
    except ValueError:
        raise _refused(uri, "a malformed address") from None
    except TransferError as error:
        raise _refused(uri, f"{shown(target)}, which is not allowed there") from error
    if downgrade:
        raise _refused(uri, f"{shown(target)}, which is not encrypted")
    return target


def _refused(uri: str, where: str) -> TransferError:
    return TransferError("redirect_refused", f"The server redirects {shown(uri)} to {where}", uri=shown(uri))


def _any_address(_host: str, _address: str) -> None:
    """Check nothing: the address is that of the administrator's own proxy."""
