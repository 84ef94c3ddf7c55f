# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set every date in an ISO 9660 image: those of the volume, of each directory record, and of Rock Ridge's TF entries.

ECMA-119 8.4 (volume descriptors), 9.1 (directory records); IEEE P1281 5.1 (CE) and P1282 4.1.6 (TF).
"""

from __future__ import annotations

import struct
import time
import typing as t

SECTOR: t.Final = 2048
_PRIMARY, _SUPPLEMENTARY, _END = 1, 2, 255
_VOLUME_DATES: t.Final = (813, 830, 847, 864)
_UNSET: t.Final = b"0" * 16 + b"\0"


def set_dates(image: bytearray, seconds: int) -> None:
    """Set all dates of the image, in place, to `seconds` since 1970, in UTC; expiry and start of use stay unset."""
    moment = time.gmtime(seconds)
    volume = time.strftime("%Y%m%d%H%M%S", moment).encode() + b"00\0"
    record = struct.pack("6Bb", moment.tm_year - 1900, *moment[1:6], 0)
    for number in range(16, len(image) // SECTOR):
        start = number * SECTOR
        kind = image[start]
        if kind == _END:
            return
        if kind in (_PRIMARY, _SUPPLEMENTARY):
            for offset, date in zip(_VOLUME_DATES, (volume, volume, _UNSET, _UNSET)):
                image[start + offset : start + offset + 17] = date
            _set_record(image, start + 156, record)
            _set_directory(image, _extent(image, start + 156), record)


def _extent(image: bytearray, record: int) -> tuple[int, int]:
    """Where the record's data begin and end, in octets."""
    (sector,), (length,) = struct.unpack_from("<I", image, record + 2), struct.unpack_from("<I", image, record + 10)
    return sector * SECTOR, sector * SECTOR + length


def _set_directory(image: bytearray, extent: tuple[int, int], date: bytes) -> None:
    position, end = extent
    number = 0
    while position < end:
        length = image[position]
        if length == 0:
            # Records do not cross sectors.
            position += SECTOR - position % SECTOR
            continue
        _set_record(image, position, date)
        is_directory = image[position + 25] & 2
        # The first two are the directory itself and the one above it.
        if is_directory and number > 1:
            _set_directory(image, _extent(image, position), date)
        position += length
        number += 1


def _set_record(image: bytearray, record: int, date: bytes) -> None:
    image[record + 18 : record + 25] = date
    name_length = image[record + 32]
    begin = record + 33 + name_length + (1 - name_length % 2)
    _set_rock_ridge(image, begin, record + image[record], date)


def _set_rock_ridge(image: bytearray, position: int, end: int, date: bytes) -> None:
    while position + 4 <= end:
        signature, length = bytes(image[position : position + 2]), image[position + 2]
        if length < 4 or not signature.isalnum():
            return
        if signature == b"TF":
            stamps = bin(image[position + 4] & 0x7F).count("1")
            image[position + 5 : position + 5 + 7 * stamps] = date * stamps
        elif signature == b"CE":
            sector, offset, size = (struct.unpack_from("<I", image, position + 4 + 8 * field)[0] for field in range(3))
            _set_rock_ridge(image, sector * SECTOR + offset, sector * SECTOR + offset + size, date)
        position += length
