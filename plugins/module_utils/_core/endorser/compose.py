# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what is declared and what is published to the list that should be published: pure functions.

`Base` is the current list; a composed list is the list object without its dates and version, which `decide` adds when
there is a reason to sign.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime

from ..errors import PublishError
from ..imagelist import versions
from ..imagelist.difference import PER_SIGNATURE, images_by_identifier, meaning
from ..imagelist.model import CHECKSUM, ENDORSER, IMAGE, IMAGES, X509, Image, ImageList
from ..times import to_text
from .history import KnownImage
from .spec import EXPIRES, FORMAT, IMAGE_TEXTS, LIST_TEXTS, ImageSpec, PublishSpec, expand_uri, invalid

if t.TYPE_CHECKING:
    from ..transfer.checksum import Digest

_SHA512: t.Final = f"{CHECKSUM}sha512"
_IMAGE_DEFAULTS: t.Final[t.Mapping[str, str]] = {
    **dict.fromkeys(IMAGE_TEXTS.values(), ""),
    "sl:arch": "x86_64",
    "sl:os": "Linux",
    "hv:hypervisor": "kvm",
}
_LIST_DEFAULTS: t.Final[t.Mapping[str, str]] = dict.fromkeys(LIST_TEXTS.values(), "")


@dataclass(frozen=True)
class Base:
    """The current list (pending or published), its signed content's digest, and when its signer's certificate ends."""

    content: ImageList
    sha512: str
    signer_not_after: datetime


@dataclass(frozen=True)
class Signer:
    """Who signs now: slash-form names, the end of the certificate, and what it says about the person."""

    dn: str
    ca: str
    not_after: datetime
    name: str
    email: str


@dataclass(frozen=True)
class Decision:
    """Sign this list, because: ``first``, ``content``, ``expiry``, ``certificate``, ``lifetime``, ``version``."""

    reason: str
    raw: t.Mapping[str, t.Any]
    version: str


def compose(
    spec: PublishSpec,
    base: t.Optional[Base],
    signer: Signer,
    digests: t.Mapping[str, Digest],
    known: t.Mapping[str, KnownImage],
) -> dict[str, t.Any]:
    """The list object without dates and version. `digests` by image identifier, for images with a path.

    Raises PublishError: ``publish_invalid``, ``version_not_raised``.
    """
    merged = base.content if base is not None and not spec.purge_images else None
    raw = {
        **_LIST_DEFAULTS,
        **({} if merged is None else merged.raw),
        **spec.keys,
        "dc:identifier": spec.identifier,
        "hv:uri": spec.uri,
        ENDORSER: _endorser(spec, merged, signer),
        IMAGES: _images(spec, merged, digests, known),
    }
    return {key: value for key, value in raw.items() if value is not None and key not in PER_SIGNATURE}


def decide(
    spec: PublishSpec,
    base: t.Optional[Base],
    composed: t.Mapping[str, t.Any],
    signer: Signer,
    now: datetime,
    *,
    outlived: bool = False,
) -> t.Optional[Decision]:
    """What to sign and why, or None when the current list still says it all.

    `outlived`: sites refuse the signature of the current list by now, and not that of `signer`.
    Raises PublishError ``version_not_raised``.
    """
    reason = _reason(spec, base, composed, signer, now, outlived=outlived)
    order = _order(spec, base)
    if reason is None and order == 0:
        return None
    if order < 0 or (reason is not None and order == 0 and spec.version is not None):
        published = base.content.version if base is not None else ""
        raise PublishError(
            "version_not_raised",
            f"version: {published} is published, and {spec.version} is not higher ({_why(reason)}).",
            option="version",
            published=published,
        )
    version = spec.version or (versions.next_version(base.content.version) if base is not None else "1")
    raw = {
        **composed,
        "dc:date:created": to_text(now),
        EXPIRES: to_text(now + spec.lifetime),
        "hv:version": version,
    }
    return Decision(reason or "version", raw, version)


def known_images(raw: t.Mapping[str, t.Any]) -> dict[str, KnownImage]:
    """What the history keeps of the images of a list object that we compose."""
    return {
        identifier: KnownImage(image.get("hv:version", ""), image[_SHA512].lower(), image.get(FORMAT, ""))
        for identifier, image in images_by_identifier(raw).items()
    }


def _reason(
    spec: PublishSpec,
    base: t.Optional[Base],
    composed: t.Mapping[str, t.Any],
    signer: Signer,
    now: datetime,
    *,
    outlived: bool,
) -> t.Optional[str]:
    if base is None:
        return "first"
    if meaning(base.content.raw) != meaning(composed):
        return "content"
    if base.content.expires - now <= spec.renew_before:
        return "expiry"
    if outlived:
        return "certificate"
    # A new certificate only helps when it lasts longer: else every run would sign again.
    if base.signer_not_after - now <= spec.renew_before and signer.not_after > base.signer_not_after:
        return "certificate"
    if base.content.expires > now + spec.lifetime:
        return "lifetime"
    return None


def _why(reason: t.Optional[str]) -> str:
    return {
        "content": "the content has changed",
        "expiry": "the list has to be renewed before it expires",
        "certificate": "the list has to be signed with the new certificate",
        "lifetime": "the published expiry is later than the lifetime allows",
    }.get(reason or "", "a version never goes back")


def _order(spec: PublishSpec, base: t.Optional[Base]) -> int:
    """How the version that will be published compares to the current one: 0 when none is asked for."""
    if base is None:
        return 1
    return 0 if spec.version is None else versions.compare(spec.version, base.content.version)


def _endorser(spec: PublishSpec, merged: t.Optional[ImageList], signer: Signer) -> dict[str, t.Any]:
    name, email = signer.name, signer.email
    further: t.Mapping[str, t.Any] = {}
    if merged is not None and len(merged.endorsers) == 1 and merged.endorsers[0].dn == signer.dn:
        published = merged.endorsers[0]
        name, email, further = published.name, published.email, published.raw
    return {
        X509: {
            **further,
            "hv:dn": signer.dn,
            "hv:ca": signer.ca,
            "dc:creator": name if spec.endorser_name is None else spec.endorser_name,
            "hv:email": email if spec.endorser_email is None else spec.endorser_email,
        }
    }


def _images(
    spec: PublishSpec,
    merged: t.Optional[ImageList],
    digests: t.Mapping[str, Digest],
    known: t.Mapping[str, KnownImage],
) -> list[dict[str, t.Any]]:
    published = {} if merged is None else {image.identifier: image for image in merged.images}
    images: dict[str, t.Mapping[str, t.Any]] = {name: image.raw for name, image in published.items()}
    for image in spec.images:
        name = image.identifier
        images[name] = _image(image, published.get(name), digests.get(name), known.get(name))
    _check_addresses(spec, images)
    return [{IMAGE: dict(image)} for image in images.values()]


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
