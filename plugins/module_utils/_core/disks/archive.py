# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OVA and tar: the one disk that an archive holds. Nothing is ever written under a name from inside an archive."""

from __future__ import annotations

import tarfile
import typing as t

from ..errors import DiskError
from .compression import PIECE
from .formats import Format, of_member

#: An archive of images has a handful of members; a million of empty ones is an attack.
MAX_MEMBERS: t.Final = 1000


def find_disk(archive: tarfile.TarFile, shown: str) -> tuple[tarfile.TarInfo, Format]:
    """The member that is the disk, and its format by the ending of its name.

    Raises DiskError ``archive_disks`` unless there is exactly one, ``archive_unsafe`` for names that lead outside and
    for members that are neither files nor directories, ``unpack_failed`` for a damaged archive.
    """
    found: list[tuple[tarfile.TarInfo, Format]] = []
    for number, member in enumerate(members(archive, shown), 1):
        if number > MAX_MEMBERS:
            raise DiskError("archive_unsafe", f"{shown} has more than {MAX_MEMBERS} members.", path=shown)
        _require_plain(member, shown)
        format_ = of_member(member.name) if member.isreg() else None
        if format_ is not None:
            found.append((member, format_))
    if len(found) != 1:
        names = ", ".join(ascii(member.name) for member, _format in found[:5]) or "none"
        raise DiskError("archive_disks", f"{shown} holds {len(found)} disks ({names}), and not one.", path=shown)
    return found[0]


def opened(stream: t.BinaryIO, shown: str) -> tarfile.TarFile:
    """The archive in a seekable stream; ``unpack_failed``."""
    try:
        return tarfile.open(fileobj=stream, mode="r:")
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise _damaged(error, shown) from error


def members(archive: tarfile.TarFile, shown: str) -> t.Iterator[tarfile.TarInfo]:
    """The members, one by one; ``unpack_failed`` where the archive is damaged."""
    while True:
        try:
            member = archive.next()
        except (tarfile.TarError, EOFError, OSError, ValueError, OverflowError) as error:
            raise _damaged(error, shown) from error
        if member is None:
            return
        yield member


def reader(archive: tarfile.TarFile, member: tarfile.TarInfo, shown: str) -> t.BinaryIO:
    """The octets of a member."""
    stream = archive.extractfile(member)
    if stream is None:
        raise DiskError("archive_unsafe", f"{shown}: {member.name!a} is no file.", path=shown)
    return t.cast("t.BinaryIO", stream)


def pieces(stream: t.BinaryIO, size: int, shown: str) -> t.Iterator[bytes]:
    """All octets of a member of `size` octets; ``unpack_failed`` where the archive ends before."""
    done = 0
    while done < size:
        try:
            piece = stream.read(min(PIECE, size - done))
        except (tarfile.TarError, EOFError, OSError) as error:
            raise _damaged(error, shown) from error
        if not piece:
            raise DiskError("unpack_failed", f"{shown} ends within a member.", path=shown)
        done += len(piece)
        yield piece


def _require_plain(member: tarfile.TarInfo, shown: str) -> None:
    name = member.name
    if name.startswith("/") or ".." in name.split("/") or "\\" in name or not name.isprintable():
        raise DiskError("archive_unsafe", f"{shown} has a member {name!a}, which leads outside.", path=shown)
    if not (member.isreg() or member.isdir()):
        raise DiskError(
            "archive_unsafe", f"{shown} has a member {name!a} that is neither file nor directory.", path=shown
        )


def _damaged(error: Exception, shown: str) -> DiskError:
    return DiskError("unpack_failed", f"{shown} is no intact archive: {error}.", path=shown)
