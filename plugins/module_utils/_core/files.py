# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read small files without surprises: regular files only, never blocking, never more than the cap."""

from __future__ import annotations

import os
import stat
import typing as t

Path = t.Union[str, os.PathLike[str]]


class UnusableFileError(Exception):
    """The file is not regular, or larger than its cap."""


def read(path: Path, cap: int, *, only: int | None = None) -> tuple[os.stat_result, bytes]:
    """What the open file's stat says, and its octets; with `only`, no more than its first `only` octets.

    Raises `OSError`, `UnusableFileError`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnusableFileError("it is not a regular file")
        if found.st_size > cap:
            raise UnusableFileError(f"it has {found.st_size} octets; the cap is {cap}")
        wanted = cap + 1 if only is None else only
        octets = b""
        while len(octets) < wanted:
            piece = os.read(descriptor, min(wanted - len(octets), max(found.st_size + 1, 4096)))
            if not piece:
                break
            octets += piece
    finally:
        os.close(descriptor)
    if len(octets) > cap:
        raise UnusableFileError(f"it grows beyond the cap of {cap} octets")
    return found, octets


def reason(error: Exception) -> str:
    """Why, in words without the path."""
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
