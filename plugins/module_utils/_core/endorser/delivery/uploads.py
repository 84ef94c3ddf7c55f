# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be written where, so that the addresses in a list lead to the files that it names."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ...imagelist.model import CHECKSUM
from ...transfer.checksum import Digest
from ...transfer.upload.base import Payload
from ...transfer.upload.rules import UploadRule
from ..declared.options import invalid
from ..files import in_parallel
from .places import OTHER, Place, Places, find_place


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


def plan_images(
    images: t.Iterable[t.Mapping[str, t.Any]],
    sources: t.Mapping[str, Path],
    rules: t.Sequence[UploadRule],
    list_place: Place,
    places: Places,
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
        if not places.uploader(place).takes_images:
            raise invalid("uploads", f"{place.rule.method} takes lists only: give {image['hv:uri']} a rule before it")
        digest = Digest(size=int(image["hv:size"]), sha512=image[f"{CHECKSUM}sha512"].lower())
        if taken.setdefault(place.target, digest.sha512) != digest.sha512:
            raise invalid("uploads", f"{place.target} is where {image['hv:uri']} and another file would go")
        found = places.lacks(place, digest)
        if found is not None and all(upload.place.target != place.target for upload in uploads):
            describes = {"what": "image", "identifier": identifier, "version": image["hv:version"]}
            uploads.append(Upload(place, source, digest, found, describes))
    return uploads


def plan_message(
    place: Place,
    message: bytes,
    published: t.Optional[bytes],
    describes: t.Mapping[str, t.Any],
    places: Places,
) -> list[Upload]:
    """The upload of the message, unless it is in its place: at most one. Raises TransferError."""
    if published == message:
        return []
    digest = Digest(size=len(message), sha512=hashlib.sha512(message).hexdigest())
    found = OTHER if published is not None else places.lacks(place, digest)
    return [] if found is None else [Upload(place, message, digest, found, {"what": "list", **describes})]


def carry_out(uploads: t.Sequence[Upload], places: Places) -> None:
    """Write the files, several side by side, each atomically. Raises TransferError."""
    in_parallel(lambda upload: places.put(upload.place, upload.payload, upload.digest), uploads)
