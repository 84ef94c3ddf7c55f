# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMDK: a header, and a text inside that may name other files, which some programs believe before the header."""

from __future__ import annotations

import re
import struct
import typing as t

from .window import Window

_MAGIC: t.Final = b"KDMV"
_OLD_MAGIC: t.Final = b"COWD"
_DESCRIPTOR: t.Final = b"# Disk DescriptorFile"
#: magic, version, flags, capacity, grain, descriptor offset and size, grain tables, redundant and first directory
_HEAD: t.Final = struct.Struct("<4sIIQQQQIQQQB4sH")
_SECTOR: t.Final = 512
_AT_END: t.Final = 0xFFFFFFFFFFFFFFFF
#: QEMU reads this much of the descriptor; a longer one is cut there, and not by us.
_MOST: t.Final = 1024 * 1024
#: As scanf, by which programs read it, takes white space and numbers; lines of nothing else are left to themselves.
_EXTENT: t.Final = re.compile(rb"^[ \t\r\v\f]*(RW|RDONLY|NOACCESS)\s+[+-]?[0-9]+\s+([A-Z]+)", re.MULTILINE)
_PARENT: t.Final = re.compile(rb"parentCID[ \t]*=[ \t]*([0-9a-fA-F]+)")
_NO_PARENT: t.Final = 0xFFFFFFFF


def begins(window: Window) -> bool:
    """Whether the file begins like a VMDK, of any kind."""
    return window.read(0, 4) in (_MAGIC, _OLD_MAGIC) or _is_text(window)


def check(window: Window) -> int:
    """The size of the disk; refuses what is not one sparse extent in this very file (see `headers.inspect`)."""
    if _is_text(window):
        raise window.refuse("external_file", "is a descriptor, whose extents are other files")
    if window.read(0, 4) == _OLD_MAGIC:
        raise window.refuse("disk_unsupported", "is of the old kind for ESX")
    if window.read(0, 4) != _MAGIC:
        raise window.mismatch("vmdk", "it does not begin like one")
    head = _Head(window, 0)
    heads = [head]
    if head.directory == _AT_END:
        # A stream has its true header at its end, three sectors long; programs believe that one.
        if window.size % _SECTOR:
            raise window.refuse("disk_damaged", "does not end with a sector: programs would look elsewhere for it")
        heads.append(_Head(window, window.size - 2 * _SECTOR))
    for one in heads:
        if one.magic != _MAGIC:
            raise window.refuse("disk_damaged", "is a stream without its header at the end")
        if one.capacity == 0:
            raise window.refuse("external_file", "leaves its size, and its extents, to a descriptor")
        for at, size in ((one.text_at * _SECTOR, one.text_size * _SECTOR), (_SECTOR, 20 * _SECTOR)):
            # QEMU looks for the parent in the second sector and those behind it, whatever the header says.
            _check_text(window, window.read(at, min(size, _MOST)) if at else b"")
    if len({one.capacity for one in heads}) != 1:
        raise window.refuse("disk_damaged", "states two sizes")
    return head.capacity * _SECTOR


class _Head:
    def __init__(self, window: Window, at: int) -> None:
        fields = window.unpack(_HEAD, at)
        self.magic: bytes = fields[0]
        self.capacity: int = fields[3]
        self.text_at: int = fields[5]
        self.text_size: int = fields[6]
        self.directory: int = fields[9]


def _is_text(window: Window) -> bool:
    # QEMU passes over comments and empty lines until it finds a line with the version.
    beginning = window.read(0, 2048)
    if beginning[:4] in (_MAGIC, _OLD_MAGIC):
        return False
    return beginning.startswith(_DESCRIPTOR) or (
        beginning.lstrip(b"# \t\r\n")[:8] == b"version=" or (b"\nversion=" in beginning and b"createType" in beginning)
    )


def _check_text(window: Window, octets: bytes) -> None:
    text = octets.split(b"\0", 1)[0]
    parent = _PARENT.search(text)
    if b"parentFileNameHint" in text or (parent and int(parent.group(1), 16) != _NO_PARENT):
        raise window.refuse("backing_file", "names another image that it is based on")
    extents = [match.group(2) for match in _EXTENT.finditer(text)]
    if len(extents) > 1 or any(kind != b"SPARSE" for kind in extents):
        raise window.refuse("external_file", "names extents outside of itself")
