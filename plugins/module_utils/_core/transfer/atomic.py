# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that appear whole or not at all, and the one place where an error of the file system becomes a refusal."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import typing as t
from pathlib import Path

from ..errors import TransferError

StrPath = t.Union[str, os.PathLike[str]]

#: So much of a file's name its temporary sibling has.
_PART_NAME: t.Final = 128
_FULL: t.Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_DENIED: t.Final = frozenset({errno.EACCES, errno.EPERM})
_ABSENT: t.Final = frozenset({errno.ENOENT, errno.ENOTDIR})


def storage_error(error: OSError, path: StrPath, *, reading: bool = False) -> TransferError:
    """Return the refusal for `error`, met while writing (or, with `reading`, while reading) `path`.

    Codes: ``disk_full``, ``not_found``, and ``not_writable`` or ``not_readable`` for everything else.
    """
    code = error.errno
    shown = os.fspath(path)
    if code in _FULL:
        return TransferError("disk_full", f"The file system of {shown} is full", path=shown)
    if code == errno.EFBIG:
        return TransferError("disk_full", f"The file system of {shown} cannot hold a file of this size", path=shown)
    if code in _ABSENT:
        return TransferError("not_found", f"There is no {shown}", path=shown)
    if code == errno.EROFS:
        return TransferError("not_writable", f"The file system of {shown} is read-only", path=shown)
    if code == errno.ELOOP:
        why = "it is a symbolic link where a file is expected"
    elif code in _DENIED:
        why = "permission denied"
    else:
        why = (error.strerror or "input or output failed").lower()
    if reading:
        return TransferError("not_readable", f"{shown} cannot be read: {why}", path=shown)
    return TransferError("not_writable", f"{shown} cannot be written: {why}", path=shown)


@contextlib.contextmanager
def storage_errors(path: StrPath, *, reading: bool = False) -> t.Iterator[None]:
    """Turn every `OSError` inside the block into the refusal that `storage_error` gives."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path, reading=reading) from error


def listed(directory: StrPath) -> list[Path]:
    """What lies in a directory, in no order. Raises `TransferError`: ``not_found``, ``not_readable``."""
    with storage_errors(directory, reading=True):
        return list(Path(directory).iterdir())


def write_all(fd: int, octets: t.Union[bytes, bytearray, memoryview]) -> None:
    """Write all of `octets`: one call may write less. Raises `OSError`."""
    view = memoryview(octets)
    while view:
        view = view[os.write(fd, view) :]


def fsync_directory(path: StrPath) -> None:
    """Make the names in the directory `path` durable. Raises `TransferError`."""
    with storage_errors(path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def replace(source: StrPath, target: StrPath) -> None:
    """Rename `source` to `target`, replacing it in one step, and make both directories durable.

    Both must be on one file system. Raises `TransferError`.
    """
    with storage_errors(target):
        Path(source).replace(target)
    folder, origin = Path(target).parent, Path(source).parent
    fsync_directory(folder)
    if origin != folder:
        fsync_directory(origin)


def temporary_sibling(path: StrPath) -> Path:
    """Return a fresh hidden name in the directory of `path`; its ending ``.part`` tells it from a finished file."""
    target = Path(path)
    return target.with_name(f".{target.name[:_PART_NAME]}.{secrets.token_hex(8)}.part")


def leftovers(path: StrPath) -> list[Path]:
    """What killed writers of `path` left beside it (see `temporary_sibling`), or living ones are still at.

    None for long names, of which others may share the beginning. Raises `TransferError` ``not_readable``.
    """
    target = Path(path)
    if len(target.name) > _PART_NAME:
        return []
    shape = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.part")
    with storage_errors(target.parent, reading=True):
        try:
            return sorted(found for found in target.parent.iterdir() if shape.fullmatch(found.name))
        except (FileNotFoundError, NotADirectoryError):
            return []


def sweep(directory: StrPath) -> None:
    """Remove what killed writers left in `directory` (see `temporary_sibling`); the caller is its only writer now."""
    with storage_errors(directory):
        for leftover in Path(directory).glob(".*.part"):
            leftover.unlink(missing_ok=True)


def make_directory(path: StrPath, mode: int = 0o755) -> None:
    """Make the directory `path` and those above it, durably and with exactly `mode`, where they are missing.

    A directory that is there stays as it is. Raises `TransferError` (``disk_full``, ``not_writable``).
    """
    directory = Path(path)
    with storage_errors(directory):
        if directory.is_dir():
            return
    if directory.parent != directory:
        make_directory(directory.parent, mode)
    with storage_errors(directory):
        try:
            directory.mkdir(mode)
        except FileExistsError:
            if directory.is_dir():
                return
            raise
        directory.chmod(directory.stat().st_mode & stat.S_ISGID | mode)
    fsync_directory(directory)
    fsync_directory(directory.parent)


def write_atomic(path: StrPath, octets: bytes, mode: int = 0o644, *, durable: bool = True) -> None:
    """Make `path` a file of exactly `octets`, durably: a reader sees the old file or the new one, never a part.

    Without `durable`, a crash of the machine may leave neither. The file has exactly `mode`, whatever the umask. A
    symbolic link at `path` is replaced, not followed. Raises `TransferError` (``disk_full``, ``not_writable``,
    ``not_found``); the old file is then untouched and nothing is left beside it.
    """
    temporary = temporary_sibling(path)
    with storage_errors(path):
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            try:
                os.fchmod(fd, mode)
                write_all(fd, octets)
                if durable:
                    os.fsync(fd)
            finally:
                os.close(fd)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
    if durable:
        fsync_directory(Path(path).parent)
