# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who signed: the key's id in an OpenPGP signature (RFC 4880, section 5.2; RFC 9580). Nothing is verified."""

from __future__ import annotations

import struct

_SIGNATURE = 2
_ISSUER, _FINGERPRINT = 16, 33


def key_of(octets: bytes) -> str | None:
    """The id of the signing key, 16 hexadecimal digits; None for what is no signature that names one."""
    try:
        body = _body(octets)
        if body[0] == 3:
            return body[7:15].hex() if len(body) >= 15 else None
        if body[0] not in (4, 5, 6):
            return None
        wide = body[0] == 6
        at = 4
        for _area in range(2):
            length = struct.unpack_from(">I" if wide else ">H", body, at)[0]
            at += 4 if wide else 2
            found = _issuer(body[at : at + length])
            if found is not None:
                return found
            at += length
    except (IndexError, struct.error):
        pass
    return None


def _body(octets: bytes) -> bytes:
    """The content of the first packet, if it is a signature."""
    head = octets[0]
    if not head & 0x80:
        return b"\0"
    if head & 0x40:
        tag, length, at = head & 0x3F, *_length(octets, 1)
    else:
        tag = (head >> 2) & 0xF
        width = (1, 2, 4, 0)[head & 3]
        length = int.from_bytes(octets[1 : 1 + width], "big") if width else len(octets) - 1
        at = 1 + width
    return octets[at : at + length] if tag == _SIGNATURE else b"\0"


def _length(octets: bytes, at: int) -> tuple[int, int]:
    """The length that stands at `at`, and where what it is about begins."""
    first = octets[at]
    if first < 192:
        return first, at + 1
    if first < 255:
        return ((first - 192) << 8) + octets[at + 1] + 192, at + 2
    return struct.unpack_from(">I", octets, at + 1)[0], at + 5


def _issuer(area: bytes) -> str | None:
    at = 0
    while at < len(area):
        length, at = _length(area, at)
        kind, value = area[at] & 0x7F, area[at + 1 : at + length]
        if kind == _ISSUER and len(value) == 8:
            return value.hex()
        if kind == _FINGERPRINT and len(value) >= 21:
            # The id is the end of a fingerprint of version 4, and the beginning of a later one.
            return value[-8:].hex() if value[0] == 4 else value[1:9].hex()
        at += max(length, 1)
    return None
