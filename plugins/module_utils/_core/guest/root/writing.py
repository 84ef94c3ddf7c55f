# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change files of a tree: whole or not at all, with owner, mode, extended attributes and hard links as they were."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import typing as t

from ...errors import GuestError
from ...transfer.atomic import write_all
from .names import shown
from .tree import Root, Spot, guest_errors, not_a_file

_NEW: t.Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_ATTRIBUTES: t.Final = frozenset({errno.ENOTSUP, errno.ENODATA, errno.EPERM, errno.EACCES})


def write(root: Root, path: str, octets: bytes, *, mode: int = 0o644) -> None:
    """Make `path` a file of exactly `octets`, in one step; a file that is there keeps all else that it has.

    A link is followed inside the tree. `mode` is that of a new file, which belongs to the owner of its directory.
    Directories above it are made. Raises `GuestError`: guest_not_a_file, guest_hard_link (other names of the file are
    not beside it, so that they cannot follow), guest_not_writable, guest_path_loop.
    """
    make_directories(root, path.rsplit("/", 1)[0])
    with root.spot(path) as spot:
        if spot.status is not None and not spot.is_file:
            raise not_a_file(path, spot.status)
        with guest_errors(path, writing=True):
            _replace(spot, octets, _other_names(spot, path), mode)


def link(root: Root, path: str, target: str) -> None:
    """Make `path` a symbolic link that says `target`, in place of a file or link; raises as `write` does."""
    make_directories(root, path.rsplit("/", 1)[0])
    with root.spot(path, follow=False) as spot:
        if spot.is_directory:
            raise not_a_file(path, t.cast(os.stat_result, spot.status))
        temporary = _temporary()
        with guest_errors(path, writing=True):
            os.symlink(target, temporary, dir_fd=spot.directory)
            _move(spot, temporary, spot.name)
            _make_durable(spot.directory)


def remove(root: Root, path: str) -> None:
    """Remove the file or link at `path`, if there is one; raises as `write` does."""
    if not root.exists(path):
        return
    with root.spot(path, follow=False) as spot:
        if spot.is_directory:
            raise not_a_file(path, t.cast(os.stat_result, spot.status))
        with guest_errors(path, writing=True):
            os.unlink(spot.name, dir_fd=spot.directory)
            _make_durable(spot.directory)


def make_directories(root: Root, path: str) -> None:
    """Make the directory `path` and those above it where they are missing, with mode 0755; raises as `write` does."""
    made = ""
    for part in path.split("/"):
        made = f"{made}/{part}"
        with root.spot(made) as spot:
            if spot.status is not None and not spot.is_directory:
                raise GuestError("guest_not_writable", f"{shown(made)} of the tree is no directory", path=shown(made))
            if spot.status is None:
                with guest_errors(made, writing=True):
                    os.mkdir(spot.name, 0o755, dir_fd=spot.directory)
                    above = os.fstat(spot.directory)
                    os.chown(spot.name, above.st_uid, above.st_gid, dir_fd=spot.directory, follow_symlinks=False)
                    _make_durable(spot.directory)


def _replace(spot: Spot, octets: bytes, others: tuple[str, ...], mode: int) -> None:
    temporary = _temporary()
    fd = os.open(temporary, _NEW, 0o600, dir_fd=spot.directory)
    try:
        try:
            write_all(fd, octets)
            _adopt(fd, spot, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        _move(spot, temporary, spot.name)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=spot.directory)
        raise
    for other in others:
        again = _temporary()
        os.link(spot.name, again, src_dir_fd=spot.directory, dst_dir_fd=spot.directory, follow_symlinks=False)
        _move(spot, again, other)
    _make_durable(spot.directory)


def _adopt(fd: int, spot: Spot, mode: int) -> None:
    """Give the new file what the old one has; without an old one, the owner of the directory and `mode`."""
    if spot.status is None:
        above = os.fstat(spot.directory)
        _chown(fd, above.st_uid, above.st_gid)
        os.fchmod(fd, mode)
        return
    old = os.open(spot.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=spot.directory)
    try:
        status = os.fstat(old)
        _chown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, stat.S_IMODE(status.st_mode))
        for name in _attributes(old):
            os.setxattr(fd, name, os.getxattr(old, name))
    finally:
        os.close(old)


def _chown(fd: int, owner: int, group: int) -> None:
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (owner, group):
        os.fchown(fd, owner, group)


def _attributes(fd: int) -> list[str]:
    try:
        return os.listxattr(fd)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES:
            return []
        raise


def _other_names(spot: Spot, path: str) -> tuple[str, ...]:
    """The other names of the file, all of them beside it; raises guest_hard_link."""
    status = spot.status
    if status is None or status.st_nlink == 1:
        return ()
    same = (status.st_dev, status.st_ino)
    others: list[str] = []
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=spot.directory)
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                found = entry.stat(follow_symlinks=False)
                if (found.st_dev, found.st_ino) == same and entry.name != spot.name:
                    others.append(entry.name)
    finally:
        os.close(folder)
    if len(others) + 1 != status.st_nlink:
        name = shown(path)
        raise GuestError(
            "guest_hard_link",
            f"{name} of the tree has {status.st_nlink} names, and some are in other directories",
            path=name,
        )
    return tuple(sorted(others))


def _temporary() -> str:
    return f".{secrets.token_hex(8)}.part"


def _move(spot: Spot, source: str, target: str) -> None:
    os.rename(source, target, src_dir_fd=spot.directory, dst_dir_fd=spot.directory)


def _make_durable(directory: int) -> None:
    fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
