# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that an endorser declares."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ...imagelist.fields import read_time
from ...imagelist.model import CHECKSUM
from ...times import to_text
from .metadata import read_metadata
from .options import Options, check_uri, invalid, optional_path, text_in, texts_in, uuid_in, version_in

#: option -> key of an image.
IMAGE_TEXTS: t.Final[t.Mapping[str, str]] = {
    "title": "dc:title",
    "description": "dc:description",
    "arch": "sl:arch",
    "os": "sl:os",
    "osversion": "sl:osversion",
    "hypervisor": "hv:hypervisor",
    "comments": "sl:comments",
}
FORMAT: t.Final = "hv:format"
EXPIRES: t.Final = "dc:date:expires"

#: What an endorser can show for an image.
EVIDENCE: t.Final = ("audit_report", "package_manifest")

_IMAGE_KEYS: t.Final = frozenset(
    {*IMAGE_TEXTS.values(), FORMAT, EXPIRES, "dc:identifier", "hv:version", "hv:uri", "hv:size", f"{CHECKSUM}sha512"}
)
_PLACEHOLDER: t.Final = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDERS: t.Final = frozenset({"identifier", "version", "sha512"})
_SHA512: t.Final = re.compile(r"[0-9a-f]{128}")
_FORMAT: t.Final = re.compile(r"(raw|qcow2|vmdk|vdi|ova|vhd|vpc|tar)(\.(gz|bz2|xz|zst))?", re.IGNORECASE)
_LARGEST: t.Final = 10**18 - 1


@dataclass(frozen=True)
class ImageSpec:
    """One declared image. `option` is its path among the options; what was not given is None or absent in `keys`.

    `keys` are list keys from the options and from `metadata`; None as a value removes the key. With `relayed`, the
    image is somebody else's, whose version of it is stated as it is, even when it has gone back. With `absent` the
    image is taken out of the list, for `removal_reason`. `evidence`: kind -> file, see `endorser.evidence`.
    """

    option: str
    identifier: str
    path: t.Optional[Path] = None
    uri: t.Optional[str] = None
    size: t.Optional[int] = None
    sha512: t.Optional[str] = None
    version: t.Optional[str] = None
    keys: t.Mapping[str, t.Any] = field(default_factory=dict)
    relayed: bool = False
    absent: bool = False
    removal_reason: str = ""
    evidence: t.Mapping[str, Path] = field(default_factory=dict)


def expand_uri(template: str, values: t.Mapping[str, str]) -> str:
    """The address with its placeholders ``{identifier}``, ``{version}`` and ``{sha512}`` filled in."""
    return _PLACEHOLDER.sub(lambda found: values[found.group(1)], template)


def read_images(options: Options, *, merge: bool) -> tuple[ImageSpec, ...]:
    """The option ``images``; with `merge` what is left out stays as it is published."""
    if options.get("images") is None and not merge:
        raise invalid("images", "name the list's images, or [] for a list without any, or set purge_images to false")
    images: list[ImageSpec] = []
    seen: dict[str, str] = {}
    for index, item in enumerate(options.get("images") or ()):
        image = _image(item, f"images[{index}]")
        first = seen.setdefault(image.identifier, image.option)
        if first != image.option:
            raise invalid(f"{image.option}.identifier", f"{image.identifier} is that of {first} already")
        if not (merge or image.absent):
            _check_complete(image)
        images.append(image)
    return tuple(images)


def _check_complete(image: ImageSpec) -> None:
    """What only a published image may leave out; said before any octet is read."""
    if image.uri is None:
        raise invalid(f"{image.option}.uri", "this is missing")
    if image.path is None and (image.size is None or image.sha512 is None):
        missing = "sha512" if image.sha512 is None else "size"
        raise invalid(f"{image.option}.{missing}", "this is missing; give path, or size and sha512")


def _image(options: Options, option: str) -> ImageSpec:
    uri = text_in(options, "uri", option)
    if uri is not None:
        for name in _PLACEHOLDER.findall(uri):
            if name not in _PLACEHOLDERS:
                raise invalid(f"{option}.uri", f"the placeholder {{{name}}} is unknown")
        check_uri(_PLACEHOLDER.sub("x", uri), f"{option}.uri")
    keys = texts_in(options, IMAGE_TEXTS, option)
    absent, reason = options.get("state") == "absent", text_in(options, "removal_reason", option) or ""
    if reason and not absent:
        raise invalid(f"{option}.removal_reason", "the image stays; set its state to absent to remove it")
    return ImageSpec(
        option=option,
        identifier=uuid_in(options, option),
        path=optional_path(options, "path"),
        uri=uri,
        size=_size(options, option),
        sha512=_sha512(options, option),
        version=version_in(options, option),
        keys={
            **keys,
            **_format(options, option),
            **_expires(options, option),
            **read_metadata(options.get("metadata"), f"{option}.metadata", _IMAGE_KEYS),
        },
        absent=absent,
        removal_reason=reason,
        evidence={kind: Path(options[kind]) for kind in EVIDENCE if options.get(kind)},
    )


def _format(options: Options, option: str) -> dict[str, t.Optional[str]]:
    text = text_in(options, "format", option)
    if text is None:
        return {}
    if text and not _FORMAT.fullmatch(text):
        known = "raw, qcow2, vmdk, vdi, ova, vhd, vpc or tar, with .gz, .bz2, .xz or .zst where compressed"
        raise invalid(f"{option}.format", f"{text!a} is not {known}")
    return {FORMAT: text or None}


def _expires(options: Options, option: str) -> dict[str, t.Optional[str]]:
    text = text_in(options, "expires", option)
    if text is None:
        return {}
    moment = read_time(text)
    if text and moment is None:
        raise invalid(f"{option}.expires", f"{text!a} is not a time as 2027-01-31T00:00:00Z")
    return {EXPIRES: to_text(moment) if moment else None}


def _size(options: Options, option: str) -> t.Optional[int]:
    size = options.get("size")
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 < size <= _LARGEST:
        raise invalid(f"{option}.size", f"{str(size)[:40]!a} is not a positive number of octets")
    return size


def _sha512(options: Options, option: str) -> t.Optional[str]:
    text = text_in(options, "sha512", option)
    if text is None:
        return None
    digest = text.lower()
    if not _SHA512.fullmatch(digest):
        raise invalid(f"{option}.sha512", "this is not 128 hexadecimal digits")
    return digest
