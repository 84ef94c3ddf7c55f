# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fields of a signed list, strictly: each is as it must be, or the whole list is refused with the field's path.

What image lists and endorser lists have in common. `path` is that of the object that holds the field. Every function
raises TrustError ``list_malformed`` (`context` has the ``field``).
"""

from __future__ import annotations

import datetime
import re
import typing as t

from ..errors import TrustError
from . import versions
from .model import ENDORSER, X509, Endorser
from .strict_json import parse_json

Object = t.Mapping[str, t.Any]

#: Each is compared with the signer.
MAX_ENDORSERS: t.Final = 1000

_UUID: t.Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME: t.Final = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})(?:T([0-9]{2}):([0-9]{2}):([0-9]{2})Z)?")


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


def read_document(octets: bytes) -> Object:
    """The outermost object of a content. Raises ``too_large``, ``json_invalid`` as well."""
    document = parse_json(octets)
    if not isinstance(document, dict):
        raise malformed("", "is not an object")
    return document


def common(raw: Object) -> dict[str, t.Any]:
    """The fields of `SignedList`, for its constructor."""
    return {
        "identifier": uuid_at(raw, ""),
        "version": version_at(raw, "", required=True),
        "created": time_at(raw, "dc:date:created", ""),
        "expires": time_at(raw, "dc:date:expires", ""),
        "title": text_at(raw, "dc:title", ""),
        "description": text_at(raw, "dc:description", ""),
        "source": text_at(raw, "dc:source", ""),
        "uri": text_at(raw, "hv:uri", ""),
        "endorsers": signers_at(raw),
        "raw": raw,
    }


def signers_at(raw: Object) -> tuple[Endorser, ...]:
    """Who endorses the list: one object or several."""
    value = raw.get(ENDORSER)
    if not isinstance(value, list):
        return (_signer(object_at(raw, ENDORSER, ""), ENDORSER),)
    if not value:
        raise malformed(ENDORSER, "names nobody")
    if len(value) > MAX_ENDORSERS:
        raise malformed(ENDORSER, f"names more than {MAX_ENDORSERS} endorsers")
    return tuple(
        _signer(mapping(item, f"{ENDORSER}[{index}]"), f"{ENDORSER}[{index}]") for index, item in enumerate(value)
    )


def name_at(raw: Object, path: str) -> Endorser:
    """The content of one ``hv:x509`` object."""
    return Endorser(
        dn=text_at(raw, "hv:dn", path, required=True),
        ca=text_at(raw, "hv:ca", path, required=True),
        email=text_at(raw, "hv:email", path),
        name=text_at(raw, "dc:creator", path),
        raw=raw,
    )


def uuid_at(raw: Object, path: str) -> str:
    """``dc:identifier`` as a UUID in lower case."""
    text = text_at(raw, "dc:identifier", path, required=True)
    uuid = read_uuid(text)
    if uuid is None:
        raise malformed(join(path, "dc:identifier"), f"is not a UUID: {shown(text)}")
    return uuid


def version_at(raw: Object, path: str, *, required: bool) -> str:
    """``hv:version``; empty where it is absent and need not be there."""
    text = text_at(raw, "hv:version", path, required=required)
    if not versions.is_version(text) and (text or required):
        raise malformed(join(path, "hv:version"), f"is not a version: {shown(text)}")
    return text


def time_at(raw: Object, key: str, path: str) -> datetime.datetime:
    """An aware time that must be there."""
    text = text_at(raw, key, path, required=True)
    moment = read_time(text)
    if moment is None:
        raise malformed(join(path, key), f"is not a time as YYYY-MM-DDThh:mm:ssZ: {shown(text)}")
    return moment


def filled_at(raw: Object, key: str, path: str) -> str:
    """A text that must be there and not be empty."""
    text = text_at(raw, key, path, required=True)
    if not text:
        raise malformed(join(path, key), "is empty")
    return text


def text_at(raw: Object, key: str, path: str, *, required: bool = False) -> str:
    """A text; empty where it is absent and need not be there."""
    value = present(raw, key, path) if required else raw.get(key, "")
    if not isinstance(value, str):
        raise malformed(join(path, key), "is not a text")
    return value


def object_at(raw: Object, key: str, path: str) -> Object:
    """An object that must be there."""
    return mapping(present(raw, key, path), join(path, key))


def mapping(value: t.Any, path: str) -> Object:
    """`value`, the thing at `path`, which must be an object."""
    if not isinstance(value, dict):
        raise malformed(path, "is not an object")
    return value


def array(value: t.Any, path: str) -> list[t.Any]:
    """`value`, the thing at `path`, which must be an array."""
    if not isinstance(value, list):
        raise malformed(path, "is not an array")
    return value


def present(raw: Object, key: str, path: str) -> t.Any:
    """Whatever is there, which must be something."""
    if key not in raw:
        raise malformed(join(path, key), "is missing")
    return raw[key]


def join(path: str, key: str) -> str:
    """The path of a field."""
    return f"{path}.{key}" if path else key


def shown(text: str) -> str:
    """A text as a sentence shows it."""
    return ascii(text if len(text) <= 60 else f"{text[:60]}...")


def malformed(path: str, what: str) -> TrustError:
    """The refusal of a list for the field at `path`."""
    # A key of the list may be part of the path.
    path = path if path.isascii() and path.isprintable() and len(path) <= 200 else ascii(path[:200])[1:-1]
    subject = f"The field {path}" if path else "The list"
    return TrustError("list_malformed", f"{subject} {what}.", field=path)


def _signer(holder: Object, path: str) -> Endorser:
    return name_at(object_at(holder, X509, path), f"{path}.{X509}")
