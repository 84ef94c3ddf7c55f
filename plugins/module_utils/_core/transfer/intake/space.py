# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks of a file system: set aside before they are needed, and given back where there are only zeros."""

from __future__ import annotations

import errno
import functools
import os
import typing as t

# linux/falloc.h
_KEEP_SIZE: t.Final = 0x01
_PUNCH_HOLE: t.Final = 0x02

_CANNOT: t.Final = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EINTR})


def allocate(fd: int, offset: int, size: int) -> None:
    """Allocate blocks beyond the file's length, where the system and the file system can. Raises `OSError`.

    `os.posix_fallocate` would set the length as well, and where the file system cannot allocate, the C library
    writes to every block instead.
    """
    if size > 0:
        _fallocate(fd, _KEEP_SIZE, offset, size)


def punch(fd: int, offset: int, size: int) -> None:
    """Give the blocks of a range of zeros back, where the file system can. Raises `OSError`."""
    if size > 0:
        _fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, offset, size)


def _fallocate(fd: int, mode: int, offset: int, size: int) -> None:
    function = _function()
    if function is None or function(fd, mode, offset, size) == 0:
        return
    import ctypes

    code = ctypes.get_errno()
    if code not in _CANNOT:
        raise OSError(code, os.strerror(code))


@functools.cache
def _function() -> t.Any:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is not None:
        function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return function
