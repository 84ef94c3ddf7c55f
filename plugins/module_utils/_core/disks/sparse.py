# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new file that is written once, from beginning to end: counted, hashed, capped, and with holes where zeros are."""

from __future__ import annotations

import hashlib
import os
import typing as t
from pathlib import Path

from ..errors import DiskError
from ..transfer.atomic import storage_errors, write_all

_CREATE: t.Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_BLOCK: t.Final = 64 * 1024
_ZEROS: t.Final = bytes(_BLOCK)
_WATCHED: t.Final = 16 * 1024 * 1024

#: Called now and then while something is written, with the octets so far; what it raises ends the work.
Guard = t.Callable[[int], None]


class SparseFile:
    """The file at `path`, new. As a context manager: closed at the end, and removed unless `finish` succeeded.

    The octet after `cap` is refused with ``unpacked_too_large``.
    """

    def __init__(self, path: Path, *, cap: int, shown: str, guard: t.Optional[Guard] = None) -> None:
        self.path = path
        self.size = 0
        self._cap = cap
        self._shown = shown
        self._guard = guard
        self._guarded = 0
        self._hash = hashlib.sha512()
        self._finished = False
        with storage_errors(path):
            self._fd = os.open(path, _CREATE, 0o644)

    def __enter__(self) -> SparseFile:
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._fd)
        if not self._finished:
            self.path.unlink(missing_ok=True)

    @property
    def sha512(self) -> str:
        """Of what was written, holes included."""
        return self._hash.hexdigest()

    def write(self, octets: t.Union[bytes, memoryview]) -> None:
        """Append; blocks of zeros become holes."""
        if self.size + len(octets) > self._cap:
            raise DiskError(
                "unpacked_too_large",
                f"{self._shown} unpacks to more than {self._cap} octets.",
                path=self._shown,
                cap=self._cap,
            )
        self._hash.update(octets)
        view = memoryview(octets)
        with storage_errors(self.path):
            for start in range(0, len(view), _BLOCK):
                block = view[start : start + _BLOCK]
                if bytes(block) == (_ZEROS if len(block) == _BLOCK else _ZEROS[: len(block)]):
                    os.lseek(self._fd, len(block), os.SEEK_CUR)
                else:
                    write_all(self._fd, block)
        self.size += len(view)
        if self._guard is not None and self.size - self._guarded >= _WATCHED:
            self._guarded = self.size
            self._guard(self.size)

    def finish(self) -> None:
        """Give the file its length, holes at the end included, make it durable, and keep it."""
        with storage_errors(self.path):
            os.ftruncate(self._fd, self.size)
            os.fsync(self._fd)
        self._finished = True
