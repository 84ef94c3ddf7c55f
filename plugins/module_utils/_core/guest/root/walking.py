# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Walks through a tree that end, whatever the tree has been made to look like."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import typing as t

from ...errors import GuestError
from .names import shown
from .tree import Root, guest_errors

_ENTRIES: t.Final = 3_000_000
_HOLE: t.Final = 1024**3
_OCTETS: t.Final = 64 * 1024**3


class Allowance:
    """How much of an image is read in all: a file without end is a few octets on its disk."""

    def __init__(self, octets: int = _OCTETS) -> None:
        self._left = octets

    def take(self, octets: int, path: str) -> None:
        """Count what was read. Raises `GuestError` (guest_too_large)."""
        self._left -= octets
        if self._left < 0:
            name = shown(path)
            raise GuestError("guest_too_large", f"The files of the tree have no end, as {name}", path=name)


def parts(root: Root, path: str, allowance: Allowance, *, window: int = 1 << 20) -> t.Iterator[bytes]:
    """The octets of a file, without its holes: of what is not there, nothing has to be read. Raises `GuestError`."""
    with root.open(path) as file, guest_errors(path):
        fd, at, size = file.fileno(), 0, os.fstat(file.fileno()).st_size
        while at < size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
                end = os.lseek(fd, begin, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                begin, end = at, size
            while begin < end:
                octets = os.pread(fd, min(window, end - begin), begin)
                if not octets:
                    return
                allowance.take(len(octets), path)
                yield octets
                begin += len(octets)
            at = end


def digest_of(root: Root, path: str, algorithm: str, allowance: Allowance) -> str:
    """The digest of a whole file, in hexadecimal digits. Raises `GuestError` (guest_too_large: it is mostly a hole)."""
    made = hashlib.new(algorithm, usedforsecurity=False)
    with root.open(path) as file, guest_errors(path):
        status = os.fstat(file.fileno())
        if status.st_size - status.st_blocks * 512 > _HOLE:
            name = shown(path)
            why = f"{name} of the tree has {status.st_size} octets, and most of them are none"
            raise GuestError("guest_too_large", why, path=name, size=status.st_size)
        while octets := file.read(1 << 20):
            allowance.take(len(octets), path)
            made.update(octets)
    return made.hexdigest()


def walk(root: Root, *tops: str, skip: t.Collection[str] = ()) -> t.Iterator[tuple[str, os.stat_result]]:
    """Everything under the directories `tops`, each with its own status; links are not followed.

    Nothing at or under a path of `skip` is given. Raises `GuestError` (guest_too_large for more than three million).
    """
    seen: set[tuple[int, int]] = set()
    ahead = [top for top in reversed(tops) if root.is_directory(top)]
    count = 0
    while ahead:
        directory = ahead.pop()
        for name, status in _entries(root, directory, seen):
            count += 1
            if count > _ENTRIES:
                raise GuestError("guest_too_large", f"{shown(directory)} of the tree has no end", path=shown(directory))
            path = f"{directory.rstrip('/')}/{name}"
            if path in skip:
                continue
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                ahead.append(path)


def _entries(root: Root, directory: str, seen: set[tuple[int, int]]) -> list[tuple[str, os.stat_result]]:
    with root.spot(directory) as spot:
        if spot.status is None or not spot.is_directory or (spot.status.st_dev, spot.status.st_ino) in seen:
            return []
        seen.add((spot.status.st_dev, spot.status.st_ino))
        with guest_errors(directory):
            fd = os.open(spot.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=spot.directory)
            try:
                with os.scandir(fd) as entries:
                    return sorted((entry.name, entry.stat(follow_symlinks=False)) for entry in entries)
            finally:
                os.close(fd)
