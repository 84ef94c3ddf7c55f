# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of rpm's own format ndb (SUSE): slots that say where each lies. All numbers are little-endian."""

from __future__ import annotations

import struct
import typing as t

from .model import malformed

_PAGE: t.Final = 4096
_BLOCK: t.Final = 16
_SLOT: t.Final = struct.Struct("<4sIII")
_HEAD: t.Final = struct.Struct("<4sIII")
_TAIL: t.Final = struct.Struct("<II4s")


def values(octets: bytes, path: str) -> t.Iterator[tuple[int, bytes]]:
    """Each number and its value. Raises `GuestError` (packages_malformed)."""
    if len(octets) < 32 or octets[:4] != b"RpmP":
        raise malformed(path, "it does not begin as an ndb")
    version, _generation, pages = struct.unpack_from("<III", octets, 4)
    if version != 0 or pages * _PAGE > len(octets):
        raise malformed(path, "its slots are more than its octets, or its version is unknown")
    given = 0
    for offset in range(32, pages * _PAGE, _SLOT.size):
        magic, number, block, count = _SLOT.unpack_from(octets, offset)
        if magic != b"Slot":
            raise malformed(path, f"there is no slot at {offset}")
        if block:
            value = _value(octets, number, block * _BLOCK, count * _BLOCK, path)
            given += len(value)
            if given > len(octets):
                raise malformed(path, "its values overlap")
            yield number, value


def _value(octets: bytes, number: int, begin: int, size: int, path: str) -> bytes:
    if begin + size > len(octets) or size < _HEAD.size + _TAIL.size:
        raise malformed(path, f"the value of package {number} lies outside")
    magic, owner, _generation, length = _HEAD.unpack_from(octets, begin)
    _checksum, again, end = _TAIL.unpack_from(octets, begin + size - _TAIL.size)
    if (magic, owner, end, again) != (b"BlbS", number, b"BlbE", length) or length > size - _HEAD.size - _TAIL.size:
        raise malformed(path, f"the value of package {number} is not its own")
    return octets[begin + _HEAD.size : begin + _HEAD.size + length]
