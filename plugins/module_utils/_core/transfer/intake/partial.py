# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file on its way in: private to its writer until it is whole, and gone on with by the next one if it never is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import typing as t
from pathlib import Path

from ...errors import TransferError
from ..atomic import StrPath, storage_errors
from ..checksum import BUFFER_SIZE
from ..sources import Validators
from . import record, space
from .record import Record

_WRITE_BACK: t.Final = 16 * 1024 * 1024
_ZEROS: t.Final = bytes(BUFFER_SIZE)
#: Whoever may read a file may lock it, and so keep it from being written: until it is whole, that is nobody else.
_PRIVATE: t.Final = 0o600
_CREATE: t.Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_REOPEN: t.Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: A smaller file gets no record until its transfer fails: it costs more than it may save.
WORTHWHILE: t.Final = 1024 * 1024


class PartialFile:
    """The file `name` in `directory`, to become `size` octets with that sha512; locked (flock) while it is open.

    What an earlier transfer left under the name is gone on with if its record fits, else it is removed; a name that a
    living process is writing is refused (``transfer_busy``). `length` octets are there. As a context manager: closed
    at the end; unless `finish` succeeded, kept with its record where there is something to go on with.
    """

    def __init__(self, directory: StrPath, name: str, *, size: int, sha512: str) -> None:
        _check_name(name)
        self.path = Path(directory) / name
        self.length = 0
        #: Of the octets that are there: the digest of the address, and the validators of its answer.
        self.source = ""
        self.validators = Validators()
        self.proof: t.Optional[tuple[int, str]] = None
        self._name = name
        self._size = size
        self._sha512 = sha512.lower()
        self._written_back = 0
        self._durable = (0, "")
        self._hole: t.Optional[tuple[int, int]] = None
        self._finished = False
        with storage_errors(directory):
            self._directory = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with storage_errors(self.path):
                self.fd = self._take_over()
        except BaseException:
            os.close(self._directory)
            raise

    def __enter__(self) -> PartialFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            if not self._finished and self._is_ours(self.fd):
                self._leave()
        finally:
            os.close(self.fd)
            os.close(self._directory)

    def reserve(self) -> None:
        """Set aside room for what is missing, or raise ``disk_full`` now rather than after hours of transfer.

        The file's length stays what was written: a part never has the length of the whole.
        """
        with storage_errors(self.path):
            missing = self._size - self.length
            left = os.fstatvfs(self.fd)
            # Blocks that an earlier transfer had reserved are ours already.
            reserved = max(0, os.fstat(self.fd).st_blocks * 512 - self.length)
            if left.f_blocks and left.f_bavail * left.f_frsize + reserved < missing:
                raise TransferError(
                    "disk_full",
                    f"The file system of {self.path} has {left.f_bavail * left.f_frsize} octets left, "
                    f"and {missing - reserved} are needed",
                    path=str(self.path),
                )
            space.allocate(self.fd, self.length, missing)

    def begin(self, source: str, validators: Validators) -> None:
        """Octets of this source come now: a record says so, for whoever finds the file."""
        self.source, self.validators = source, validators
        if self._size > WORTHWHILE:
            self._record(durable=False)

    def write(self, view: memoryview) -> None:
        """Append `view`; a whole buffer of zeros becomes a hole.

        Every 16 MiB the kernel is told to write back, so that the last fsync has little to do.
        """
        with storage_errors(self.path):
            if len(view) == BUFFER_SIZE and view.obj == _ZEROS:
                begin = self.length if self._hole is None else self._hole[0]
                self._hole = (begin, self.length + len(view))
            else:
                self._end_hole()
                _write_at(self.fd, view, self.length)
            self.length += len(view)
            behind = self.length - self._written_back
            if behind >= _WRITE_BACK:
                os.posix_fadvise(self.fd, self._written_back, behind, os.POSIX_FADV_DONTNEED)
                self._written_back = self.length

    def checkpoint(self, digest: str) -> None:
        """Make the octets so far durable, with the record that says so; `digest` is their sha512."""
        with storage_errors(self.path):
            # To set the length, even to what it is, would give back the room that was set aside.
            self._end_hole()
            os.fdatasync(self.fd)
        self._durable = (self.length, digest)
        self._record(durable=True)

    def restart(self) -> None:
        """Throw away what is there."""
        record.remove(self.path)
        with storage_errors(self.path):
            os.ftruncate(self.fd, 0)
        self.length = self._written_back = 0
        self.source, self.validators = "", Validators()
        self.proof, self._hole, self._durable = None, None, (0, "")

    def finish(self) -> os.stat_result:
        """Make the content durable and keep the file; return its state. The caller renames it."""
        with storage_errors(self.path):
            self._settle()
            os.fsync(self.fd)
            if not self._is_ours(self.fd):
                raise self._busy()
            record.remove(self.path)
            self._finished = True
            return os.fstat(self.fd)

    def _take_over(self) -> int:
        """Open what is there, if it can be gone on with, or a new file; locked."""
        try:
            fd = os.open(self._name, _REOPEN, dir_fd=self._directory)
        except FileNotFoundError:
            return self._create()
        except OSError:  # a symbolic link, a directory, a file of somebody else
            os.unlink(self._name, dir_fd=self._directory)
            return self._create()
        try:
            self._lock(fd)
            if not self._is_ours(fd):
                raise self._busy()
            if self._resumes(fd):
                return fd
            os.unlink(self._name, dir_fd=self._directory)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return self._create()

    def _resumes(self, fd: int) -> bool:
        """Whether the file is one of ours with a record for these very octets; then it is taken in."""
        found, known = os.fstat(fd), record.read(self.path)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.geteuid():
            return False
        if known is None or (known.size, known.sha512) != (self._size, self._sha512):
            return False
        same_boot = bool(known.boot) and known.boot == record.boot_id()
        length = min(found.st_size, self._size) if same_boot else known.length
        if not 0 < length <= found.st_size or known.length > found.st_size:
            return False
        if found.st_size > length:
            os.ftruncate(fd, length)
        os.fchmod(fd, _PRIVATE)
        self.length = self._written_back = length
        self.source, self.validators = known.source, known.validators
        self.proof = (known.length, known.digest) if known.digest else None
        self._durable = (known.length, known.digest)
        return True

    def _create(self) -> int:
        record.remove(self.path)
        try:
            fd = os.open(self._name, _CREATE, _PRIVATE, dir_fd=self._directory)
        except FileExistsError:
            raise self._busy() from None
        try:
            self._lock(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _leave(self) -> None:
        """Keep what is there for the next transfer, without the room that was set aside; nothing, if it is nothing."""
        if self.length and self.source:
            with contextlib.suppress(OSError, TransferError):
                self._settle()
                self._record(durable=False)
            # On a full disk the record that the transfer began with does as well.
            if record.read(self.path) is not None:
                return
        record.remove(self.path)
        with contextlib.suppress(OSError):
            os.unlink(self._name, dir_fd=self._directory)

    def _settle(self) -> None:
        """Give the file the length that was received, and no block beyond it."""
        self._end_hole()
        os.ftruncate(self.fd, self.length)

    def _end_hole(self) -> None:
        if self._hole is not None:
            begin, end = self._hole
            self._hole = None
            if os.fstat(self.fd).st_size < end:
                os.ftruncate(self.fd, end)
            space.punch(self.fd, begin, end - begin)

    def _record(self, *, durable: bool) -> None:
        length, digest = self._durable
        found = Record(self._size, self._sha512, self.source, self.validators, length, digest, record.boot_id())
        record.write(self.path, found, durable=durable)

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
    if not plain or not 1 <= len(name) <= 255 - len(record.SUFFIX) or name.startswith("."):
        raise TransferError("internal_error", f"{name!r} is not a plain file name")


def _write_at(fd: int, view: memoryview, offset: int) -> None:
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count
