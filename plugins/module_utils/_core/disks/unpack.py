# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From an image file as it was endorsed to the bare disk: decompressed, and taken out of its archive."""

from __future__ import annotations

import contextlib
import os
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..transfer.atomic import storage_errors
from . import archive
from .compression import decompressed
from .formats import MAX_UNPACKED, Format
from .sparse import Guard, SparseFile

#: What grows more than this when it is unpacked is a bomb, unless it stays small: real disks grow by 3 to 100.
RATIO: t.Final = 2000
SMALL: t.Final = 64 * 1024 * 1024

_OPEN: t.Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Unpacked:
    """The bare disk at `path`, with its format; `sha512` of what was written; None where the file itself is it."""

    path: Path
    format: str
    sha512: t.Optional[str]


def unpack(
    source: Path, stated: Format, work: Path, *, most: int = MAX_UNPACKED, guard: t.Optional[Guard] = None
) -> Unpacked:
    """Unpack `source`, which is of the `stated` format, into the empty directory `work`; a plain one stays where it is.

    No step writes more than `most` octets, nor more than `RATIO` times the size of `source` (if that is more than
    `SMALL`), however many wrappings there are.
    Raises DiskError ``unpack_failed unpacked_too_large archive_disks archive_unsafe library_missing``, TransferError
    ``not_readable disk_full not_writable``, and what `guard` raises.
    """
    path, sha512, format_ = source, None, stated
    with _opened(source) as stream:
        cap = _cap(os.fstat(stream.fileno()).st_size, most)
    if format_.compression is not None:
        inside = Format(format_.disk, format_.archive)
        target = work / ("archive" if format_.archive else "disk")
        with _opened(path) as stream:
            octets = decompressed(stream, format_.compression, str(source))
            sha512 = _write(octets, target, cap, source, guard)
        path, format_ = target, inside
    if format_.archive is None:
        return Unpacked(path, format_.disk or "raw", sha512)
    with _opened(path) as stream, archive.opened(stream, str(source)) as tar:
        member, inner = archive.find_disk(tar, str(source))
        target = work / "member"
        octets = archive.pieces(archive.reader(tar, member, str(source)), member.size, str(source))
        if inner.compression is not None:
            octets = decompressed(archive.reader(tar, member, str(source)), inner.compression, str(source))
        sha512 = _write(octets, target, cap, source, guard)
    if path != source:
        path.unlink()
    return Unpacked(target, inner.disk or "raw", sha512)


def _cap(size: int, most: int) -> int:
    return min(most, max(SMALL, RATIO * size))


def _write(octets: t.Iterator[bytes], target: Path, cap: int, source: Path, guard: t.Optional[Guard]) -> str:
    with SparseFile(target, cap=cap, shown=str(source), guard=guard) as file:
        for piece in octets:
            file.write(piece)
        file.finish()
    return file.sha512


@contextlib.contextmanager
def _opened(path: Path) -> t.Iterator[t.BinaryIO]:
    with storage_errors(path, reading=True):
        descriptor = os.open(path, _OPEN)
    with os.fdopen(descriptor, "rb") as stream:
        yield stream
