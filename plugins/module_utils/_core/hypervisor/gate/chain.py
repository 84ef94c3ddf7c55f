# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a hypervisor would open for a disk: the disk itself, and what an overlay lies on, down to the end.

The headers are read here, by no other program, and nothing is guessed: a format that is not stated is a refusal.
Sources: that of `disks.qcow2`; QEMU block.c for how the name of a backing file is understood.
"""

from __future__ import annotations

import os
import stat
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ...disks import qcow2
from ...disks.window import Window
from ...errors import HypervisorError
from ...transfer.atomic import storage_errors
from .domain import Disk, Layer

#: Sites have chains of one to three.
DEEPEST: t.Final = 16


@dataclass(frozen=True)
class Link:
    """One file or device of a chain: its name as somebody gave it, where that leads, its format and its status;
    `backing` is the name and format that its header gives for what it lies on, the name made absolute."""

    named: str
    real: Path
    format: str
    status: os.stat_result
    backing: Layer | None = None

    def is_same(self, other: os.stat_result) -> bool:
        """Whether `other` is the status of this file or device."""
        if stat.S_ISBLK(self.status.st_mode):
            return stat.S_ISBLK(other.st_mode) and self.status.st_rdev == other.st_rdev
        return (self.status.st_dev, self.status.st_ino) == (other.st_dev, other.st_ino)


def follow(disk: Disk) -> tuple[Link, ...]:
    """The chain of a disk, the disk itself first.

    Raises `HypervisorError` ``chain_refused``, `DiskError` ``format_mismatch external_file disk_unsupported
    disk_damaged``, `TransferError` ``not_found not_readable``.
    """
    links: list[Link] = []
    here = Layer(disk.path, disk.format)
    told = list(disk.below)
    while True:
        link = _look(here)
        if any(link.is_same(former.status) for former in links):
            raise refused(f"{disk.path} lies, in the end, on itself ({link.named})")
        links.append(link)
        if len(links) > DEEPEST:
            raise refused(f"{disk.path} lies on more than {DEEPEST} files")
        stated = told.pop(0) if told else None
        _compare(link, stated, ends=disk.ends and not told)
        if link.backing is None:
            return tuple(links)
        here = _next(link, link.backing, stated)


def refused(why: str) -> HypervisorError:
    """The refusal of a chain."""
    return HypervisorError("chain_refused", why)


def _look(layer: Layer) -> Link:
    path, kind = layer.path, layer.format or ""
    real = Path(os.path.realpath(path))
    with storage_errors(path, reading=True):
        # Looked at first: to open a device or a pipe may already do something.
        _require_disk(path, os.lstat(real))
        descriptor = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            _require_disk(path, status)
            size = os.lseek(descriptor, 0, os.SEEK_END)
            backing = _backing(Window(descriptor, size, path), path) if kind == "qcow2" else None
        finally:
            os.close(descriptor)
    return Link(path, real, kind, status, backing)


def _require_disk(path: str, status: os.stat_result) -> None:
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
        raise refused(f"{path} is neither a file nor a block device")


def _backing(window: Window, path: str) -> Layer | None:
    head = qcow2.read(window)
    if head.backing is None:
        return None
    name = head.backing
    if not name.isprintable():
        raise refused(f"{path} lies on a file whose name is not printable ({name!a})")
    # What stands before a colon is a protocol for QEMU: json:, nbd:, file: ...
    if ":" in name.partition("/")[0]:
        raise refused(f"{path} lies on {name}, which is no plain file name")
    # As it stands there: what ".." leads to depends on the links before it, and is not for us to shorten.
    return Layer(_joined(path, name), head.backing_format)


def _joined(path: str, name: str) -> str:
    """A relative name is looked for beside the overlay, by whatever name that was opened."""
    beside = str(Path(path).parent / name)
    if Path(name).is_absolute() or os.path.realpath(beside) == os.path.realpath(
        Path(os.path.realpath(path)).parent / name
    ):
        return beside
    raise refused(f"{path} is a symbolic link, and what lies below depends on whether it is followed first")


def _compare(link: Link, stated: Layer | None, *, ends: bool) -> None:
    """What the domain states beats, for libvirt, what the header says: they must agree."""
    if stated is None:
        if ends and link.backing is not None:
            raise refused(f"{link.named} lies on {link.backing.path}, but the domain says that it lies on nothing")
        return
    if link.backing is None:
        raise refused(f"The domain says that {link.named} lies on {stated.path or 'something'}, but it does not")
    if not stated.path.startswith("/") or os.path.realpath(stated.path) != os.path.realpath(link.backing.path):
        shown = stated.path or "something that is no file"
        raise refused(f"{link.named} lies on {link.backing.path}, but the domain says {shown}")
    if stated.format and link.backing.format and stated.format != link.backing.format:
        raise refused(
            f"{link.backing.path} is {link.backing.format} for the overlay on it, but {stated.format} for the domain"
        )


def _next(link: Link, backing: Layer, stated: Layer | None) -> Layer:
    kind = backing.format or (stated.format if stated is not None else None)
    if not kind:
        raise refused(f"{link.named} lies on {backing.path} and does not tell its format")
    return Layer(backing.path, kind)
