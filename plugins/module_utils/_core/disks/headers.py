# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a disk image says of itself, read from its header and believed in nothing: before any other program opens it.

An image may name further files that a program which opens it would read as well: a backing file, external data,
extents. Such an image is not what was endorsed, since those files are this host's; all of them are refused here.
Sources: that of `qcow2`; VMware Virtual Disk Format 5.0; Microsoft's VHD specification 1.0; QEMU
block/vdi.c, block/vmdk.c and block/vpc.c for what is followed in practice.
"""

from __future__ import annotations

import os
import stat
import struct
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..errors import TransferError
from ..transfer.atomic import storage_errors
from . import qcow2, vmdk
from .window import Window

SECTOR: t.Final = 512

_VDI_SIGNATURE: t.Final = struct.pack("<I", 0xBEDA107F)
_VDI_AT: t.Final = 0x40
_VHD_COOKIE: t.Final = b"conectix"
_VHD_FOOTER: t.Final = struct.Struct(">8sIIQI4sIIQQHBBII")
_VHD_KINDS: t.Final = {2: "fixed", 3: "dynamic"}
_VHD_DIFFERENCING: t.Final = 4
_VHD_LARGEST: t.Final = (65535, 16, 255)


@dataclass(frozen=True)
class Disk:
    """A disk image that is whole by itself: its format, and the octets that a guest sees."""

    format: str
    virtual_size: int


def inspect(path: Path, kind: str) -> Disk:
    """Check that the file at `path` is a disk of the format `kind` (one of `formats.WANTED`), and whole by itself.

    Raises DiskError: ``format_mismatch backing_file external_file disk_unsupported disk_damaged``, and TransferError
    ``not_found not_readable``.
    """
    with storage_errors(path, reading=True):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise TransferError("not_readable", f"{path} is no regular file", path=str(path))
            window = Window(descriptor, found.st_size, str(path))
            virtual_size = _CHECKS[kind](window)
        finally:
            os.close(descriptor)
    return Disk(kind, virtual_size)


def _raw(window: Window) -> int:
    """Any octets; but what begins like another format was stated wrongly, and would be taken for that by others."""
    for name, begins in _BEGINNINGS.items():
        if begins(window):
            raise window.mismatch("raw", f"it is {name}")
    return window.size


def _qcow2(window: Window) -> int:
    head = qcow2.read(window)
    if head.backing is not None:
        raise window.refuse("backing_file", f"names the backing file {head.backing!a}")
    if head.backing_format is not None:
        raise window.refuse("backing_file", "states the format of a backing file")
    return head.virtual_size


def _vdi(window: Window) -> int:
    if not _is_vdi(window):
        raise window.mismatch("vdi", "it does not begin like one")
    kind = window.unpack(struct.Struct("<I"), 0x4C)[0]
    if kind not in (1, 2):
        raise window.refuse("backing_file", "holds only differences to another image")
    if any(window.read(0x1A8, 32)):
        raise window.refuse("backing_file", "names another image that it is based on")
    return int(window.unpack(struct.Struct("<Q"), 0x170)[0])


def _vhd(window: Window) -> int:
    places = [at for at in (0, window.size - SECTOR) if at >= 0 and window.read(at, 8) == _VHD_COOKIE]
    if not places:
        raise window.mismatch("vhd", "it has no footer of one")
    sizes = []
    for at in places:
        fields = window.unpack(_VHD_FOOTER, at)
        size, cylinders, heads, sectors, kind = fields[9], fields[10], fields[11], fields[12], fields[13]
        if kind == _VHD_DIFFERENCING:
            raise window.refuse("backing_file", "holds only differences to another image")
        if kind not in _VHD_KINDS:
            raise window.refuse("disk_unsupported", f"is of the unknown type {kind}")
        # Programs take the one or the other for the size, unless the geometry is the largest there is.
        geometry = (cylinders, heads, sectors)
        sizes.append(size if geometry == _VHD_LARGEST else max(size, cylinders * heads * sectors * SECTOR))
    return int(max(sizes))


def _is_vdi(window: Window) -> bool:
    return window.read(_VDI_AT, 4) == _VDI_SIGNATURE


def _is_vhd(window: Window) -> bool:
    return window.read(0, 8) == _VHD_COOKIE


_CHECKS: t.Final[t.Mapping[str, t.Callable[[Window], int]]] = {
    "raw": _raw,
    "qcow2": _qcow2,
    "vmdk": vmdk.check,
    "vdi": _vdi,
    "vhd": _vhd,
}
#: A fixed VHD has its only mark at the end, where a raw disk may have anything.
_BEGINNINGS: t.Final[t.Mapping[str, t.Callable[[Window], bool]]] = {
    "qcow2": qcow2.begins,
    "vmdk": vmdk.begins,
    "vdi": _is_vdi,
    "vhd": _is_vhd,
    # No site wants these, and programs know them all the same.
    "qed": lambda window: window.read(0, 4) == b"QED\0",
    "vhdx": lambda window: window.read(0, 8) == b"vhdxfile",
    "parallels": lambda window: window.read(0, 16) in (b"WithoutFreeSpace", b"WithouFreSpacExt"),
}
