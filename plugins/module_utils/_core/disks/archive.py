# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OVA and tar: the one disk that an archive holds. Nothing is ever written under a name from inside an archive."""

from __future__ import annotations

import contextlib
import tarfile
import typing as t

from ..errors import DiskError, VmimagesError
from ..transfer.atomic import storage_errors
from .compression import PIECE
from .formats import Format, of_member

#: An archive of images has a handful of members; a million of empty ones is an attack.
MAX_MEMBERS: t.Final = 1000
#: Octets of all headers of an archive, and of one of their parts: the library reads as many as the archive tells it to.
MAX_HEADERS: t.Final = 4 * 1024 * 1024
MAX_HEADER: t.Final = 64 * 1024


class _Bounded:
    """An archive's octets for the library, which takes the sizes of headers from the archive, and keeps all of them."""

    def __init__(self, stream: t.BinaryIO, shown: str) -> None:
        self._stream = stream
        self._shown = shown
        self._left: t.Optional[int] = MAX_HEADERS

    def end_of_headers(self) -> None:
        """What is read from now on is the content of a member."""
        self._left = None

    def read(self, size: int = -1) -> bytes:
        if self._left is not None:
            # What is asked for counts, and not what comes: at the end of the file nothing does, again and again.
            self._left -= size
            if self._left < 0 or not 0 <= size <= MAX_HEADER:
                raise DiskError("archive_unsafe", f"{self._shown} has monstrous headers.", path=self._shown)
        with storage_errors(self._shown, reading=True):
            return self._stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        with storage_errors(self._shown, reading=True):
            return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


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
    with _damages(shown):
        return tarfile.open(fileobj=t.cast("t.BinaryIO", _Bounded(stream, shown)), mode="r:")


def members(archive: tarfile.TarFile, shown: str) -> t.Iterator[tarfile.TarInfo]:
    """The members, one by one; ``unpack_failed`` where the archive is damaged."""
    while True:
        with _damages(shown):
            member = archive.next()
        if member is None:
            return
        # Each keeps a copy of all that was stated for the whole archive.
        archive.members.clear()  # type: ignore[attr-defined]
        yield member


def reader(archive: tarfile.TarFile, member: tarfile.TarInfo, shown: str) -> t.BinaryIO:
    """The octets of a member; the headers have been read before."""
    t.cast("_Bounded", archive.fileobj).end_of_headers()
    stream = archive.extractfile(member)
    if stream is None:
        raise DiskError("archive_unsafe", f"{shown}: {member.name!a} is no file.", path=shown)
    return t.cast("t.BinaryIO", stream)


def pieces(stream: t.BinaryIO, size: int, shown: str) -> t.Iterator[bytes]:
    """All octets of a member of `size` octets; ``unpack_failed`` where the archive ends before."""
    done = 0
    while done < size:
        with _damages(shown):
            piece = stream.read(min(PIECE, size - done))
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


@contextlib.contextmanager
def _damages(shown: str) -> t.Iterator[None]:
    """Turn whatever the library raises inside the block into ``unpack_failed``: it has no list of that."""
    try:
        yield
    except VmimagesError:
        raise
    except Exception as error:
        why = str(error) or type(error).__name__
        raise DiskError("unpack_failed", f"{shown} is no intact archive: {why}.", path=shown) from error
