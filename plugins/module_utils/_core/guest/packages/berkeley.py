# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The values of a hash of Berkeley DB, as rpm used it until 2019: pages are read as they lie, none twice.

Written from the layout of pages that Berkeley DB documents in its headers (dbinc/db_page.h). The library is not
needed, and what it would do with a damaged file does not happen.
"""

from __future__ import annotations

import struct
import typing as t

from .model import malformed

_MAGIC: t.Final = 0x061561
_META: t.Final = 8
_HASHES: t.Final = frozenset({2, 13})
_OVERFLOW: t.Final = 7
_INLINE: t.Final = 1
_ELSEWHERE: t.Final = 3
_HEADER: t.Final = 26


def values(octets: bytes, path: str) -> t.Iterator[tuple[int, bytes]]:
    """Each number and its value; 0 is rpm's own counter. Raises `GuestError` (packages_malformed)."""
    book = _Book(octets, path)
    for number in range(1, book.count):
        if book.kind(number) not in _HASHES:
            continue
        items = book.items(number)
        if len(items) % 2:
            raise malformed(path, f"page {number} has a key without a value")
        for key, value in zip(items[::2], items[1::2]):
            if len(key) != 4:
                raise malformed(path, f"page {number} has a key that is no number")
            yield struct.unpack(book.order + "I", key)[0], value


class _Book:
    """The pages. The octets given out never exceed those of the file, as no page of a value is read twice."""

    def __init__(self, octets: bytes, path: str) -> None:
        self._octets = octets
        self._path = path
        self._read: set[int] = set()
        if len(octets) < 512:
            raise malformed(path, "it is cut off")
        self.order = next((order for order in "<>" if struct.unpack_from(order + "I", octets, 12)[0] == _MAGIC), "")
        if not self.order:
            raise malformed(path, "it is no hash of Berkeley DB")
        self._size: int = struct.unpack_from(self.order + "I", octets, 20)[0]
        last: int = struct.unpack_from(self.order + "I", octets, 32)[0]
        if octets[24] or octets[25] != _META:
            raise malformed(path, "it is encrypted, or its first page is not that of a hash")
        if self._size not in {1 << power for power in range(9, 17)} or (last + 1) * self._size > len(octets):
            raise malformed(path, "its pages are more than its octets")
        self.count = last + 1

    def kind(self, number: int) -> int:
        return self._octets[number * self._size + 25]

    def items(self, number: int) -> list[bytes]:
        """The keys and values of a page, in turn."""
        begin = number * self._size
        page = self._octets[begin : begin + self._size]
        count = struct.unpack_from(self.order + "H", page, 20)[0]
        if _HEADER + 2 * count > self._size:
            raise malformed(self._path, f"page {number} has more items than octets")
        offsets = struct.unpack_from(f"{self.order}{count}H", page, _HEADER)
        ends = (self._size, *offsets)
        found: list[bytes] = []
        for offset, end in zip(offsets, ends):
            if not _HEADER + 2 * count <= offset < end:
                raise malformed(self._path, f"the items of page {number} overlap")
            found.append(self._item(page[offset:end]))
        return found

    def _item(self, item: bytes) -> bytes:
        if item[0] == _INLINE:
            return item[1:]
        if item[0] != _ELSEWHERE or len(item) < 12:
            raise malformed(self._path, f"an item is of the unknown kind {item[0]}")
        page, length = struct.unpack_from(self.order + "II", item, 4)
        return self._chain(page, length)

    def _chain(self, number: int, length: int) -> bytes:
        parts: list[bytes] = []
        while number:
            if number >= self.count or number in self._read or self.kind(number) != _OVERFLOW:
                raise malformed(self._path, f"a value leads to page {number}, which is not its own")
            self._read.add(number)
            begin = number * self._size
            following, used = struct.unpack_from(self.order + "I2xH", self._octets, begin + 16)
            if _HEADER + used > self._size:
                raise malformed(self._path, f"page {number} holds more than its octets")
            parts.append(self._octets[begin + _HEADER : begin + _HEADER + used])
            number = following
        value = b"".join(parts)
        if len(value) != length:
            raise malformed(self._path, f"a value has {len(value)} octets instead of {length}")
        return value
