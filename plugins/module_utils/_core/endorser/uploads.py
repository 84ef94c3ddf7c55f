# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be written where, so that the addresses in a list lead to the files that it names."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..errors import TransferError
from ..imagelist.model import CHECKSUM
from ..transfer.atomic import storage_errors
from ..transfer.checksum import Digest
from ..transfer.upload.base import Payload
from ..transfer.upload.rules import UploadRule, target_for, uploader_for
from ..trust.smime import MAX_MESSAGE
from .files import FileBook, in_parallel
from .spec import invalid


@dataclass(frozen=True)
class Place:
    """Where an address leads to on the writing side."""

    uri: str
    method: str
    target: str


@dataclass(frozen=True)
class Upload:
    """A file that has to be written, and what its place holds now: ``absent`` or ``other content``."""

    place: Place
    payload: Payload
    digest: Digest
    found: str
    describes: t.Mapping[str, t.Any]

    def action(self) -> dict[str, t.Any]:
        """For `Outcome.actions`."""
        action = {"action": "upload", **self.describes, "uri": self.place.uri, "target": self.place.target}
        # A message's size is that of its signature too: no plan could foretell it.
        return action if isinstance(self.payload, bytes) else {**action, "size": self.digest.size}


def find_place(uri: str, rules: t.Sequence[UploadRule]) -> Place:
    """The place by the first rule that matches. Raises TransferError (``no_upload_rule``, ``upload_failed``)."""
    return Place(uri, *target_for(uri, rules))


def read_message_at(place: Place) -> t.Optional[bytes]:
    """The message that is published at the moment, None when there is none; cut above the cap.

    Raises TransferError ``not_readable``.
    """
    try:
        with storage_errors(place.target, reading=True), Path(place.target).open("rb") as stream:
            return stream.read(MAX_MESSAGE + 1)
    except TransferError as refusal:
        if refusal.code == "not_found":
            return None
        raise


def plan_images(
    images: t.Iterable[t.Mapping[str, t.Any]],
    sources: t.Mapping[str, Path],
    rules: t.Sequence[UploadRule],
    list_place: Place,
    book: FileBook,
) -> list[Upload]:
    """The uploads of the images that have a local source and are not in their place yet.

    Raises PublishError ``publish_invalid`` when two files would go to one place; TransferError.
    """
    uploads: list[Upload] = []
    taken = {list_place.target: "the list"}
    for image in images:
        identifier = image["dc:identifier"].lower()
        if identifier not in sources:
            continue
        source, place = sources[identifier], find_place(image["hv:uri"], rules)
        digest = Digest(size=int(image["hv:size"]), sha512=image[f"{CHECKSUM}sha512"].lower())
        if taken.setdefault(place.target, digest.sha512) != digest.sha512:
            raise invalid("uploads", f"{place.target} is where {image['hv:uri']} and another file would go")
        found = _found(place, digest, book)
        if found is not None and all(upload.place.target != place.target for upload in uploads):
            describes = {"what": "image", "identifier": identifier, "version": image["hv:version"]}
            uploads.append(Upload(place, source, digest, found, describes))
    return uploads


def plan_message(
    place: Place, message: bytes, published: t.Optional[bytes], describes: t.Mapping[str, t.Any]
) -> list[Upload]:
    """The upload of the message, unless it is in its place: at most one."""
    if published == message:
        return []
    digest = Digest(size=len(message), sha512=hashlib.sha512(message).hexdigest())
    found = "absent" if published is None else "other content"
    return [Upload(place, message, digest, found, {"what": "list", **describes})]


def carry_out(uploads: t.Sequence[Upload], book: FileBook) -> None:
    """Write the files, several side by side, each atomically. Raises TransferError."""
    in_parallel(lambda upload: _put(upload, book), uploads)


def _put(upload: Upload, book: FileBook) -> None:
    _sweep(upload.place)
    uploader = uploader_for(upload.place.method, create_directories=True)
    uploader.put(upload.payload, upload.place.target, size=upload.digest.size, sha512=upload.digest.sha512)
    if upload.describes["what"] == "image":
        book.remember(Path(upload.place.target), upload.digest)


def _sweep(place: Place) -> None:
    """Remove what a killed writer of the same file has left: an image's part may be as large as the image."""
    target = Path(place.target)
    for leftover in target.parent.glob(f".{glob.escape(target.name[:128])}.{'[0-9a-f]' * 16}.part"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def _found(place: Place, digest: Digest, book: FileBook) -> t.Optional[str]:
    stored = uploader_for(place.method).stat(place.target)
    if stored is None:
        return "absent"
    if stored.size == digest.size and book.digest(Path(place.target)) == digest:
        return None
    return "other content"
