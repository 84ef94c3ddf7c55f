# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A02: file systems are found by what is on them, not by where their disk is attached."""

from __future__ import annotations

import re
import typing as t

from ...boot.devices import depends_on_the_hypervisor
from ...boot.survey import Disk
from ...disk.filesystems import FileSystem
from ...formats.fstab import Fstab
from ...root.draft import Draft
from ..wishes import Note

_NUMBER: t.Final = re.compile(r"([0-9]+)\Z")
_FSTAB: t.Final = "/etc/fstab"


def plan_disks(draft: Draft, disk: Disk | None) -> tuple[Note, ...]:
    """Plan the lines of fstab; returns what cannot be named otherwise. Raises `GuestError`."""
    document = Fstab.parse(draft.read(_FSTAB) or b"")
    notes: list[Note] = []
    for mount in document.mounts:
        if not depends_on_the_hypervisor(mount.source):
            continue
        name = lasting_name(mount.source, disk)
        if name is None:
            notes.append(_unknown(mount.source))
        else:
            document = document.with_source(mount, name)
            why = f"{mount.source} has another name under another hypervisor."
            draft.change(_FSTAB, document.dump(), "A02", why)
    return tuple(notes)


def lasting_name(source: str, disk: Disk | None) -> str | None:
    """``LABEL=...`` or ``UUID=...`` for a name such as /dev/vda2; None when that cannot be told."""
    number = _NUMBER.search(source)
    if disk is None or number is None:
        return None
    found = [item.filesystem for item in disk.layout.partitions if item.filesystem is not None]
    own = next((item.filesystem for item in disk.layout.partitions if item.number == int(number[1])), None)
    if own is None:
        return None
    return _name(own, found)


def _name(own: FileSystem, others: list[FileSystem]) -> str | None:
    labels = [item.label for item in others]
    if own.label and re.fullmatch(r"[A-Za-z0-9_./-]+", own.label) and labels.count(own.label) == 1:
        return f"LABEL={own.label}"
    uuids = [item.uuid for item in others]
    return f"UUID={own.uuid}" if own.uuid and uuids.count(own.uuid) == 1 else None


def _unknown(source: str) -> Note:
    return Note("A02", f"{source} cannot be named by its label: the disk is not known, or has no label or UUID there.")
