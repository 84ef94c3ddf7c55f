# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clauses 1 and 2.c: the disk outside of the files: free space, swap, and what no file system is on."""

from __future__ import annotations

import re
import typing as t

from ....errors import GuestError
from ...disk.filesystems import LINUX
from ...disk.layout import Layout, Partition
from ...disk.space import Extent, Space, free_extents
from ...formats.fstab import Fstab, Mount
from ...mount.places import find_partition
from ..model import NOTE, Finding, Subject

_MIB: t.Final = 1024 * 1024
_WINDOW: t.Final = _MIB
_OVERLAP: t.Final = 512

#: What is looked for: a text that is found fast, and what has to stand around it.
_RESIDUE: t.Final = (
    ("a private key", b"PRIVATE KEY", re.compile(rb"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----")),
    *(
        (
            "the hash of a password",
            b"$" + kind + b"$",
            re.compile(rb":!{0,2}\$" + re.escape(kind) + rb"\$[./A-Za-z0-9$=,]{20,200}:"),
        )
        for kind in (b"1", b"2b", b"5", b"6", b"y", b"gy", b"7")
    ),
)
_HIDDEN: t.Final = frozenset({"11", "14", "16", "17", "1b", "1c", "1e", "12", "27", "de", "fe"})
_KNOWN: t.Final = frozenset({*LINUX, "swap", "vfat"})
#: GRUB's own partition on a GPT disk has no file system.
_LOADER: t.Final = "21686148-6449-6e6f-744e-656564454649"


def residue(subject: Subject) -> list[Finding] | None:
    """Keys and passwords in free blocks and in swap: files that were deleted, and memory that was paged out."""
    layout = subject.layout
    if layout is None or not subject.asked.free_space:
        return None
    found: list[Finding] = []
    with Space(t.cast(str, subject.disk)) as space:
        for partition in layout.partitions:
            kind = None if partition.filesystem is None else partition.filesystem.kind
            where = "Swap" if kind == "swap" else "The free space"
            for what, (count, first) in _search(space, free_extents(space, partition)).items():
                text = f"{where} of partition {partition.number} holds {what}, {count} times, first at octet {first}."
                found.append(Finding("/", text))
    return found


def _search(space: Space, extents: t.Iterable[Extent]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for begin, size in extents:
        for at, octets in space.data(begin, size, window=_WINDOW, overlap=_OVERLAP):
            # What begins in the overlap is the next window's, unless there is none.
            last = at + len(octets) >= begin + size
            end = len(octets) if last else len(octets) - _OVERLAP
            for what, quick, expression in _RESIDUE:
                if quick not in octets:
                    continue
                for match in expression.finditer(octets):
                    if match.start() < end:
                        count, first = found.get(what, (0, at + match.start()))
                        found[what] = (count + 1, min(first, at + match.start()))
    return found


def partitions(subject: Subject) -> list[Finding] | None:
    """Space of the disk, and partitions of it, that are no part of the system."""
    layout = subject.layout
    if layout is None:
        return None
    found = [*_strange(layout), *_unused(subject, layout)]
    if layout.table is None:
        return found
    with Space(t.cast(str, subject.disk)) as space:
        for begin, size, first in _gaps(layout):
            if not first and space.any_data(begin, size):
                found.append(Finding("/", f"There are data outside of every partition, from octet {begin} on."))
            elif size > 4 * _MIB:
                found.append(Finding("/", f"{size // _MIB} MiB from octet {begin} on are in no partition."))
    return found


def _gaps(layout: Layout) -> t.Iterator[tuple[int, int, bool]]:
    """Begin, size, and whether it is the first one, in which boot loaders live."""
    taken = sorted([*layout.reserved, *((item.start, item.size) for item in layout.partitions)])
    first = min((item.start for item in layout.partitions), default=layout.size)
    at = 0
    for begin, size in [*taken, (layout.size, 0)]:
        if begin > at:
            yield at, begin - at, at < first
        at = max(at, begin + size)


def _strange(layout: Layout) -> t.Iterator[Finding]:
    for item in layout.partitions:
        kind = None if item.filesystem is None else item.filesystem.kind
        if item.kind in _HIDDEN:
            yield Finding("/", f"Partition {item.number} is hidden (type {item.kind}).")
        elif kind not in _KNOWN and item.kind != _LOADER:
            yield Finding("/", f"Partition {item.number} holds {kind or 'nothing that is known'}.")


def _unused(subject: Subject, layout: Layout) -> t.Iterator[Finding]:
    octets = subject.root.read("/etc/fstab")
    if octets is None:
        return
    named = {item.number for item in (_find(layout, mount) for mount in Fstab.parse(octets).mounts) if item is not None}
    for item in layout.partitions:
        kind = None if item.filesystem is None else item.filesystem.kind
        if kind in LINUX and item.number not in named and len(layout.partitions) > 1:
            severity = NOTE if not named else None
            yield Finding("/", f"Partition {item.number} ({kind}) is not in fstab.", None, severity)


def _find(layout: Layout, mount: Mount) -> Partition | None:
    try:
        return find_partition(layout, mount)
    except GuestError:
        return None
