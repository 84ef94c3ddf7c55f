# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Submit a signed list to the EGI AppDB, by the interface that vmcaster used (its method ``egiappdb``).

A form field ``data`` holds an XML document with the message in base64 and the actions ``insert`` and ``enable``; the
answer is JSON with ``egiappdb.status``. With a client certificate the address ends in ``x509/``, with a user and a
password in ``sso/``. The AppDB takes lists only, and cannot be asked what it holds.
"""

from __future__ import annotations

import base64
import json
import re
import typing as t
import urllib.parse
from xml.sax.saxutils import escape

from ...errors import TransferError
from ..checksum import Digest
from ..policy import shown
from .base import Announced, Payload, Settings, Stored, opened, shown_payload
from .https import Door, beginning

_TARGET: t.Final = re.compile(r"egiappdb://(?:(?P<user>[^@/:\s]+)@)?(?P<host>[^@/\s]+)(?P<path>/\S*)")
_ENDING: t.Final = re.compile(r"/+(?:sso|x509)?/*\Z")
_ACTIONS: t.Final = ("insert", "enable")
_ANSWER: t.Final = 1024 * 1024


class AppdbUploader:
    """An `Uploader` whose targets are ``egiappdb://user@host/path``."""

    readable: t.Final = False
    takes_images: t.Final = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._door = Door(settings)

    def put(self, payload: Payload, target: str, *, size: int, sha512: str) -> None:
        uri, user = self._address(target)
        with opened(payload) as source:
            message = b"".join(iter(Announced(source, shown_payload(payload), size=size, sha512=sha512).read, b""))
        form = urllib.parse.urlencode({"data": _document(message, user)}).encode()
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        with self._door.request("POST", uri, body=form, headers=headers) as answer:
            if answer.status in (401, 403):
                raise TransferError("login_refused", f"The AppDB at {shown(uri)} refuses us ({answer.status})")
            if answer.status != 200:
                raise TransferError("upload_failed", f"The AppDB at {shown(uri)} answers with {answer.status}")
            _require_success(beginning(answer, _ANSWER), uri)

    def stat(self, target: str) -> t.Optional[Stored]:
        self._address(target)
        return None

    def read(self, target: str, limit: int) -> t.Optional[bytes]:
        self._address(target)
        return None

    def digest(self, target: str) -> Digest:
        raise TransferError("upload_failed", f"The AppDB does not tell what {target} holds")

    def sweep(self, target: str) -> None:
        """Nothing: a submission is one request."""

    def _address(self, target: str) -> tuple[str, str]:
        found = _TARGET.fullmatch(target)
        if found is None:
            detail = f"The upload target {target!r} is not egiappdb://user@host/path"
            raise TransferError("upload_failed", detail, path=target)
        by_certificate = bool(self._settings.client_certificate)
        base = _ENDING.sub("", found.group("path"))
        uri = f"https://{found.group('host')}{base}/{'x509' if by_certificate else 'sso'}/"
        return uri, "x509" if by_certificate else found.group("user") or ""


def _document(message: bytes, user: str) -> str:
    actions = "".join(f"<action>{action}</action>" for action in _ACTIONS)
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        f"<appdbvmc>{actions}<entity>imagelist</entity><response>json</response><user>{escape(user)}</user>"
        f"<imagelist>{base64.b64encode(message).decode()}</imagelist></appdbvmc>"
    )


def _require_success(octets: bytes, uri: str) -> None:
    try:
        answer = json.loads(octets)["egiappdb"]
        status, details = str(answer["status"]), str(answer.get("details", ""))
    except (ValueError, TypeError, KeyError) as error:
        raise TransferError("upload_failed", f"The AppDB at {shown(uri)} gives no answer of its protocol") from error
    if status != "success":
        raise TransferError("upload_failed", f"The AppDB at {shown(uri)} refuses the list: {status} {details}".strip())
