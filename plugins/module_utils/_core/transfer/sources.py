# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where octets come from: a web server's answer or a local file, read through the same few calls."""

from __future__ import annotations

import contextlib
import datetime
import email.utils
import http.client
import os
import re
import stat
import time
import typing as t
import urllib.parse
from dataclasses import dataclass

from ..errors import TransferError
from .atomic import storage_errors
from .policy import check_uri, shown
from .session import Session, http_errors
from .watchdog import Watchdog

if t.TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_VALIDATOR_LENGTH: t.Final = 1024
_FLUSH_SECONDS: t.Final = 1.0
#: Answers to a request for the rest after which the whole is asked for: the range, or its condition, may be why.
_NO_RANGES: t.Final = frozenset({206, 400, 405, 412, 416, 501})
_CONTENT_RANGE: t.Final = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE)


@dataclass(frozen=True)
class Validators:
    """What a server said to recognise one version of a file by: header values, verbatim, or None."""

    etag: t.Optional[str] = None
    last_modified: t.Optional[str] = None

    def headers(self) -> dict[str, str]:
        """Return the request headers that ask for the file only if it is another version."""
        headers = {}
        if self.etag:
            headers["If-None-Match"] = self.etag
        if self.last_modified:
            headers["If-Modified-Since"] = self.last_modified
        return headers


@dataclass(frozen=True)
class Rest:
    """The rest of a file is asked for, from `offset` on, if it is still the version with these validators.

    Without any, the rest is asked for all the same: the digest of the whole tells.
    """

    offset: int
    validators: Validators = Validators()

    def headers(self) -> dict[str, str]:
        """Return the request headers (RFC 9110, sections 13.1.5 and 14.2); a weak validator is none here."""
        headers = {"Range": f"bytes={self.offset}-"}
        etag, last_modified = self.validators.etag, self.validators.last_modified
        if etag and etag.startswith('"'):
            headers["If-Range"] = etag
        elif last_modified:
            headers["If-Range"] = last_modified
        return headers


#: The whole file.
WHOLE: t.Final = Rest(0)

#: Seconds that must lie between a file's last change and the answer that is to be recognised later.
_SETTLED: t.Final = 2.0


class Source(t.Protocol):
    """An open source. `length` is the number of octets it promises, or None; `uri` is the address as shown.

    `offset` is the place of its first octet in the file.
    """

    uri: str
    offset: int
    length: t.Optional[int]
    unchanged: bool
    encoding: str
    validators: Validators

    def readinto(self, view: memoryview) -> int:
        """Put the next octets at the start of `view`, as many as are there; return their number, 0 at the end."""

    def close(self) -> None:
        """Give the source back."""


class _WebSource:
    def __init__(
        self, response: BaseHTTPResponse, uri: str, asked: Validators, watchdog: Watchdog, offset: int = 0
    ) -> None:
        headers = response.headers
        self.uri = shown(uri)
        self.offset = offset
        self.unchanged = response.status == 304
        self.encoding = headers.get("Content-Encoding", "").strip().lower().replace("identity", "")
        self.validators = asked if self.unchanged else _validators(headers)
        self.length = _content_length(headers)
        self._response = response
        self._watchdog = watchdog
        self._body = _plain_body(response)

    def readinto(self, view: memoryview) -> int:
        with http_errors(self.uri, self._watchdog):
            if self._body is not None:
                return _read_plain(self._body, view)
            octets = self._response.read1(len(view), decode_content=False)
            # A chunk of less than no octets is read as whatever comes.
            if len(octets) > len(view):
                raise ValueError("more octets than were asked for")
        view[: len(octets)] = octets
        return len(octets)

    def close(self) -> None:
        # Such an answer has no body, or it was read to its end: the connection can serve the next request.
        if self.unchanged or (self._body is not None and self._body.isclosed()):
            self._response.release_conn()
        self._response.close()


def _plain_body(response: BaseHTTPResponse) -> t.Optional[http.client.HTTPResponse]:
    """The standard library's answer under urllib3's, if its body is so many octets and nothing else.

    urllib3 copies every octet once more: that is a tenth of the CPU time of a transfer.
    """
    body = getattr(response, "_fp", None)
    if isinstance(body, http.client.HTTPResponse) and not body.chunked and body.length is not None:
        return body
    return None


def _read_plain(body: http.client.HTTPResponse, view: memoryview) -> int:
    if body.isclosed():
        return 0
    if not body.length:
        body.read()  # nothing, but the connection can serve the next request then
        return 0
    count = body.fp.readinto1(view[: body.length])
    body.length -= count
    return count


def _validators(headers: t.Mapping[str, str]) -> Validators:
    """The answer's validators; none where the file is so new that its next version could carry the same ones.

    Servers make them of a time in whole seconds (RFC 9110, section 8.8.2.2): a file that was changed in the second
    before the answer may be changed again in that second.
    """
    last_modified = _header(headers.get("Last-Modified"))
    modified, answered = _time(last_modified), _time(headers.get("Date"))
    if modified is not None and answered is not None and (answered - modified).total_seconds() < _SETTLED:
        return Validators()
    return Validators(etag=_header(headers.get("ETag")), last_modified=last_modified)


def _time(text: t.Optional[str]) -> t.Optional[datetime.datetime]:
    try:
        found = email.utils.parsedate_to_datetime(text or "")
    except (TypeError, ValueError, OverflowError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=datetime.timezone.utc)


