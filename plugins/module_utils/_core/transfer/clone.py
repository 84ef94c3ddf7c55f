# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file's octets under another name: shared where the file system can (reflink), copied where it cannot."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import typing as t
from pathlib import Path

from ..errors import TransferError
from .atomic import storage_errors, write_all

#: FICLONE of linux/fs.h
_FICLONE: t.Final = 0x40049409
_UNSUPPORTED: t.Final = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS})
_CREATE: t.Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE: t.Final = 64 * 1024
_ZEROS: t.Final = bytes(_PIECE)


def reflink(source: int, target: Path, mode: int) -> bool:
    """Make `target` a file that shares the octets of the open file `source`; False where the system cannot.

    Each of the two can be written without the other. Raises `TransferError`.
    """
    with storage_errors(target):
        descriptor = os.open(target, _CREATE, mode)
        try:
            fcntl.ioctl(descriptor, _FICLONE, source)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        except OSError as error:
            target.unlink()
            if error.errno in _UNSUPPORTED:
                return False
            raise
        finally:
            os.close(descriptor)
    return True


def copy(source: int, target: Path, mode: int, *, sha512: str, shown: str) -> None:
    """Copy the open file `source` to the new file `target`, with holes where zeros are, and hash it on the way.

    Raises `TransferError` ``checksum_mismatch`` if these are other octets, ``disk_full``, ``not_writable``; nothing of
    the target is left then.
    """
    digest = hashlib.sha512()
    with storage_errors(target):
        descriptor = os.open(target, _CREATE, mode)
        try:
            at = 0
            while octets := os.pread(source, _PIECE, at):
                digest.update(octets)
                at += len(octets)
                if octets == _ZEROS:
                    os.lseek(descriptor, len(octets), os.SEEK_CUR)
                else:
                    write_all(descriptor, octets)
            os.ftruncate(descriptor, at)
            if digest.hexdigest() != sha512:
                raise TransferError("checksum_mismatch", f"{shown} does not hold the expected octets.", path=shown)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
