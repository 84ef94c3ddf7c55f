# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Size and sha512 of a file at rest, in one pass."""

from __future__ import annotations

import hashlib
import os
import stat
import typing as t
from dataclasses import dataclass

from ..errors import TransferError
from .atomic import StrPath, storage_errors

#: Octets per read, hash and write. Larger ones fall out of the processor's cache (performance.md).
BUFFER_SIZE: t.Final = 256 * 1024

#: Called with (octets done, octets in all) after every buffer.
Progress = t.Callable[[int, int], None]


@dataclass(frozen=True)
class Digest:
    """What a file holds: `size` in octets, `sha512` in lower-case hexadecimal."""

    size: int
    sha512: str


def digest_file(file: t.Union[StrPath, int], *, progress: t.Optional[Progress] = None, follow: bool = True) -> Digest:
    """Read a regular file, by path or by descriptor (from its start; its position stays), and return its digest.

    With ``follow=False`` a symbolic link as last component is refused. Raises `TransferError` (``not_found``,
    ``not_readable``; also when the file changes its size meanwhile).
    """
    if isinstance(file, int):
        return _digest(file, f"file descriptor {file}", progress)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    with storage_errors(file, reading=True):
        fd = os.open(file, flags)
    try:
        return _digest(fd, os.fspath(file), progress)
    finally:
        os.close(fd)


def _digest(fd: int, shown: str, progress: t.Optional[Progress]) -> Digest:
    buffer = memoryview(bytearray(BUFFER_SIZE))
    state = hashlib.sha512()
    done = 0
    with storage_errors(shown, reading=True):
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise TransferError("not_readable", f"{shown} is not a regular file", path=shown)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while True:
            count = os.preadv(fd, [buffer], done)
            if count == 0:
                break
            state.update(buffer[:count])
            done += count
            if progress is not None:
                progress(done, status.st_size)
    if done != status.st_size:
        raise TransferError("not_readable", f"{shown} changed while it was read", path=shown)
    return Digest(size=done, sha512=state.hexdigest())
