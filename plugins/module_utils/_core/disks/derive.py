# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an endorsed image file to the disk in the formats that a site wants, each a file of its own."""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..errors import DiskError
from ..transfer.atomic import storage_errors
from ..transfer.checksum import digest_file
from . import qemu
from .formats import MAX_UNPACKED, Format
from .headers import Disk, inspect
from .sparse import Guard
from .unpack import Unpacked, unpack


@dataclass(frozen=True)
class Derived:
    """A derived file: durable, its digest known, still in the work directory."""

    path: Path
    format: str
    size: int
    sha512: str
    virtual_size: int


def derive(
    source: Path,
    stated: Format,
    wanted: t.Sequence[str],
    work: Path,
    *,
    most: int = MAX_UNPACKED,
    guard: t.Optional[Guard] = None,
) -> t.Iterator[Derived]:
    """Make the disk in `source` (of the `stated` format) in each `wanted` format, one after the other, in `work`.

    It is unpacked once. The header of what is found is checked before anything else opens it (`headers.inspect`), and
    that of what is made, too. A file may be renamed away before the next one is asked for. Raises what `unpack`,
    `inspect` and `qemu.convert` raise, and ``unpacked_too_large`` for a disk of more than `most` octets.
    """
    found = unpack(source, stated, work, most=most, guard=guard)
    disk = inspect(found.path, found.format)
    if disk.virtual_size > most:
        raise DiskError(
            "unpacked_too_large", f"{source} is a disk of {disk.virtual_size} octets, and {most} is the most.", cap=most
        )
    # What needs no conversion comes last: the file it is made of is the source of the others.
    for name in sorted(wanted, key=lambda name: name == found.format):
        yield _same(found, disk, work) if name == found.format else _converted(found.path, disk, name, work, guard)


def _same(found: Unpacked, disk: Disk, work: Path) -> Derived:
    """The unpacked disk itself."""
    if found.sha512 is None:
        raise DiskError("internal_error", f"{found.path} is of this format already.")
    target = work / f"image.{disk.format}"
    found.path.rename(target)
    return Derived(target, disk.format, target.stat().st_size, found.sha512, disk.virtual_size)


def _converted(path: Path, disk: Disk, wanted: str, work: Path, guard: t.Optional[Guard]) -> Derived:
    target = work / f"image.{wanted}"
    try:
        qemu.convert(path, disk, target, wanted, guard=guard)
        made = inspect(target, wanted)
        _make_durable(target)
        digest = digest_file(target, follow=False)
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink()
        raise
    return Derived(target, wanted, digest.size, digest.sha512, made.virtual_size)


def _make_durable(path: Path) -> None:
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.fchmod(descriptor, 0o644)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
