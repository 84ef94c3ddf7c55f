# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTP requests that carry the endorser's credentials: to the server they are meant for, and over TLS only."""

from __future__ import annotations

import contextlib
import typing as t
import urllib.parse

from ...errors import TransferError
from ..access.credentials import Credentials
from ..access.tls import tls_context
from ..connections import library_missing
from ..policy import check_uri, host_of, shown
from ..session import http_errors
from ..watchdog import Watchdog
from .base import Announced, Settings

if t.TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

_REDIRECTS: t.Final = frozenset({307, 308})
#: Those that a reader follows, too: dCache's door sends one to the pool that has the file (302).
_READERS: t.Final = frozenset({301, 302, 303})
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
        self._managers: dict[Credentials, PoolManager] = {}

    @contextlib.contextmanager
    def request(
        self,
        verb: str,
        uri: str,
        *,
        body: t.Union[Announced, bytes, None] = None,
        headers: t.Optional[t.Mapping[str, str]] = None,
    ) -> t.Iterator[BaseHTTPResponse]:
        """The answer, closed at the end. A redirect is followed, with the body from its beginning; to another host it
        goes as a stranger: whatever is asked of that host, it is not asked in the endorser's name."""
        home = uri
        redirects = _REDIRECTS | (_READERS if verb in ("GET", "HEAD") else frozenset())
        for _hop in range(_HOPS):
            with self._ask(verb, uri, home=home, body=body, headers=headers or {}) as answer:
                location = answer.headers.get("Location")
                if answer.status not in redirects or not location:
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

        scheme, host = check_uri(uri), host_of(uri)
        shown_to = self._credentials(home) if host == host_of(home) else Credentials(host)
        if scheme != "https" and shown_to != Credentials(host):
            raise TransferError("login_refused", f"Credentials are not sent to {shown(uri)}, which is not encrypted")
        sent = {"User-Agent": "hepix.vmimages", "Accept-Encoding": "identity", **headers, **shown_to.headers()}
        if body is not None:
            sent.setdefault("Content-Length", str(len(body)))
        with http_errors(uri, Watchdog(_FOREVER, what=shown(uri))):
            answer = self._pool(shown_to).request(
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

    def _credentials(self, uri: str) -> Credentials:
        given = self._settings
        return Credentials(
            host=host_of(uri),
            token_file=given.token_file,
            password_file=given.credentials_file,
            certificate=given.client_certificate,
            private_key=given.client_key,
        )

    def _pool(self, credentials: Credentials) -> PoolManager:
        """The connections to one host: those that have shown a certificate serve no other."""
        if credentials not in self._managers:
            try:
                from urllib3 import PoolManager
            except ImportError as error:
                raise library_missing("urllib3") from error
            context = tls_context(self._settings.ca_path, credentials)
            self._managers[credentials] = PoolManager(ssl_context=context, blocksize=_BLOCK)
        return self._managers[credentials]


def pieces(answer: BaseHTTPResponse) -> t.Iterator[bytes]:
    """The body of an answer, as it comes, in pieces of at most `_BLOCK` octets.

    Not by the library's read() and stream(): they take a chunk of less than no octets for all that ever comes.
    """
    while True:
        piece = answer.read1(_BLOCK, decode_content=False)
        if not piece:
            return
        yield piece[:_BLOCK]


def beginning(answer: BaseHTTPResponse, limit: int) -> bytes:
    """The body of an answer, at most `limit` octets of it."""
    octets = bytearray()
    for piece in pieces(answer):
        octets += piece
        if len(octets) >= limit:
            break
    return bytes(octets[:limit])


def _next(uri: str, location: str) -> str:
    target = urllib.parse.urljoin(uri, location)
    if check_uri(target) != check_uri(uri):
        raise TransferError("redirect_refused", f"The server redirects {shown(uri)} to {shown(target)}")
    return target
