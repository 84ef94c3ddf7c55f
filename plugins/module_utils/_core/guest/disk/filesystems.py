# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What file system octets hold, by its superblock: kind, label and UUID, read without mounting anything."""

from __future__ import annotations

import struct
import typing as t
import uuid
from dataclasses import dataclass

#: Every superblock that is looked at lies in these octets.
HEAD: t.Final = 0x10000 + 4096

#: Kinds that hold a system or a part of one, and that are mounted.
LINUX: t.Final = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs"})

_JOURNAL, _RECOVER, _JOURNAL_DEVICE = 0x4, 0x4, 0x8
_EXT4_FEATURES: t.Final = 0x40 | 0x80 | 0x200 | 0x400 | 0x8000


@dataclass(frozen=True)
class FileSystem:
    """`version` is that of the format where it matters to a boot loader; `dirty`: its journal is to be replayed."""

    kind: str
    label: str | None = None
    uuid: str | None = None
    dirty: bool = False
    version: int | None = None

    def as_dict(self) -> dict[str, t.Any]:
        return {"kind": self.kind, "label": self.label, "uuid": self.uuid, "dirty": self.dirty}


def identify(head: bytes) -> FileSystem | None:
    """The file system whose first octets (`HEAD` of them, or all) these are; None when it is none that is known."""
    for look in (_ext, _xfs, _btrfs, _swap, _others, _fat):
        found = look(head)
        if found is not None:
            return found
    return None


def _ext(head: bytes) -> FileSystem | None:
    if head[1080:1082] != b"\x53\xef":
        return None
    compatible, incompatible, read_only = struct.unpack_from("<III", head, 1024 + 92)
    if incompatible & _JOURNAL_DEVICE:
        return None
    modern = incompatible & _EXT4_FEATURES or read_only & 0x478
    kind = "ext4" if modern else "ext3" if compatible & _JOURNAL else "ext2"
    dirty = bool(incompatible & _RECOVER)
    return FileSystem(kind, _text(head[1144:1160]), _uuid(head[1128:1144]), dirty)


def _xfs(head: bytes) -> FileSystem | None:
    if head[:4] != b"XFSB":
        return None
    version = struct.unpack_from(">H", head, 100)[0] & 0xF if len(head) > 102 else None
    return FileSystem("xfs", _text(head[108:120]), _uuid(head[32:48]), version=version)


def _btrfs(head: bytes) -> FileSystem | None:
    if head[0x10040:0x10048] != b"_BHRfS_M":
        return None
    return FileSystem("btrfs", _text(head[0x1012B : 0x1012B + 256]), _uuid(head[0x10020:0x10030]))


def _swap(head: bytes) -> FileSystem | None:
    for page in (4096, 8192, 16384, 65536):
        if head[page - 10 : page] in (b"SWAPSPACE2", b"SWAP-SPACE"):
            return FileSystem("swap", _text(head[1052:1068]), _uuid(head[1036:1052]))
    return None


def _others(head: bytes) -> FileSystem | None:
    if any(head[at : at + 8] == b"LABELONE" and head[at + 24 : at + 32] == b"LVM2 001" for at in (0, 512, 1024, 1536)):
        return FileSystem("lvm")
    if head[:6] == b"LUKS\xba\xbe":
        return FileSystem("luks")
    if head[0x8001:0x8006] == b"CD001":
        return FileSystem("iso9660", _text(head[0x8028:0x8048].rstrip()))
    return None


def _fat(head: bytes) -> FileSystem | None:
    if head[510:512] != b"\x55\xaa":
        return None
    for kind, serial, label in ((82, 67, 71), (54, 39, 43)):
        if head[kind : kind + 3] == b"FAT":
            number = head[serial : serial + 4][::-1].hex().upper()
            name = _text(head[label : label + 11].rstrip())
            return FileSystem("vfat", None if name == "NO NAME" else name, f"{number[:4]}-{number[4:]}")
    return None


def _text(octets: bytes) -> str | None:
    return octets.split(b"\x00", 1)[0].decode("utf-8", "backslashreplace") or None


def _uuid(octets: bytes) -> str | None:
    return str(uuid.UUID(bytes=octets)) if len(octets) == 16 and any(octets) else None
