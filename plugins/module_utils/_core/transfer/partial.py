# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file on its way in: private to its writer until it is whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import typing as t
from pathlib import Path

from ..errors import TransferError
from .atomic import StrPath, storage_errors, write_all

_WRITE_BACK: t.Final = 16 * 1024 * 1024
_KEEP_SIZE: t.Final = 0x01  # FALLOC_FL_KEEP_SIZE of linux/falloc.h
_CREATE: t.Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REOPEN: t.Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class PartialFile:
    """The file `name` in `directory`, created exclusively and locked (flock) for as long as it is open.

    What a killed process left under the name is removed first; a name that a living process is writing is
    refused (``transfer_busy``). As a context manager: closed at the end, and removed unless `finish` succeeded.
    """

    def __init__(self, directory: StrPath, name: str) -> None:
        _check_name(name)
        self.path = Path(directory) / name
        self._name = name
        self._written = 0
        self._written_back = 0
        self._finished = False
        with storage_errors(directory):
            self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with storage_errors(self.path):
                self._remove_leftover()
                self.fd = self._create()
        except BaseException:
            os.close(self._directory)
            raise

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            if not self._finished and self._is_ours(self.fd):
                with contextlib.suppress(OSError):
                    os.unlink(self._name, dir_fd=self._directory)
        finally:
            os.close(self.fd)
            os.close(self._directory)

    def reserve(self, size: int) -> None:
        """Set aside room for `size` octets, or raise ``disk_full`` now rather than after hours of transfer.

        The file's length stays what was written: a part never has the length of the whole.
        """
        with storage_errors(self.path):
            space = os.fstatvfs(self.fd)
            if space.f_blocks and space.f_bavail * space.f_frsize < size:
                raise TransferError(
                    "disk_full",
                    f"The file system of {self.path} has {space.f_bavail * space.f_frsize} octets left, "
                    f"and {size} are needed",
                    path=str(self.path),
                )
            if size:
                _allocate(self.fd, size)

    def write(self, view: memoryview) -> None:
        """Append `view`; every 16 MiB the kernel is told to write back, so that the last fsync has little to do."""
        with storage_errors(self.path):
            write_all(self.fd, view)
            self._written += len(view)
            behind = self._written - self._written_back
            if behind >= _WRITE_BACK:
                os.posix_fadvise(self.fd, self._written_back, behind, os.POSIX_FADV_DONTNEED)
                self._written_back = self._written

    def finish(self) -> os.stat_result:
        """Make the content durable and keep the file; return its state. The caller renames it."""
        with storage_errors(self.path):
            os.fsync(self.fd)
            if not self._is_ours(self.fd):
                raise self._busy()
            self._finished = True
            return os.fstat(self.fd)

    def _remove_leftover(self) -> None:
        try:
            fd = os.open(self._name, _REOPEN, dir_fd=self._directory)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            os.unlink(self._name, dir_fd=self._directory)
            return
        try:
            self._lock(fd)
            if not self._is_ours(fd):
                raise self._busy()
            os.unlink(self._name, dir_fd=self._directory)
        finally:
            os.close(fd)

    def _create(self) -> int:
        try:
            fd = os.open(self._name, _CREATE, 0o644, dir_fd=self._directory)
        except FileExistsError:
            raise self._busy() from None
        try:
            self._lock(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _lock(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._busy() from None

    def _is_ours(self, fd: int) -> bool:
        """Tell whether the name still stands for the open file."""
        try:
            named = os.stat(self._name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(named, os.fstat(fd))

    def _busy(self) -> TransferError:
        return TransferError("transfer_busy", f"Another process is writing {self.path}", path=str(self.path))


def _check_name(name: str) -> None:
    plain = name.isascii() and name.isprintable() and "/" not in name and "\\" not in name
    if not plain or not 1 <= len(name) <= 255 or name.startswith("."):
        raise TransferError("internal_error", f"{name!r} is not a plain file name")


def _allocate(fd: int, size: int) -> None:
    """Allocate blocks for `size` octets beyond the file's length, where the system and the file system can.

    `os.posix_fallocate` would set the length as well, and where the file system cannot allocate, the C library
    writes to every block instead. Raises `OSError`.
    """
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is None:
        return
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if function(fd, _KEEP_SIZE, 0, size) == 0:
        return
    code = ctypes.get_errno()
    if code not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINTR):
        raise OSError(code, os.strerror(code))
