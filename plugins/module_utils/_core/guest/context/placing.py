# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is at a path, and many files put into their places at once: each whole or not at all, all of them durable."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import ContextError, TransferError
from ...transfer.atomic import fsync_directory, storage_errors, temporary_sibling, write_all
from .payload.content import LARGEST

#: An image has more octets than its files: this is the most that is read back.
LARGEST_IMAGE: t.Final = LARGEST * 2

#: So many files are synchronised together: the first takes the journal's commit, the others find it done.
_BATCH: t.Final = 64


@dataclass(frozen=True)
class Found:
    """What is at a path: `octets` is None where nothing is, or nothing that could be a disk."""

    octets: t.Optional[bytes]
    mode: int = 0
    owner: int = -1
    group: int = -1
    there: bool = False


@dataclass(frozen=True)
class Placement:
    """A file to be: `octets` gives its content when its turn comes, None keeps the content that is there."""

    dest: Path
    octets: t.Optional[t.Callable[[], bytes]]
    mode: int
    owner: t.Optional[int] = None
    group: t.Optional[int] = None


def look(dest: Path) -> Found:
    """What is at `dest`. Raises `ContextError` ``option_invalid`` for what is no file, and `TransferError`."""
    with storage_errors(dest, reading=True):
        try:
            fd = os.open(dest, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return Found(octets=None)
        except OSError:
            if dest.is_symlink():
                return Found(octets=None, there=True)
            raise
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise ContextError("option_invalid", f"dest: {dest} is a directory or a device, and no file")
            found = Found(None, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, there=True)
            if status.st_size > LARGEST_IMAGE:
                return found
            with os.fdopen(os.dup(fd), "rb") as file:
                return replace(found, octets=file.read(LARGEST_IMAGE + 1))
        finally:
            os.close(fd)


def place(placements: t.Sequence[Placement]) -> None:
    """Put every file into its place.

    Raises `TransferError`, such as ``not_found`` for a directory; what was not placed until then is as it was.
    """
    directories = {placement.dest.parent for placement in placements}
    for directory in sorted(directories):
        if not directory.is_dir():
            raise TransferError("not_found", f"There is no directory {directory} for a disk", path=str(directory))
    for start in range(0, len(placements), _BATCH):
        _place_batch(placements[start : start + _BATCH])
    for directory in directories:
        fsync_directory(directory)


def remove(dests: t.Sequence[Path]) -> None:
    """Remove the files, durably. Raises `TransferError`."""
    for dest in dests:
        with storage_errors(dest):
            dest.unlink(missing_ok=True)
    for directory in {dest.parent for dest in dests}:
        fsync_directory(directory)


def _place_batch(batch: t.Sequence[Placement]) -> None:
    with contextlib.ExitStack() as stack:
        written = [(placement, *_write(placement, stack)) for placement in batch]
        for placement, fd, _temporary in written:
            with storage_errors(placement.dest):
                os.fsync(fd)
        for placement, _fd, temporary in written:
            if temporary is not None:
                with storage_errors(placement.dest):
                    temporary.replace(placement.dest)


def _write(placement: Placement, stack: contextlib.ExitStack) -> tuple[int, t.Optional[Path]]:
    """Write the content to a temporary file, or open the file that is there; give it mode and owner."""
    dest = placement.dest
    temporary = None if placement.octets is None else temporary_sibling(dest)
    with storage_errors(dest):
        if placement.octets is None or temporary is None:
            fd = os.open(dest, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        else:
            octets = placement.octets()
            # Nobody but the running user reads it before it has its owner.
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            stack.callback(temporary.unlink, missing_ok=True)
        stack.callback(os.close, fd)
        if temporary is not None:
            write_all(fd, octets)
        if placement.owner is not None or placement.group is not None:
            owner, group = (-1 if one is None else one for one in (placement.owner, placement.group))
            os.fchown(fd, owner, group)
        os.fchmod(fd, placement.mode)
    return fd, temporary
