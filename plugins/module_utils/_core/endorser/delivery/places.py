# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The places that are published into, and what is known of them, so that nothing is sent or read back twice.

What a place of this machine holds is told by its file (`files.FileBook`). Of a far one it is remembered what we put
there, with the tag that the far end gave it; where that is not known, the file is read back once. The memory,
``places.json``, is derived data.
"""

from __future__ import annotations

import json
import threading
import typing as t
from dataclasses import asdict, dataclass
from pathlib import Path

from ...transfer.atomic import write_atomic
from ...transfer.checksum import Digest
from ...transfer.upload.base import Payload, Uploader
from ...transfer.upload.rules import UploadRule, target_for, uploader_for
from ...trust.message.limits import MAX_MESSAGE
from ..files import FileBook

ABSENT: t.Final = "absent"
OTHER: t.Final = "other content"


@dataclass(frozen=True)
class Place:
    """Where an address leads to on the writing side."""

    uri: str
    rule: UploadRule
    target: str


@dataclass(frozen=True)
class _Known:
    """What we know to be at a place; `tag` is the far end's, which changes with the content."""

    size: int
    sha512: str
    tag: str


class Places:
    """The places of one list; `files` knows the local files. Used by several threads."""

    def __init__(self, path: Path, files: FileBook) -> None:
        self.files = files
        self._path = path
        self._known = _load(path)
        self._changed = False
        self._lock = threading.Lock()
        self._uploaders: dict[UploadRule, Uploader] = {}

    def uploader(self, place: Place) -> Uploader:
        """The back-end of a place, one for all places of its rule."""
        with self._lock:
            if place.rule not in self._uploaders:
                self._uploaders[place.rule] = uploader_for(place.rule)
            return self._uploaders[place.rule]

    def message(self, place: Place) -> t.Optional[bytes]:
        """The message that is published there, cut at the cap; None where there is none, or it cannot be read back."""
        return self.uploader(place).read(place.target, MAX_MESSAGE + 1)

    def lacks(self, place: Place, digest: Digest) -> t.Optional[str]:
        """What is there in place of the content: ``absent`` or ``other content``; None where it is there."""
        uploader, known = self.uploader(place), self._known.get(_key(place))
        if not uploader.readable:
            if known is None:
                return ABSENT
            return None if known.sha512 == digest.sha512 else OTHER
        stored = uploader.stat(place.target)
        if stored is None:
            return ABSENT
        if stored.size != digest.size:
            return OTHER
        if place.rule.method == "local":
            return None if self.files.digest(Path(place.target)) == digest else OTHER
        if known is None or (known.size, known.tag) != (stored.size, stored.tag):
            known = self._remember(place, uploader.digest(place.target), stored.tag)
        return None if known.sha512 == digest.sha512 else OTHER

    def put(self, place: Place, payload: Payload, digest: Digest) -> None:
        """Make the place hold this content, and remember it. Raises TransferError."""
        uploader = self.uploader(place)
        uploader.sweep(place.target)
        uploader.put(payload, place.target, size=digest.size, sha512=digest.sha512)
        if place.rule.method == "local":
            if not isinstance(payload, bytes):
                self.files.remember(Path(place.target), digest)
            return
        stored = uploader.stat(place.target)
        self._remember(place, digest, stored.tag if stored else "")

    def save(self) -> None:
        """Keep what is known. Raises TransferError."""
        self.files.save()
        if self._changed:
            known = {key: asdict(entry) for key, entry in self._known.items()}
            write_atomic(self._path, json.dumps(known, indent=1, sort_keys=True).encode(), 0o600)
            self._changed = False

    def _remember(self, place: Place, digest: Digest, tag: str) -> _Known:
        known = _Known(digest.size, digest.sha512, tag)
        with self._lock:
            self._known[_key(place)] = known
            self._changed = True
        return known


def find_place(uri: str, rules: t.Sequence[UploadRule]) -> Place:
    """The place by the first rule that matches. Raises TransferError (``no_upload_rule``, ``upload_failed``)."""
    return Place(uri, *target_for(uri, rules))


def _key(place: Place) -> str:
    return f"{place.rule.method} {place.rule.settings.endpoint or ''} {place.target}"


def _load(path: Path) -> dict[str, _Known]:
    try:
        return {key: _Known(**entry) for key, entry in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
