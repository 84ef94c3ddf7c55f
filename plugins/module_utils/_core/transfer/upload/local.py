# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish into a directory of this machine, such as a web server's."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import typing as t
from pathlib import Path

from ...errors import TransferError
from ..atomic import StrPath, fsync_directory, leftovers, storage_errors, temporary_sibling, write_all
from ..checksum import BUFFER_SIZE, Digest, Progress, digest_file
from .base import Payload, Stored, opened

_CREATE: t.Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalUploader:
    """An `Uploader` whose targets are full paths. Missing directories are made only with `create_directories`.

    The file appears with mode 0644, less the umask. `progress` is called with (octets done, size).
    """

    readable: t.Final = True
    takes_images: t.Final = True

    def __init__(self, *, create_directories: bool = False, progress: t.Optional[Progress] = None) -> None:
        self._create_directories = create_directories
        self._progress = progress

    def put(self, payload: Payload, target: str, *, size: int, sha512: str) -> None:
        path = self._prepare(target)
        temporary = temporary_sibling(path)
        with opened(payload) as source:
            with storage_errors(path):
                fd = os.open(temporary, _CREATE, 0o644)
            try:
                try:
                    self._copy(source, fd, path, size=size, sha512=sha512.lower())
                    with storage_errors(path):
                        os.fsync(fd)
                finally:
                    os.close(fd)
                with storage_errors(path):
                    temporary.replace(path)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
        fsync_directory(path.parent)

    def stat(self, target: str) -> t.Optional[Stored]:
        path = _full_path(target)
        try:
            with storage_errors(path, reading=True):
                status = path.stat()
        except TransferError as error:
            if error.code == "not_found":
                return None
            raise
        if not stat.S_ISREG(status.st_mode):
            raise TransferError("upload_failed", f"{target} exists and is not a file", path=target)
        return Stored(status.st_size)

    def read(self, target: str, limit: int) -> t.Optional[bytes]:
        try:
            with storage_errors(target, reading=True), _full_path(target).open("rb") as stream:
                return stream.read(limit)
        except TransferError as error:
            if error.code == "not_found":
                return None
            raise

    def digest(self, target: str) -> Digest:
        return digest_file(_full_path(target))

    def sweep(self, target: str) -> None:
        """Remove the parts of the same file: an image's part may be as large as the image."""
        with contextlib.suppress(TransferError, OSError):
            for leftover in leftovers(_full_path(target)):
                leftover.unlink(missing_ok=True)

    def _prepare(self, target: str) -> Path:
        path = _full_path(target)
        if path.is_dir():
            raise TransferError("upload_failed", f"{target} is a directory", path=target)
        if self._create_directories:
            _make_directories(path.parent)
        elif not path.parent.is_dir():
            raise TransferError("not_found", f"There is no directory {path.parent}", path=str(path.parent))
        return path

    def _copy(self, source: t.BinaryIO, fd: int, path: Path, *, size: int, sha512: str) -> None:
        state = hashlib.sha512()
        buffer = memoryview(bytearray(BUFFER_SIZE))
        done = 0
        while done <= size:
            with storage_errors(path, reading=True):
                count = source.readinto(buffer)  # type: ignore[attr-defined]
            if not count:
                break
            state.update(buffer[:count])
            with storage_errors(path):
                write_all(fd, buffer[:count])
            done += count
            if self._progress is not None:
                self._progress(min(done, size), size)
        if done != size or state.hexdigest() != sha512:
            raise TransferError("upload_failed", f"What was to be copied to {path} is not what was announced")


def _full_path(target: str) -> Path:
    if not target.startswith("/") or target.endswith("/") or "\0" in target or ".." in target.split("/"):
        raise TransferError("upload_failed", f"{target!r} is not the full path of a file", path=target)
    return Path(target)


def _make_directories(path: StrPath) -> None:
    """Make `path` and what is missing above it, durably."""
    folder = Path(path)
    missing = [folder, *folder.parents]
    for step in reversed([each for each in missing if not each.exists()]):
        with storage_errors(step):
            step.mkdir(exist_ok=True)
        fsync_directory(step.parent)
