# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The strict reader: a list is read whole, or refused whole with the path of the field that is wrong.

An image that cannot be read is never dropped: at the sites that would look like its withdrawal.
"""

from __future__ import annotations

import datetime
import re
import typing as t

from ..errors import TrustError
from . import versions
from .model import CHECKSUM, ENDORSER, IMAGE, IMAGES, WRAPPER, X509, Endorser, Image, ImageList
from .strict_json import MAX_DIGITS, parse_json

#: Hex digits of the checksums that can be checked; others are carried as they are.
CHECKSUM_DIGITS: t.Final[t.Mapping[str, int]] = {
    "md5": 32,
    "sha1": 40,
    "sha224": 56,
    "sha256": 64,
    "sha384": 96,
    "sha512": 128,
}

#: Each is compared with the signer.
MAX_ENDORSERS: t.Final = 1000

_UUID: t.Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME: t.Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})Z)?")
_HEX: t.Final = re.compile(r"[0-9a-f]+")
_DIGITS: t.Final = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}")

_Object = t.Mapping[str, t.Any]


def read_list(octets: bytes) -> ImageList:
    """Read the content of a message (or a plain list): wrapped in ``hv:imagelist``, or the bare 2011 form.

    Raises TrustError: ``too_large``, ``json_invalid``, ``list_malformed`` (`context` has the ``field``).
    """
    document = parse_json(octets)
    if not isinstance(document, dict):
        raise _malformed("", "is not an object")
    if WRAPPER not in document:
        return _list(document, {})
    beside = {key: value for key, value in document.items() if key != WRAPPER}
    return _list(_object(document, WRAPPER, ""), beside)


def read_uuid(text: str) -> t.Optional[str]:
    """The UUID in lower case, or None when the text is none (RFC 4122 variants are not enforced)."""
    # lower() makes ASCII letters of some others (the Kelvin sign), which may not count as the same UUID.
    lower = text.lower()
    return lower if text.isascii() and _UUID.fullmatch(lower) else None


def read_time(text: str) -> t.Optional[datetime.datetime]:
    """``YYYY-MM-DDThh:mm:ssZ``, or a bare date as the first second of that day; None when it is neither."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:
        return datetime.datetime(*(int(part or 0) for part in found.groups()), tzinfo=datetime.timezone.utc)  # type: ignore[arg-type, misc]
    except ValueError:
        return None


def _list(raw: _Object, beside: _Object) -> ImageList:
    return ImageList(
        identifier=_identifier(raw, ""),
        version=_version(raw, "", required=True),
        created=_time(raw, "dc:date:created", ""),
        expires=_time(raw, "dc:date:expires", ""),
        title=_text(raw, "dc:title", ""),
        description=_text(raw, "dc:description", ""),
        source=_text(raw, "dc:source", ""),
        uri=_text(raw, "hv:uri", ""),
        endorsers=_endorsers(raw),
        images=_images(raw),
        raw=raw,
        beside=beside,
    )


def _endorsers(raw: _Object) -> tuple[Endorser, ...]:
    value = raw.get(ENDORSER)
    if not isinstance(value, list):
        return (_endorser(_object(raw, ENDORSER, ""), ENDORSER),)
    if not value:
        raise _malformed(ENDORSER, "names nobody")
    if len(value) > MAX_ENDORSERS:
        raise _malformed(ENDORSER, f"names more than {MAX_ENDORSERS} endorsers")
    return tuple(
        _endorser(_mapping(item, f"{ENDORSER}[{index}]"), f"{ENDORSER}[{index}]") for index, item in enumerate(value)
    )


def _endorser(holder: _Object, path: str) -> Endorser:
    raw = _object(holder, X509, path)
    path = f"{path}.{X509}"
    return Endorser(
        dn=_text(raw, "hv:dn", path, required=True),
        ca=_text(raw, "hv:ca", path, required=True),
        email=_text(raw, "hv:email", path),
        name=_text(raw, "dc:creator", path),
        raw=raw,
    )


