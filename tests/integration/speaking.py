# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest of one sector: it says on the serial line that it is up, and halts.

A disk image in a second, where a whole system takes half a minute; it proves that firmware, disk and console are as
they must be. Of its other disks it sees none: libvirt has the firmware start those only that are booted from.
"""

from __future__ import annotations

import struct
import typing as t

UP: t.Final = "the guest is up"

_LOADED: t.Final = 0x7C00


def boot_sector() -> bytes:
    """512 octets that any BIOS starts."""
    text = f"{UP}\r\n\0".encode()
    # Segments and stack; then octet after octet to the first serial port; halt, and again after each interrupt.
    begin = b"\xfa\x31\xc0\x8e\xd8\x8e\xd0\xbc" + struct.pack("<H", _LOADED)
    end = b"\xac\x84\xc0\x74\x06\xba\xf8\x03\xee\xeb\xf5\xf4\xeb\xfd"
    at = _LOADED + len(begin) + 3 + len(end)
    code = begin + b"\xbe" + struct.pack("<H", at) + end
    return (code + text).ljust(510, b"\0") + b"\x55\xaa"


def image(size: int = 1024 * 1024) -> bytes:
    """A raw disk image that is started."""
    return boot_sector().ljust(size, b"\0")