class _FileSource:
    def __init__(self, uri: str, asked: Validators, rest: Rest) -> None:
        path = urllib.parse.unquote(urllib.parse.urlsplit(uri).path)
        if "\0" in path:
            raise TransferError("uri_unsupported", f"The address {shown(uri)} holds a NUL character")
        self.uri = shown(uri)
        self.encoding = ""
        self._path = path
        with storage_errors(path, reading=True):
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode):
                raise TransferError("not_readable", f"{path} is not a regular file", path=path)
        except BaseException:
            os.close(self._fd)
            raise
        self.validators = Validators(etag=f'"{status.st_size:x}-{status.st_mtime_ns:x}-{status.st_ino:x}"')
        self.unchanged = asked.etag == self.validators.etag
        goes_on = rest.offset <= status.st_size and rest.validators.etag in (None, self.validators.etag)
        self.offset = rest.offset if goes_on else 0
        self.length: t.Optional[int] = status.st_size - self.offset
        os.lseek(self._fd, self.offset, os.SEEK_SET)

    def readinto(self, view: memoryview) -> int:
        with storage_errors(self._path, reading=True):
            return os.readv(self._fd, [view])

    def close(self) -> None:
        os.close(self._fd)


@contextlib.contextmanager
def opened(
    uri: str,
    session: Session,
    watchdog: Watchdog,
    validators: Validators = Validators(),
    *,
    rest: Rest = WHOLE,
    size: t.Optional[int] = None,
) -> t.Iterator[Source]:
    """Open `uri` under the session's policy; the block reads the source.

    The answer is a whole file (HTTP status 200, a local file), if `validators` asked for it ``unchanged``, or the
    `rest` (status 206) of a file of `size` octets. A server that will not send just that rest sends the whole.
    Raises `TransferError` for any other answer.
    """
    source: t.Union[_WebSource, _FileSource]
    if check_uri(uri, allow_file=session.policy.allows_file(uri)) == "file":
        source = _FileSource(uri, validators, rest)
    else:
        source = _asked(uri, session, watchdog, validators, rest, size)
    try:
        yield source
    finally:
        source.close()


def _asked(
    uri: str, session: Session, watchdog: Watchdog, validators: Validators, rest: Rest, size: t.Optional[int]
) -> _WebSource:
    if rest.offset:
        response, final = session.open(uri, rest.headers(), watchdog)
        if response.status == 206 and _is_rest(response.headers, rest.offset, size):
            return _WebSource(response, final, validators, watchdog, rest.offset)
        if response.status not in _NO_RANGES:
            return _whole(response, final, validators, watchdog)
        response.close()
    return _whole(*session.open(uri, validators.headers(), watchdog), validators, watchdog)


def _whole(response: BaseHTTPResponse, final: str, validators: Validators, watchdog: Watchdog) -> _WebSource:
    try:
        _check_status(response, final, conditional=bool(validators.headers()))
        return _WebSource(response, final, validators, watchdog)
    except BaseException:
        response.close()
        raise


def _is_rest(headers: t.Mapping[str, str], offset: int, size: t.Optional[int]) -> bool:
    """Whether an answer with status 206 holds a file of this size from `offset` to its end."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if match is None or size is None:
        return False
    first, last, total = int(match[1]), int(match[2]), match[3]
    promised = _content_length(headers)
    return first == offset and last == size - 1 and total in ("*", str(size)) and promised in (None, last - first + 1)


class Reader:
    """Reads a source buffer by buffer; an error comes after the octets that came before it."""

    def __init__(self, source: Source, watchdog: Watchdog) -> None:
        self._source = source
        self._watchdog = watchdog
        self._failure: t.Optional[TransferError] = None

    def fill(self, view: memoryview) -> int:
        """Read until `view` is full, the source ends or a second has passed; return the number of octets."""
        if self._failure is not None:
            raise self._failure
        until = time.monotonic() + _FLUSH_SECONDS
        filled = 0
        try:
            while filled < len(view):
                self._watchdog.check()
                count = self._source.readinto(view[filled:])
                filled += count
                self._watchdog.received += count
                if count == 0 or time.monotonic() > until:
                    break
        except TransferError as error:
            if not filled:
                raise
            self._failure = error
        return filled


def require_promised(source: Source, done: int, limit: int) -> None:
    """Refuse (``unreachable``) an end after `done` octets if the source promised more, up to the `limit` taken."""
    if source.length is not None and done < min(source.length, limit):
        raise TransferError(
            "unreachable", f"The connection for {source.uri} broke after {done} of {source.length} octets"
        )


def _check_status(response: BaseHTTPResponse, uri: str, *, conditional: bool) -> None:
    status = response.status
    if status == 200 or (status == 304 and conditional):
        return
    if status in (404, 410):
        raise TransferError("not_found", f"The server has no {shown(uri)} (status {status})", status=status)
    if status in (401, 403, 407):
        who = "proxy" if status == 407 else "server"
        raise TransferError("access_denied", f"The {who} refuses {shown(uri)} (status {status})", status=status)
    patience = response.headers.get("Retry-After", "")
    asked = {"retry_after": int(patience)} if patience.isascii() and patience.isdigit() and len(patience) < 6 else {}
    raise TransferError("http_status", f"The server answers status {status} for {shown(uri)}", status=status, **asked)


def _content_length(headers: t.Mapping[str, str]) -> t.Optional[int]:
    text = headers.get("Content-Length", "")
    if "Transfer-Encoding" in headers or not (text.isascii() and text.isdigit()) or len(text) > 18:
        return None
    return int(text)


def _header(value: t.Optional[str]) -> t.Optional[str]:
    """Return a header value that may be kept and sent back, or None if it is absent or odd."""
    if not value or len(value) > _VALIDATOR_LENGTH or not (value.isascii() and value.isprintable()):
        return None
    return value
