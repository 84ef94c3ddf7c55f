# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which partition a name speaks of that a system has for it in its fstab, or among its kernel's arguments.

Source: fstab(5), and systemd's 60-persistent-storage.rules for /dev/disk.
"""

from __future__ import annotations

import re
import typing as t

from .layout import Layout, Partition

_TAGS: t.Final = ("LABEL", "UUID", "PARTLABEL", "PARTUUID")
_LINK: t.Final = re.compile(r"/dev/disk/by-(label|uuid|partlabel|partuuid)/(.+)", re.DOTALL)
#: How udev writes a character of a label that a file cannot be called by.
_ESCAPE: t.Final = re.compile(r"\\x([0-9a-fA-F]{2})")


def tag_of(source: str) -> tuple[str, str] | None:
    """What the source is found by, wherever it is attached, and its value; None for another name."""
    name, equals, value = source.partition("=")
    if equals and name in _TAGS:
        return name, value.strip("\"'")
    match = _LINK.fullmatch(source)
    if match is None:
        return None
    return match[1].upper(), _ESCAPE.sub(lambda found: chr(int(found[1], 16)), match[2])


def find(layout: Layout, tag: tuple[str, str]) -> tuple[Partition, ...]:
    """Every partition that is found by that."""
    name, value = tag
    return tuple(item for item in layout.partitions if _is_it(item, name, value))


def _is_it(item: Partition, name: str, value: str) -> bool:
    if name == "PARTUUID":
        return (item.uuid or "").lower() == value.lower()
    if name == "PARTLABEL":
        return item.label == value
    if item.filesystem is None:
        return False
    if name == "LABEL":
        return item.filesystem.label == value
    return (item.filesystem.uuid or "").lower() == value.lower()
