# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The octets of an image that belong to no file: what is free by the file systems' own account, read from the image.

ext2, ext3 and ext4 keep a bitmap for each group of blocks (kernel's Documentation/filesystems/ext4), XFS a tree of free
extents for each allocation group (XFS Algorithms & Data Structures). Nothing is mounted. Holes of the image are not
read: there is nothing in them.
"""

from __future__ import annotations

import errno
import os
import struct
import typing as t

from ...errors import GuestError
from .layout import Partition

#: Begin and size in octets of the image.
Extent = tuple[int, int]

_META_GROUPS: t.Final = 0x10
_CLUSTERS: t.Final = 0x200
_GROUPS: t.Final = 1 << 20
_DEPTH: t.Final = 16


class Space:
    """An image, open for reading. Raises `GuestError` (image_missing)."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            why = (error.strerror or "it cannot be read").lower()
            raise GuestError("image_missing", f"{path} cannot be read: {why}", path=path) from error

    def __enter__(self) -> Space:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._fd)

    def read(self, at: int, count: int) -> bytes:
        """`count` octets from `at` on; fewer at the end of the image."""
        return os.pread(self._fd, count, at)

    def data(self, begin: int, size: int, *, window: int, overlap: int = 0) -> t.Iterator[tuple[int, bytes]]:
        """The octets that are no hole, with where each part begins; a part repeats the end of the one before it."""
        end = begin + size
        for start, stop in self._parts(begin, end):
            at = start
            while at < stop:
                octets = self.read(at, min(window + overlap, stop - at))
                if not octets:
                    return
                yield at, octets
                at += window

    def any_data(self, begin: int, size: int) -> bool:
        """Whether anything but zeros is there."""
        return any(octets.count(0) != len(octets) for _at, octets in self.data(begin, size, window=1 << 20))

    def _parts(self, begin: int, end: int) -> t.Iterator[tuple[int, int]]:
        at = begin
        while at < end:
            try:
                start = os.lseek(self._fd, at, os.SEEK_DATA)
                stop = os.lseek(self._fd, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    # A block device knows no holes.
                    yield at, end
                return
            if start >= end:
                return
            yield start, min(stop, end)
            at = stop


def free_extents(space: Space, partition: Partition) -> t.Iterator[Extent]:
    """What of the partition belongs to no file; swap, and what holds no file system that is known, as a whole.

    Raises `GuestError`: space_unread (the kind of file system is not understood), disk_malformed.
    """
    kind = None if partition.filesystem is None else partition.filesystem.kind
    if kind in ("ext2", "ext3", "ext4"):
        return _joined(_of_ext(space, partition))
    if kind == "xfs":
        return _joined(_of_xfs(space, partition))
    if kind in (None, "swap", "vfat"):
        return iter([(partition.start, partition.size)])
    raise GuestError("space_unread", f"The free space of partition {partition.number} ({kind}) cannot be told apart")


def _joined(extents: t.Iterable[Extent]) -> t.Iterator[Extent]:
    """Neighbours become one, so that a text across both is found."""
    begin, size = 0, 0
    for at, count in extents:
        if at == begin + size:
            size += count
        else:
            if size:
                yield begin, size
            begin, size = at, count
    if size:
        yield begin, size


def _of_ext(space: Space, partition: Partition) -> t.Iterator[Extent]:
    head = space.read(partition.start + 1024, 1024)
    if len(head) < 1024:
        raise _malformed(space, partition)
    blocks, first, shift, per_group = (struct.unpack_from("<I", head, at)[0] for at in (4, 20, 24, 32))
    incompatible, read_only = struct.unpack_from("<II", head, 96)
    if incompatible & _META_GROUPS or read_only & _CLUSTERS:
        raise GuestError("space_unread", f"The free space of partition {partition.number} is kept in an unusual way")
    wide = incompatible & 0x80
    blocks += struct.unpack_from("<I", head, 0x150)[0] << 32 if wide else 0
    length = struct.unpack_from("<H", head, 254)[0] if wide else 32
    size = 1024 << min(shift, 16)
    groups = -(-(blocks - first) // per_group) if per_group else 0
    fits = size <= 65536 and 0 < per_group <= 8 * size and blocks * size <= partition.size and 32 <= length <= 1024
    if not fits or not 0 < groups <= _GROUPS:
        raise _malformed(space, partition)
    table = space.read(partition.start + (first + 1) * size, groups * length)
    if len(table) != groups * length:
        raise _malformed(space, partition)
    for group in range(groups):
        low, flags = struct.unpack_from("<I14xH", table, group * length)
        high = struct.unpack_from("<I", table, group * length + 32)[0] if length >= 64 else 0
        begin = first + group * per_group
        count = min(per_group, blocks - begin)
        place = partition.start + (low + (high << 32)) * size
        if place + size > partition.start + partition.size:
            raise _malformed(space, partition)
        # A group that was never used has no bitmap; what its first blocks hold is no file's either.
        bitmap = bytes(size) if flags & 0x2 and read_only & 0x410 else space.read(place, size)
        for run, free in _runs(bitmap, count):
            yield partition.start + (begin + run) * size, free * size


def _runs(bitmap: bytes, count: int) -> t.Iterator[tuple[int, int]]:
    """The runs of zero bits among the first `count`: where each begins, and how long it is."""
    begin = 0
    at = 0
    while at < count:
        octet = bitmap[at >> 3]
        if at & 7 == 0 and octet in (0, 0xFF) and at + 8 <= count:
            if octet:
                if at > begin:
                    yield begin, at - begin
                begin = at + 8
            at += 8
            continue
        if octet >> (at & 7) & 1:
            if at > begin:
                yield begin, at - begin
            begin = at + 1
        at += 1
    if count > begin:
        yield begin, count - begin


def _of_xfs(space: Space, partition: Partition) -> t.Iterator[Extent]:
    head = space.read(partition.start, 512)
    if len(head) < 512:
        raise _malformed(space, partition)
    size, sector = struct.unpack_from(">I", head, 4)[0], struct.unpack_from(">H", head, 102)[0]
    of_group, groups = struct.unpack_from(">II", head, 84)
    fits = size in {1 << power for power in range(9, 17)} and sector in {1 << power for power in range(9, 16)}
    if not fits or not 0 < groups <= _GROUPS or (groups - 1) * of_group * size >= partition.size:
        raise _malformed(space, partition)
    for group in range(groups):
        origin = partition.start + group * of_group * size
        header = space.read(origin + sector, 64)
        if header[:4] != b"XAGF":
            raise _malformed(space, partition)
        tree = _XfsTree(space, partition, origin, size, of_group)
        for begin, count in tree.records(struct.unpack_from(">I", header, 16)[0], _DEPTH):
            yield origin + begin * size, count * size


class _XfsTree:
    """The free extents of one allocation group, by where they begin."""

    def __init__(self, space: Space, partition: Partition, origin: int, size: int, blocks: int) -> None:
        self._space = space
        self._partition = partition
        self._origin = origin
        self._size = size
        self._blocks = blocks
        self._seen: set[int] = set()

    def records(self, block: int, depth: int) -> t.Iterator[tuple[int, int]]:
        if block in self._seen or block >= self._blocks or not depth:
            raise _malformed(self._space, self._partition)
        self._seen.add(block)
        octets = self._space.read(self._origin + block * self._size, self._size)
        head = {b"ABTB": 16, b"AB3B": 56}.get(octets[:4])
        if head is None or len(octets) != self._size:
            raise _malformed(self._space, self._partition)
        level, count = struct.unpack_from(">HH", octets, 4)
        if not level:
            if head + 8 * count > self._size:
                raise _malformed(self._space, self._partition)
            for number in range(count):
                begin, length = struct.unpack_from(">II", octets, head + 8 * number)
                if begin + length > self._blocks:
                    raise _malformed(self._space, self._partition)
                yield begin, length
            return
        most = (self._size - head) // 12
        if count > most:
            raise _malformed(self._space, self._partition)
        for number in range(count):
            yield from self.records(struct.unpack_from(">I", octets, head + 8 * most + 4 * number)[0], depth - 1)


def _malformed(space: Space, partition: Partition) -> GuestError:
    why = f"{space.path}: what partition {partition.number} says of its free space is not inside of it"
    return GuestError("disk_malformed", why, path=space.path)
