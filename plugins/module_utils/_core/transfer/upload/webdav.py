# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish by HTTPS into nginx, dCache, StoRM: ``PUT`` under a hidden name, then WebDAV's ``MOVE`` (RFC 4918).

A server that knows no ``MOVE`` gets one ``PUT`` at the target itself, in which case it is the server that must replace
a file in one step; most do, for they write into a file of their own first. HTTP cannot continue an upload.
"""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import typing as t
import urllib.parse

from ...errors import TransferError
from ..checksum import Digest
from ..policy import shown
from .base import Announced, Payload, Settings, Stored, check_digest, check_stored, opened, part_name, shown_payload
from .https import Door, beginning, pieces

if t.TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

#: A directory is missing: 409 by RFC 4918, 500 by nginx, and 404 by others.
_NO_PARENT: t.Final = frozenset({404, 409, 500})
_NO_MOVE: t.Final = frozenset({400, 403, 405, 501})
_ABSENT: t.Final = frozenset({404, 410})


class WebdavUploader:
    """An `Uploader` whose targets are https addresses (http where nothing secret is sent)."""

    readable: t.Final = True
    takes_images: t.Final = True

    def __init__(self, settings: Settings) -> None:
        self._door = Door(settings)
        self._verify = settings.verify

    def put(self, payload: Payload, target: str, *, size: int, sha512: str) -> None:
        part = _part(target, sha512)
        try:
            self._send(payload, part, size=size, sha512=sha512)
            check_stored(self.stat(part), part, size)
            if self._verify == "sha512":
                check_digest(self.digest(part), target, size=size, sha512=sha512)
            moved = self._move(part, target)
            if not moved:
                self._send(payload, target, size=size, sha512=sha512)
        except BaseException:
            with contextlib.suppress(TransferError):
                self._delete(part)
            raise
        if not moved:
            self._delete(part)
        check_stored(self.stat(target), target, size)
        if not moved and self._verify == "sha512":
            check_digest(self.digest(target), target, size=size, sha512=sha512)

    def stat(self, target: str) -> t.Optional[Stored]:
        with self._door.request("HEAD", _checked(target)) as answer:
            if answer.status in _ABSENT:
                return None
            _expect(answer, target, "HEAD")
            length = answer.headers.get("Content-Length", "")
            if not length.isdigit():
                raise TransferError("upload_failed", f"The server does not tell the size of {shown(target)}")
            return Stored(int(length), answer.headers.get("ETag", ""))

    def read(self, target: str, limit: int) -> t.Optional[bytes]:
        with self._door.request("GET", _checked(target)) as answer:
            if answer.status in _ABSENT:
                return None
            _expect(answer, target, "GET")
            return beginning(answer, limit)

    def digest(self, target: str) -> Digest:
        stored = self.stat(target)
        with self._door.request("GET", _checked(target)) as answer:
            _expect(answer, target, "GET")
            state, size = hashlib.sha512(), 0
            for piece in pieces(answer):
                state.update(piece)
                size += len(piece)
                if stored is not None and size > stored.size:
                    break  # without a length an answer need not end
            return Digest(size, state.hexdigest())

    def sweep(self, target: str) -> None:
        """Nothing: the part of a content is replaced by the next upload of that content."""

    def _send(self, payload: Payload, target: str, *, size: int, sha512: str) -> None:
        for with_parents in (False, True):
            if with_parents:
                self._make_parents(target)
            with opened(payload) as source:
                body = Announced(source, shown_payload(payload), size=size, sha512=sha512)
                with self._door.request("PUT", _checked(target), body=body) as answer:
                    if answer.status in _NO_PARENT and not with_parents:
                        continue
                    _expect(answer, target, "PUT")
                    return

    def _make_parents(self, target: str) -> None:
        parts = urllib.parse.urlsplit(target)
        path = ""
        for step in parts.path.split("/")[1:-1]:
            path += f"/{step}"
            # What is there already is refused (405), and what cannot be made shows when the file is put.
            with self._door.request("MKCOL", parts._replace(path=f"{path}/").geturl()):
                pass

    def _move(self, part: str, target: str) -> bool:
        headers = {"Destination": target, "Overwrite": "T"}
        with self._door.request("MOVE", part, headers=headers) as answer:
            if answer.status in _NO_MOVE:
                return False
            _expect(answer, target, "MOVE")
            return True

    def _delete(self, target: str) -> None:
        with self._door.request("DELETE", target):
            pass


def _checked(target: str) -> str:
    try:
        path = urllib.parse.unquote(urllib.parse.urlsplit(target).path)
    except ValueError:
        path = ""
    if not path or path.endswith("/") or ".." in path.split("/"):
        raise TransferError("upload_failed", f"The upload target {shown(target)} does not name a file")
    return target


def _part(target: str, sha512: str) -> str:
    parts = urllib.parse.urlsplit(_checked(target))
    folder, name = posixpath.split(parts.path)
    part = urllib.parse.quote(part_name(urllib.parse.unquote(name), sha512))
    return parts._replace(path=posixpath.join(folder, part), query="", fragment="").geturl()


def _expect(answer: BaseHTTPResponse, target: str, verb: str) -> None:
    if answer.status in (401, 403):
        raise TransferError("login_refused", f"The server refuses {verb} of {shown(target)} ({answer.status})")
    if answer.status == 507:
        raise TransferError("disk_full", f"The server has no room for {shown(target)}")
    # 207 tells what of it was not done (RFC 4918, section 9.9.4).
    if not 200 <= answer.status < 300 or answer.status == 207:
        raise TransferError("upload_failed", f"The server answers {verb} of {shown(target)} with {answer.status}")