def _images(raw: _Object) -> tuple[Image, ...]:
    value = raw.get(IMAGES, [])
    if not isinstance(value, list):
        raise _malformed(IMAGES, "is not an array")
    images: list[Image] = []
    seen: dict[str, int] = {}
    for index, item in enumerate(value):
        path = f"{IMAGES}[{index}]"
        image = _image(_object(_mapping(item, path), IMAGE, path), path)
        first = seen.setdefault(image.identifier, index)
        if first != index:
            raise _malformed(f"{path}.dc:identifier", f"is that of {IMAGES}[{first}] again")
        images.append(image)
    return tuple(images)


def _image(raw: _Object, path: str) -> Image:
    checksums = _checksums(raw, path)
    return Image(
        identifier=_identifier(raw, path),
        version=_version(raw, path, required=False),
        uri=_filled(raw, "hv:uri", path),
        size=_size(raw, path),
        sha512=checksums.pop("sha512"),
        title=_text(raw, "dc:title", path),
        description=_text(raw, "dc:description", path),
        arch=_text(raw, "sl:arch", path),
        os=_text(raw, "sl:os", path),
        osversion=_text(raw, "sl:osversion", path),
        comments=_text(raw, "sl:comments", path),
        hypervisor=_text(raw, "hv:hypervisor", path),
        format=_text(raw, "hv:format", path) or None,
        expires=_time(raw, "dc:date:expires", path) if "dc:date:expires" in raw else None,
        raw=raw,
        checksums=checksums,
    )


def _checksums(raw: _Object, path: str) -> dict[str, str]:
    _filled(raw, f"{CHECKSUM}sha512", path)
    found: dict[str, str] = {}
    for key in raw:
        if not key.startswith(CHECKSUM):
            continue
        name, digest = key[len(CHECKSUM) :], _text(raw, key, path)
        digits = CHECKSUM_DIGITS.get(name)
        if digits is not None and digest:
            digest = digest.lower() if digest.isascii() else digest
            if len(digest) != digits or not _HEX.fullmatch(digest):
                raise _malformed(_join(path, key), f"is not {digits} hex digits")
        if digest:
            found[name] = digest
    return found


def _size(raw: _Object, path: str) -> int:
    value = _present(raw, "hv:size", path)
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise _malformed(_join(path, "hv:size"), "is not a positive number of octets")
    return value


def _identifier(raw: _Object, path: str) -> str:
    text = _text(raw, "dc:identifier", path, required=True)
    uuid = read_uuid(text)
    if uuid is None:
        raise _malformed(_join(path, "dc:identifier"), f"is not a UUID: {_shown(text)}")
    return uuid


def _version(raw: _Object, path: str, *, required: bool) -> str:
    text = _text(raw, "hv:version", path, required=required)
    if not versions.is_version(text) and (text or required):
        raise _malformed(_join(path, "hv:version"), f"is not a version: {_shown(text)}")
    return text


def _time(raw: _Object, key: str, path: str) -> datetime.datetime:
    text = _text(raw, key, path, required=True)
    moment = read_time(text)
    if moment is None:
        raise _malformed(_join(path, key), f"is not a time as YYYY-MM-DDThh:mm:ssZ: {_shown(text)}")
    return moment


def _filled(raw: _Object, key: str, path: str) -> str:
    text = _text(raw, key, path, required=True)
    if not text:
        raise _malformed(_join(path, key), "is empty")
    return text


def _text(raw: _Object, key: str, path: str, *, required: bool = False) -> str:
    value = _present(raw, key, path) if required else raw.get(key, "")
    if not isinstance(value, str):
        raise _malformed(_join(path, key), "is not a text")
    return value


def _object(raw: _Object, key: str, path: str) -> _Object:
    return _mapping(_present(raw, key, path), _join(path, key))


def _mapping(value: t.Any, path: str) -> _Object:
    if not isinstance(value, dict):
        raise _malformed(path, "is not an object")
    return value


def _present(raw: _Object, key: str, path: str) -> t.Any:
    if key not in raw:
        raise _malformed(_join(path, key), "is missing")
    return raw[key]


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 60 else f"{text[:60]}...")


def _malformed(path: str, what: str) -> TrustError:
    # A key of the list may be part of the path.
    path = path if path.isascii() and path.isprintable() and len(path) <= 200 else ascii(path[:200])[1:-1]
    subject = f"The field {path}" if path else "The list"
    return TrustError("list_malformed", f"{subject} {what}.", field=path)
