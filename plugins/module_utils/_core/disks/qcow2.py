# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of a qcow2 disk as it stands in the file; who reads it decides what may be.

Source: QEMU docs/interop/qcow2.rst.
"""

from __future__ import annotations

import os
import struct
import typing as t
from dataclasses import dataclass

from .window import Window

_MAGIC: t.Final = b"QFI\xfb"
_HEAD2: t.Final = struct.Struct(">4sIQIIQIIQQIIQ")
_HEAD3: t.Final = struct.Struct(">QQQII")
_EXTENSION: t.Final = struct.Struct(">II")
_CORRUPT, _EXTERNAL = 2, 4
#: What QEMU knows: dirty, corrupt, external data, compression type, extended L2 entries.
_KNOWN_FEATURES: t.Final = 0b11111
_BACKING_FORMAT: t.Final = 0xE2792ACA
_DATA_FILE: t.Final = 0x44415441
_LUKS: t.Final = 0x0537BE77
_LONGEST_NAME: t.Final = 1023
_LONGEST_FORMAT: t.Final = 64
#: There are seven kinds.
_MOST_EXTENSIONS: t.Final = 64


@dataclass(frozen=True)
class Head:
    """What a qcow2 disk says of itself: the octets that a guest sees, and which other file it lies on.

    `backing` is that file's name as it stands there, `backing_format` how it is to be read; None where not stated.
    """

    virtual_size: int
    backing: str | None
    backing_format: str | None


def begins(window: Window) -> bool:
    """Whether the file begins like one, of whatever version."""
    return window.read(0, 4) == _MAGIC


def read(window: Window) -> Head:
    """The header; DiskError ``format_mismatch external_file disk_unsupported disk_damaged``."""
    if not begins(window):
        raise window.mismatch("qcow2", "it does not begin like one")
    (_magic, version, backing_at, backing_size, cluster_bits, size, crypt, _l1, _l1_at, _ref_at, _ref, _snaps, _at) = (
        window.unpack(_HEAD2, 0)
    )
    if version not in (2, 3):
        raise window.mismatch("qcow2", f"it has version {version}")
    if crypt:
        raise window.refuse("disk_unsupported", "is encrypted")
    if not 9 <= cluster_bits <= 21:
        raise window.refuse("disk_damaged", f"has clusters of 2^{cluster_bits} octets")
    length = _HEAD2.size
    if version == 3:
        incompatible, _compatible, _auto, _order, length = window.unpack(_HEAD3, _HEAD2.size)
        if incompatible & _EXTERNAL:
            raise window.refuse("external_file", "keeps its data in another file")
        if incompatible & _CORRUPT:
            raise window.refuse("disk_damaged", "is marked as corrupt")
        if incompatible & ~_KNOWN_FEATURES:
            raise window.refuse("disk_unsupported", f"needs unknown features ({incompatible:#x})")
    # They end where the name of the backing file begins: what looks like one behind it is none for others.
    stated = _extensions(window, length, backing_at or 1 << cluster_bits)
    return Head(int(size), _name(window, backing_at, backing_size), stated)


def _extensions(window: Window, at: int, end: int) -> str | None:
    """The format of the backing file, if an extension states it."""
    stated = None
    for _number in range(_MOST_EXTENSIONS):
        if at + _EXTENSION.size > min(end, window.size):
            return stated
        kind, length = window.unpack(_EXTENSION, at)
        if kind == 0:
            return stated
        if kind == _DATA_FILE:
            raise window.refuse("external_file", "names an external data file")
        if kind == _LUKS:
            raise window.refuse("disk_unsupported", "is encrypted")
        if kind == _BACKING_FORMAT:
            if stated is not None or length > _LONGEST_FORMAT:
                raise window.refuse("disk_damaged", "states the format of its backing file twice, or at length")
            stated = window.read(at + _EXTENSION.size, length).decode("ascii", "replace")
        at += _EXTENSION.size + (length + 7) // 8 * 8
    raise window.refuse("disk_damaged", f"has more than {_MOST_EXTENSIONS} extensions of its header")


def _name(window: Window, at: int, length: int) -> str | None:
    if not at and not length:
        return None
    name = window.read(at, length) if length <= _LONGEST_NAME else b""
    if len(name) != length or not name:
        raise window.refuse("disk_damaged", "has no readable name of its backing file")
    return os.fsdecode(name)
