# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The strict reader: a list is read whole, or refused whole with the path of the field that is wrong.

An image that cannot be read is never dropped: at the sites that would look like its withdrawal.
"""

from __future__ import annotations

import re
import typing as t

from . import fields
from .model import CHECKSUM, IMAGE, IMAGES, WRAPPER, Image, ImageList
from .strict_json import MAX_DIGITS

#: Hex digits of the checksums that can be checked; others are carried as they are.
CHECKSUM_DIGITS: t.Final[t.Mapping[str, int]] = {
    "md5": 32,
    "sha1": 40,
    "sha224": 56,
    "sha256": 64,
    "sha384": 96,
    "sha512": 128,
}

_HEX: t.Final = re.compile(r"[0-9a-f]+")
_DIGITS: t.Final = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}")


def read_list(octets: bytes) -> ImageList:
    """Read the content of a message (or a plain list): wrapped in ``hv:imagelist``, or the bare 2011 form.

    Raises TrustError: ``too_large``, ``json_invalid``, ``list_malformed`` (`context` has the ``field``).
    """
    document = fields.read_document(octets)
    if WRAPPER not in document:
        return _list(document, {})
    beside = {key: value for key, value in document.items() if key != WRAPPER}
    return _list(fields.object_at(document, WRAPPER, ""), beside)


def _list(raw: fields.Object, beside: fields.Object) -> ImageList:
    return ImageList(**fields.common(raw), images=_images(raw), beside=beside)


def _images(raw: fields.Object) -> tuple[Image, ...]:
    images: list[Image] = []
    seen: dict[str, int] = {}
    for index, item in enumerate(fields.array(raw.get(IMAGES, []), IMAGES)):
        path = f"{IMAGES}[{index}]"
        image = _image(fields.object_at(fields.mapping(item, path), IMAGE, path), path)
        first = seen.setdefault(image.identifier, index)
        if first != index:
            raise fields.malformed(f"{path}.dc:identifier", f"is that of {IMAGES}[{first}] again")
        images.append(image)
    return tuple(images)


def _image(raw: fields.Object, path: str) -> Image:
    checksums = _checksums(raw, path)
    return Image(
        identifier=fields.uuid_at(raw, path),
        version=fields.version_at(raw, path, required=False),
        uri=fields.filled_at(raw, "hv:uri", path),
        size=_size(raw, path),
        sha512=checksums.pop("sha512"),
        title=fields.text_at(raw, "dc:title", path),
        description=fields.text_at(raw, "dc:description", path),
        arch=fields.text_at(raw, "sl:arch", path),
        os=fields.text_at(raw, "sl:os", path),
        osversion=fields.text_at(raw, "sl:osversion", path),
        comments=fields.text_at(raw, "sl:comments", path),
        hypervisor=fields.text_at(raw, "hv:hypervisor", path),
        format=fields.text_at(raw, "hv:format", path) or None,
        expires=fields.time_at(raw, "dc:date:expires", path) if "dc:date:expires" in raw else None,
        raw=raw,
        checksums=checksums,
    )


def _checksums(raw: fields.Object, path: str) -> dict[str, str]:
    fields.filled_at(raw, f"{CHECKSUM}sha512", path)
    found: dict[str, str] = {}
    for key in raw:
        if not key.startswith(CHECKSUM):
            continue
        name, digest = key[len(CHECKSUM) :], fields.text_at(raw, key, path)
        digits = CHECKSUM_DIGITS.get(name)
        if digits is not None and digest:
            digest = digest.lower() if digest.isascii() else digest
            if len(digest) != digits or not _HEX.fullmatch(digest):
                raise fields.malformed(fields.join(path, key), f"is not {digits} hex digits")
        if digest:
            found[name] = digest
    return found


def _size(raw: fields.Object, path: str) -> int:
    value = fields.present(raw, "hv:size", path)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise fields.malformed(fields.join(path, "hv:size"), "is not a positive number of octets")
    return value
