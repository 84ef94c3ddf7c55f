# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images of a list, from what is declared and what is published: pure functions."""

from __future__ import annotations

import typing as t

from ...errors import PublishError
from ...imagelist import versions
from ...imagelist.difference import images_by_identifier
from ...imagelist.model import CHECKSUM, IMAGE, IMAGES, Image, ImageList
from ..declared.images import FORMAT, IMAGE_TEXTS, ImageSpec, expand_uri
from ..declared.options import invalid
from ..declared.spec import PublishSpec
from ..history import KnownImage

if t.TYPE_CHECKING:
    from ...imagelist.model import SignedList
    from ...transfer.checksum import Digest

_SHA512: t.Final = f"{CHECKSUM}sha512"
_IMAGE_DEFAULTS: t.Final[t.Mapping[str, str]] = {
    **dict.fromkeys(IMAGE_TEXTS.values(), ""),
    "sl:arch": "x86_64",
    "sl:os": "Linux",
    "hv:hypervisor": "kvm",
}


def compose(
    spec: PublishSpec,
    merged: t.Optional[SignedList],
    digests: t.Mapping[str, Digest],
    known: t.Mapping[str, KnownImage],
) -> dict[str, t.Any]:
    """``hv:images``. Raises PublishError: ``publish_invalid``, ``version_not_raised``."""
    published = {image.identifier: image for image in merged.images} if isinstance(merged, ImageList) else {}
    images: dict[str, t.Mapping[str, t.Any]] = {name: image.raw for name, image in published.items()}
    for image in spec.images:
        name = image.identifier
        if image.absent:
            images.pop(name, None)
            continue
        images[name] = _image(image, published.get(name), digests.get(name), known.get(name))
    _check_addresses(spec, images)
    return {IMAGES: [{IMAGE: dict(image)} for image in images.values()]}


def known_images(raw: t.Mapping[str, t.Any]) -> dict[str, KnownImage]:
    """What the history keeps of the images of a list object that we compose."""
    return {
        identifier: KnownImage(image.get("hv:version", ""), image[_SHA512].lower(), image.get(FORMAT, ""))
        for identifier, image in images_by_identifier(raw).items()
    }


def tell(raw: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """The images for results."""
    return [_told(item[IMAGE]) for item in raw.get(IMAGES, ())]


def _image(
    spec: ImageSpec,
    published: t.Optional[Image],
    digest: t.Optional[Digest],
    known: t.Optional[KnownImage],
) -> dict[str, t.Any]:
    size, sha512 = _octets(spec, published, digest)
    kept = {} if published is None else dict(published.raw)
    if published is not None and published.sha512 != sha512:
        # Other checksums belong to the octets that they were stated for.
        kept = {key: value for key, value in kept.items() if not key.startswith(CHECKSUM)}
    raw = {**({} if spec.relayed else _IMAGE_DEFAULTS), **kept, **spec.keys}
    version = _version(spec, sha512, raw.get(FORMAT) or "", known)
    uri = spec.uri if spec.uri is not None else published.uri if published is not None else None
    if uri is None:
        raise invalid(f"{spec.option}.uri", "this is missing")
    raw.update(
        {
            "dc:identifier": spec.identifier,
            "hv:version": version,
            "hv:size": size,
            _SHA512: sha512,
            "hv:uri": expand_uri(uri, {"identifier": spec.identifier, "version": version, "sha512": sha512}),
        }
    )
    return {key: value for key, value in raw.items() if value is not None}


def _octets(spec: ImageSpec, published: t.Optional[Image], digest: t.Optional[Digest]) -> tuple[int, str]:
    if digest is not None:
        if not digest.size:
            raise invalid(f"{spec.option}.path", f"{spec.path} is empty")
        if spec.size not in (None, digest.size):
            raise invalid(f"{spec.option}.size", f"{spec.path} has {digest.size} octets, not {spec.size}")
        if spec.sha512 not in (None, digest.sha512):
            raise invalid(f"{spec.option}.sha512", f"{spec.path} has another digest ({digest.sha512})")
        return digest.size, digest.sha512
    if spec.size is not None and spec.sha512 is not None:
        return spec.size, spec.sha512
    if published is not None and spec.size is None and spec.sha512 is None:
        return published.size, published.sha512
    missing = "sha512" if spec.sha512 is None else "size"
    raise invalid(f"{spec.option}.{missing}", "this is missing; give path, or size and sha512")


def _version(spec: ImageSpec, sha512: str, format_: str, known: t.Optional[KnownImage]) -> str:
    if spec.relayed:
        return spec.version or ""
    if known is None or not known.version:
        return spec.version or "1"
    changed = (sha512, format_) != (known.sha512, known.format)
    if spec.version is None:
        return versions.next_version(known.version) if changed else known.version
    order = versions.compare(spec.version, known.version)
    if order < 0 or (order == 0 and changed):
        why = "the image has changed" if order == 0 else "a version never goes back"
        raise PublishError(
            "version_not_raised",
            f"{spec.option}.version: {known.version} is published, and {spec.version} is not higher ({why}).",
            option=f"{spec.option}.version",
            published=known.version,
        )
    return spec.version


def _check_addresses(spec: PublishSpec, images: t.Mapping[str, t.Mapping[str, t.Any]]) -> None:
    """One address holds one file: the list, or the octets of one digest."""
    options = {image.identifier: image.option for image in spec.images}
    held: dict[str, str] = {spec.uri: "the list"}
    for name, image in images.items():
        holder = held.setdefault(image["hv:uri"], image[_SHA512].lower())
        if holder != image[_SHA512].lower():
            other = "the list's" if holder == "the list" else "that of another image with other content"
            raise invalid(f"{options.get(name, f'image {name}')}.uri", f"{image['hv:uri']} is {other} already")


def _told(raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    return {
        "identifier": raw["dc:identifier"].lower(),
        "title": raw.get("dc:title", ""),
        "version": raw.get("hv:version", ""),
        "uri": raw["hv:uri"],
        "size": int(raw["hv:size"]),
        "sha512": raw[_SHA512].lower(),
    }
