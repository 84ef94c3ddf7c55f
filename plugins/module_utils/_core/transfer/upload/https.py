# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP requests that carry the endorser's credentials: to the server they are meant for, and over TLS only."""

from __future__ import annotations

import base64
import contextlib
import ssl
import typing as t
import urllib.parse

from ...errors import TransferError
from ..access.tls import tls_context
from ..connections import library_missing
from ..policy import check_uri, host_of, shown
from ..session import http_errors
from ..watchdog import Watchdog
from .base import Announced, Settings
from .secret import check_private, read_secret

if t.TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_REDIRECTS: t.Final = frozenset({307, 308})
_HOPS: t.Final = 3
#: Octets handed to the socket at once.
_BLOCK: t.Final = 256 * 1024
_CONNECT_TIMEOUT: t.Final = 30.0
#: Longest silence, in seconds: a server may have to force gigabytes to disk before it answers.
_READ_TIMEOUT: t.Final = 600.0
#: No limit for the whole: that depends on the size and the line.
_FOREVER: t.Final = 30 * 86400.0


class Door:
    """One server's door; ``login_refused`` is said of credentials that cannot be used or would leak."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._manager: t.Optional[PoolManager] = None

    @contextlib.contextmanager
    def request(
        self,
        verb: str,
        uri: str,
        *,
        body: t.Union[Announced, bytes, None] = None,
        headers: t.Optional[t.Mapping[str, str]] = None,
    ) -> t.Iterator[BaseHTTPResponse]:
        """The answer, closed at the end. A redirect is followed only before a body was taken from `body`."""
        home = uri
        for _hop in range(_HOPS):
            with self._ask(verb, uri, home=home, body=body, headers=headers or {}) as answer:
                location = answer.headers.get("Location")
                if answer.status not in _REDIRECTS or not location:
                    yield answer
                    return
                uri = _next(uri, location)
            if isinstance(body, Announced):
                body = body.again()
        raise TransferError("redirect_refused", f"The server redirects {shown(home)} again and again")

    @contextlib.contextmanager
    def _ask(
        self, verb: str, uri: str, *, home: str, body: t.Union[Announced, bytes, None], headers: t.Mapping[str, str]
    ) -> t.Iterator[BaseHTTPResponse]:
        from urllib3 import Timeout

        scheme = check_uri(uri)
        if scheme != "https" and self._has_secrets():
            raise TransferError("login_refused", f"Credentials are not sent to {shown(uri)}, which is not encrypted")
        sent = {"User-Agent": "hepix.vmimages", "Accept-Encoding": "identity", **headers}
        if host_of(uri) == host_of(home):
            sent.update(self._authorisation())
        if body is not None:
            sent.setdefault("Content-Length", str(len(body)))
        with http_errors(uri, Watchdog(_FOREVER, what=shown(uri))):
            answer = self._pool().request(
                verb,
                uri,
                body=t.cast("t.Any", body),
                headers=sent,
                timeout=Timeout(connect=_CONNECT_TIMEOUT, read=_READ_TIMEOUT),
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                yield answer
            finally:
                answer.close()

    def _has_secrets(self) -> bool:
        given = self._settings
        return bool(given.client_certificate or given.token_file or given.credentials_file)

    def _authorisation(self) -> dict[str, str]:
        given = self._settings
        if given.token_file:
            return {"Authorization": f"Bearer {read_secret(given.token_file)}"}
        if given.credentials_file:
            pair = read_secret(given.credentials_file)
            if ":" not in pair:
                detail = f"The file {given.credentials_file} does not hold user:password in its first line"
                raise TransferError("login_refused", detail)
            return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        return {}

    def _pool(self) -> PoolManager:
        if self._manager is None:
            try:
                from urllib3 import PoolManager
            except ImportError as error:
                raise library_missing("urllib3") from error
            self._manager = PoolManager(ssl_context=self._context(), blocksize=_BLOCK)
        return self._manager

    def _context(self) -> ssl.SSLContext:
        given = self._settings
        context = tls_context(given.ca_path)
        if given.client_certificate:
            key = given.client_key or given.client_certificate
            check_private(key)
            try:
                # Nothing can be asked for here: a key with a passphrase is refused by an empty one.
                context.load_cert_chain(given.client_certificate, key, password=b"")
            except (OSError, ssl.SSLError, ValueError) as error:
                detail = f"The client certificate {given.client_certificate} and its key {key} cannot be used"
                raise TransferError("login_refused", detail) from error
        return context


def _next(uri: str, location: str) -> str:
    target = urllib.parse.urljoin(uri, location)
    if check_uri(target) != check_uri(uri):
        raise TransferError("redirect_refused", f"The server redirects {shown(uri)} to {shown(target)}")
    return target
