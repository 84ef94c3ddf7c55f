# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The layout of a raw disk image: its partition table (MSDOS with logical partitions, GPT, or none) and file systems.

Everything is read from the image file; nothing is attached, mounted or believed beyond the size of the file.
"""

from __future__ import annotations

import io
import os
import stat
import struct
import typing as t
import zlib
from dataclasses import dataclass

from ...errors import GuestError
from .filesystems import HEAD, FileSystem, identify

_SECTOR: t.Final = 512
_EXTENDED: t.Final = frozenset({0x05, 0x0F, 0x85})
_MOST: t.Final = 64

_FOREIGN: t.Final = {
    b"QFI\xfb": "qcow2",
    b"KDMV": "vmdk",
    b"conectix": "vpc",
    b"vhdxfile": "vhdx",
    b"# Disk DescriptorFile": "vmdk",
}


@dataclass(frozen=True)
class Partition:
    """One partition; `start` and `size` in octets; `number` 0 is the whole disk where it has no partition table.

    `uuid` and `label` are those of the entry in the table, and not of what the partition holds.
    """

    number: int
    start: int
    size: int
    kind: str
    active: bool
    filesystem: FileSystem | None
    uuid: str | None = None
    label: str | None = None

    def as_dict(self) -> dict[str, t.Any]:
        found = self.filesystem
        return {
            "number": self.number,
            "start": self.start,
            "size": self.size,
            "type": self.kind,
            "active": self.active,
            "filesystem": None if found is None else found.as_dict(),
        }


@dataclass(frozen=True)
class Layout:
    """`table` is ``dos``, ``gpt`` or None (the whole disk is one file system).

    `reserved` is where the tables themselves lie, as (begin, size) in octets.
    """

    size: int
    table: str | None
    partitions: tuple[Partition, ...]
    reserved: tuple[tuple[int, int], ...] = ()

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "size": self.size,
            "table": self.table,
            "partitions": [partition.as_dict() for partition in self.partitions],
        }


def read_layout(path: str) -> Layout:
    """The layout of the raw image at `path`.

    Raises `GuestError`: image_missing, image_format_unsupported (not raw), disk_malformed (a table that reaches beyond
    the image, or turns in circles; partitions that overlap; a GPT with a wrong checksum).
    """
    try:
        # A pipe that nobody writes to would never open.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
                raise GuestError("image_missing", f"{path} is not an image file", path=path)
            return _Disk(path, file).layout()
    except OSError as error:
        why = (error.strerror or "it cannot be read").lower()
        raise GuestError("image_missing", f"{path} cannot be read: {why}", path=path) from error


class _Disk:
    def __init__(self, path: str, file: io.FileIO) -> None:
        self._path = path
        self._file = file
        self._size = file.seek(0, os.SEEK_END)
        self._reserved = [(0, _SECTOR)]
        self._signature = ""

    def layout(self) -> Layout:
        head = self._read(0, HEAD)
        for magic, name in _FOREIGN.items():
            if head.startswith(magic):
                raise GuestError(
                    "image_format_unsupported", f"{self._path} is a {name} image, not a raw one", found=name
                )
        entries = self._slots(head) if _is_table(head) and not self._whole(head) else []
        self._signature = head[440:444][::-1].hex()
        if not any(kind and count for _active, kind, _start, count in entries):
            whole = Partition(0, 0, self._size, "", False, identify(head))
            return Layout(self._size, None, (whole,))
        is_gpt = any(kind == 0xEE for _active, kind, _start, _count in entries)
        partitions = tuple(self._gpt() if is_gpt else self._dos(entries))
        self._check_apart(partitions)
        return Layout(self._size, "gpt" if is_gpt else "dos", partitions, tuple(self._reserved))

    def _whole(self, head: bytes) -> bool:
        """A FAT boot sector carries the signature of a partition table, too."""
        found = identify(head)
        return found is not None and found.kind == "vfat"

    def _read(self, at: int, count: int) -> bytes:
        return os.pread(self._file.fileno(), count, at)

    def _slots(self, sector: bytes) -> list[tuple[bool, int, int, int]]:
        """Active, type, first sector and number of sectors of the four entries of a table."""
        return [
            (sector[at] == 0x80, sector[at + 4], *struct.unpack_from("<II", sector, at + 8))
            for at in range(446, 510, 16)
        ]

    def _dos(self, entries: list[tuple[bool, int, int, int]]) -> t.Iterator[Partition]:
        for number, (active, kind, start, count) in enumerate(entries, 1):
            if kind in _EXTENDED:
                yield from self._logical(start)
            elif kind and count:
                yield self._partition(number, start * _SECTOR, count * _SECTOR, f"{kind:02x}", active)

    def _logical(self, first: int) -> t.Iterator[Partition]:
        at, number, seen = first, 5, set[int]()
        while True:
            if at in seen or len(seen) > _MOST:
                raise self._malformed("The chain of logical partitions has no end")
            seen.add(at)
            sector = self._read(at * _SECTOR, _SECTOR)
            if len(sector) < _SECTOR or sector[510:512] != b"\x55\xaa":
                raise self._malformed(f"There is no partition table at sector {at}")
            self._reserved.append((at * _SECTOR, _SECTOR))
            active, kind, start, count = self._slots(sector)[0]
            if kind and count:
                begin = (at + start) * _SECTOR
                yield self._partition(number, begin, count * _SECTOR, f"{kind:02x}", active)
                number += 1
            _active, onward, offset, _count = self._slots(sector)[1]
            if onward not in _EXTENDED:
                return
            at = first + offset

    def _gpt(self) -> t.Iterator[Partition]:
        header = self._read(_SECTOR, _SECTOR)
        if header[:8] != b"EFI PART":
            raise self._malformed("The protective partition table is not followed by a GPT header")
        table, count, length, checksum = struct.unpack_from("<QIII", header, 72)
        if length < 128 or length > 4096 or count > 1024:
            raise self._malformed(f"The GPT claims {count} entries of {length} octets")
        self._check_gpt(header, self._read(table * _SECTOR, count * length), checksum)
        octets = -(-count * length // _SECTOR) * _SECTOR
        end = self._size // _SECTOR * _SECTOR
        self._reserved += [(_SECTOR, _SECTOR), (table * _SECTOR, octets), (end - octets - _SECTOR, octets + _SECTOR)]
        entries = self._read(table * _SECTOR, count * length)
        for number in range(1, len(entries) // length + 1):
            entry = entries[(number - 1) * length : number * length]
            if not any(entry[:16]):
                continue
            first, last, flags = struct.unpack_from("<QQQ", entry, 32)
            kind, own = _guid(entry[:16]), _guid(entry[16:32])
            label = entry[56:128].decode("utf-16-le", "backslashreplace").split("\0", 1)[0] or None
            size = (last + 1 - first) * _SECTOR
            yield self._partition(number, first * _SECTOR, size, kind, bool(flags & 4), own, label)

    def _check_gpt(self, header: bytes, entries: bytes, checksum: int) -> None:
        """Who finds a checksum wrong goes by the table at the end of the disk, which may say something else."""
        length, stated = struct.unpack_from("<II", header, 12)
        plain = header[:16] + bytes(4) + header[20:length]
        if not 92 <= length <= _SECTOR or zlib.crc32(plain) != stated or zlib.crc32(entries) != checksum:
            raise self._malformed("A checksum of the GPT is wrong: systems would go by its copy at the end of the disk")

    def _check_apart(self, partitions: t.Iterable[Partition]) -> None:
        """What is free in one partition would be a part of another."""
        ordered = sorted(partitions, key=lambda item: item.start)
        for one, other in zip(ordered, ordered[1:]):
            if one.start + one.size > other.start:
                raise self._malformed(f"Partitions {one.number} and {other.number} overlap")

    def _partition(
        self,
        number: int,
        start: int,
        size: int,
        kind: str,
        active: bool,
        own: str | None = None,
        label: str | None = None,
    ) -> Partition:
        if size <= 0 or start < _SECTOR or start + size > self._size:
            raise self._malformed(f"Partition {number} (octets {start} to {start + size}) is not inside the image")
        own = own or f"{self._signature}-{number:02x}"
        return Partition(number, start, size, kind, active, identify(self._read(start, min(HEAD, size))), own, label)

    def _malformed(self, why: str) -> GuestError:
        return GuestError("disk_malformed", f"{self._path}: {why}", path=self._path)


def _is_table(sector: bytes) -> bool:
    """As Linux has it: the sector of a boot loader ends with the same signature, and has something else there."""
    return sector[510:512] == b"\x55\xaa" and all(sector[at] in (0, 0x80) for at in range(446, 510, 16))


def _guid(octets: bytes) -> str:
    first, second, third = struct.unpack_from("<IHH", octets)
    return f"{first:08x}-{second:04x}-{third:04x}-{octets[8:10].hex()}-{octets[10:16].hex()}"
