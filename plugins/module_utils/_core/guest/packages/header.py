# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of an installed rpm package, as every backend of its database stores it.

Two counts (entries, octets of data), then 16 octets for each entry (tag, type, offset, count), then the data; all
numbers are big-endian. Source: the format description of rpm (docs/manual/format_header).
"""

from __future__ import annotations

import struct
import typing as t

from .model import Package, checked, line, malformed

_NAME: t.Final = 1000
_VERSION: t.Final = 1001
_RELEASE: t.Final = 1002
_EPOCH: t.Final = 1003
_VENDOR: t.Final = 1011
_LICENCE: t.Final = 1014
_PACKAGER: t.Final = 1015
_ARCH: t.Final = 1022
_SOURCE: t.Final = 1044

_INT32: t.Final = 4
_TEXTS: t.Final = frozenset({6, 8, 9})
_WANTED: t.Final = frozenset({_NAME, _VERSION, _RELEASE, _EPOCH, _VENDOR, _LICENCE, _PACKAGER, _ARCH, _SOURCE})

#: Limits of rpm itself.
_ENTRIES: t.Final = 0xFFFF
_KEYS: t.Final = "gpg-pubkey"


def read_package(blob: bytes, path: str) -> Package | None:
    """The package of the header; None for a public key, which rpm keeps as if it were one. Raises `GuestError`."""
    tags = _tags(blob, path)
    name = _text(tags, _NAME)
    if name == _KEYS:
        return None
    epoch = tags.get(_EPOCH)
    return checked(
        Package(
            kind="rpm",
            name=name or "",
            version=_text(tags, _VERSION) or "",
            epoch=epoch if isinstance(epoch, int) else None,
            release=_text(tags, _RELEASE),
            arch=_text(tags, _ARCH),
            vendor=_text(tags, _VENDOR),
            maintainer=_text(tags, _PACKAGER),
            licence=_text(tags, _LICENCE),
            source=_text(tags, _SOURCE),
        ),
        path,
    )


def _text(tags: t.Mapping[int, int | bytes], tag: int) -> str | None:
    value = tags.get(tag)
    return line(value.decode("utf-8", "surrogateescape")) if isinstance(value, bytes) else None


def _tags(blob: bytes, path: str) -> dict[int, int | bytes]:
    if len(blob) < 8:
        raise malformed(path, "a header is cut off")
    entries, size = struct.unpack_from(">II", blob)
    begin = 8 + 16 * entries
    if not 0 < entries <= _ENTRIES or begin + size > len(blob):
        raise malformed(path, "a header is longer than its record")
    found: dict[int, int | bytes] = {}
    for tag, kind, offset, count in struct.iter_unpack(">IIII", blob[8:begin]):
        if tag not in _WANTED or count < 1:
            continue
        if kind == _INT32 and offset + 4 <= size:
            found[tag] = struct.unpack_from(">I", blob, begin + offset)[0]
        elif kind in _TEXTS and offset < size:
            end = blob.find(b"\0", begin + offset, begin + size)
            if end < 0:
                raise malformed(path, "a text in a header has no end")
            found[tag] = blob[begin + offset : end]
        else:
            raise malformed(path, f"tag {tag} of a header lies outside of it")
    return found
