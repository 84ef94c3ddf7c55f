# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory tree that is a whole system: every path is resolved inside it, whatever its symbolic links say.

The tree may be hostile. An absolute link starts at the tree's root, ``..`` ends there, and no name is ever handed to
the kernel as a path: each step is opened by its own name under the directory reached so far.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import typing as t
from dataclasses import dataclass

from ...errors import GuestError
from .names import shown

StrPath = t.Union[str, "os.PathLike[str]"]

#: No configuration file is larger; pygrub, too, reads no more of one.
CONFIGURATION: t.Final = 1024 * 1024

#: As many links as Linux follows, and more directories than any system nests.
_LINKS: t.Final = 40
_DEPTH: t.Final = 200
_NAMES: t.Final = 65536

_STEP: t.Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: t.Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_ABSENT: t.Final = frozenset({errno.ENOENT, errno.ENOTDIR})


@dataclass(frozen=True)
class Spot:
    """Where a path leads: `name` in the open `directory`; `path` is without links; `status` None: nothing is there."""

    directory: int
    name: str
    path: str
    status: os.stat_result | None

    @property
    def is_file(self) -> bool:
        return self.status is not None and stat.S_ISREG(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        return self.status is not None and stat.S_ISDIR(self.status.st_mode)

    @property
    def is_link(self) -> bool:
        return self.status is not None and stat.S_ISLNK(self.status.st_mode)


@contextlib.contextmanager
def guest_errors(path: str, *, writing: bool = False) -> t.Iterator[None]:
    """Turn every `OSError` inside the block into a refusal that names `path`, the path inside the tree."""
    try:
        yield
    except OSError as error:
        raise guest_error(error, path, writing=writing) from error


def guest_error(error: OSError, path: str, *, writing: bool = False) -> GuestError:
    """The refusal for `error`: guest_not_found, guest_not_writable or guest_not_readable."""
    name = shown(path)
    if error.errno in _ABSENT:
        return GuestError("guest_not_found", f"There is no {name} in the tree", path=name)
    why = (error.strerror or "input or output failed").lower()
    if writing:
        return GuestError("guest_not_writable", f"{name} of the tree cannot be written: {why}", path=name)
    return GuestError("guest_not_readable", f"{name} of the tree cannot be read: {why}", path=name)


class Root:
    """The tree under the directory `path`, held open. Raises `GuestError` (root_missing)."""

    def __init__(self, path: StrPath) -> None:
        self.path = os.path.realpath(path)
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            why = (error.strerror or "it cannot be opened").lower()
            raise GuestError("root_missing", f"{os.fspath(path)} is no root tree: {why}", path=self.path) from error

    def __enter__(self) -> Root:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the tree."""
        os.close(self._fd)

    @contextlib.contextmanager
    def spot(self, path: str, *, follow: bool = True) -> t.Iterator[Spot]:
        """Where `path` leads inside the tree; the directories above it must be there.

        With `follow` a link at the end is followed, too: a link to nothing leads to where its target would be. Raises
        `GuestError` (guest_not_found, guest_path_loop, guest_not_readable).
        """
        if "\0" in path:
            # No file can be called so, though a file of the image may say it.
            raise GuestError("guest_not_found", f"There is no {shown(path)} in the tree", path=shown(path))
        walk = _Walk(self._fd, path)
        try:
            with guest_errors(path):
                found = walk.to_the_end(follow=follow)
            yield found
        finally:
            walk.close()

    def status(self, path: str, *, follow: bool = True) -> os.stat_result | None:
        """The status of what `path` leads to, None when nothing is there."""
        try:
            with self.spot(path, follow=follow) as spot:
                return spot.status
        except GuestError as error:
            if error.code == "guest_not_found":
                return None
            raise

    def is_file(self, path: str) -> bool:
        """Whether `path` leads to a regular file."""
        status = self.status(path)
        return status is not None and stat.S_ISREG(status.st_mode)

    def is_directory(self, path: str) -> bool:
        """Whether `path` leads to a directory."""
        status = self.status(path)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def exists(self, path: str) -> bool:
        """Whether there is something of this name, be it a link to nothing."""
        return self.status(path, follow=False) is not None

    def resolve(self, path: str) -> str:
        """`path` without links; raises as `spot` does."""
        with self.spot(path) as spot:
            return spot.path

    def link(self, path: str) -> str | None:
        """What the symbolic link at `path` says; None when there is none."""
        try:
            with self.spot(path, follow=False) as spot, guest_errors(path):
                return os.readlink(spot.name, dir_fd=spot.directory) if spot.is_link else None
        except GuestError as error:
            if error.code == "guest_not_found":
                return None
            raise

    def read(self, path: str, *, limit: int = CONFIGURATION) -> bytes | None:
        """The octets of a regular file; None when there is nothing of this name.

        Raises `GuestError`: guest_not_a_file (never opened, be it a device), guest_too_large (more than `limit`
        octets; never read), guest_path_loop, guest_not_readable.
        """
        try:
            with self.open(path) as file:
                size = os.fstat(file.fileno()).st_size
                octets = file.read(limit + 1) if size <= limit else b""
        except GuestError as error:
            if error.code == "guest_not_found":
                return None
            raise
        if max(size, len(octets)) > limit:
            name = shown(path)
            raise GuestError(
                "guest_too_large", f"{name} of the tree has more than {limit} octets", path=name, size=size, limit=limit
            )
        return octets

    def text(self, path: str, *, limit: int = CONFIGURATION) -> str | None:
        """As `read`, decoded without loss."""
        octets = self.read(path, limit=limit)
        return None if octets is None else octets.decode("utf-8", "surrogateescape")

    @contextlib.contextmanager
    def open(self, path: str) -> t.Iterator[t.BinaryIO]:
        """The regular file at `path`, open for reading; raises as `read` does, and guest_not_found."""
        with self.spot(path) as spot:
            if spot.status is None:
                raise GuestError("guest_not_found", f"There is no {shown(path)} in the tree", path=shown(path))
            if not spot.is_file:
                raise not_a_file(path, spot.status)
            with guest_errors(path):
                fd = os.open(spot.name, _READ, dir_fd=spot.directory)
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise not_a_file(path, status)
            with guest_errors(path):
                yield file

    def names(self, path: str) -> tuple[str, ...]:
        """The names in the directory `path`, sorted; none when there is no such directory.

        Raises `GuestError` (guest_too_large for more than 65536 names, guest_path_loop, guest_not_readable).
        """
        try:
            with self.spot(path) as spot:
                if not spot.is_directory:
                    return ()
                with guest_errors(path):
                    return _names(spot)
        except GuestError as error:
            if error.code == "guest_not_found":
                return ()
            raise


def not_a_file(path: str, status: os.stat_result) -> GuestError:
    """The refusal for what is there in the place of a regular file."""
    kinds = {stat.S_IFDIR: "directory", stat.S_IFLNK: "symbolic link", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    kind = kinds.get(stat.S_IFMT(status.st_mode), "device node")
    name = shown(path)
    return GuestError("guest_not_a_file", f"{name} of the tree is a {kind}, not a file", path=name, kind=kind)


def _names(spot: Spot) -> tuple[str, ...]:
    fd = os.open(spot.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=spot.directory)
    found: list[str] = []
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                found.append(entry.name)
                if len(found) > _NAMES:
                    name = shown(spot.path)
                    raise GuestError("guest_too_large", f"{name} of the tree has more than {_NAMES} names", path=name)
    finally:
        os.close(fd)
    return tuple(sorted(found))


class _Walk:
    """The way along a path: the directories above the place reached, each open."""

    def __init__(self, root: int, path: str) -> None:
        self._root = root
        self._path = path
        self._ahead = path.split("/")[::-1]
        self._above: list[tuple[str, int]] = []
        self._links = 0

    def to_the_end(self, *, follow: bool) -> Spot:
        while self._ahead:
            name = self._ahead.pop()
            if name in ("", "."):
                continue
            if name == "..":
                if self._above:
                    os.close(self._above.pop()[1])
                continue
            last = all(part in ("", ".") for part in self._ahead)
            status = self._status(name, last=last)
            if status is not None and stat.S_ISLNK(status.st_mode) and (follow or not last):
                self._follow(name)
            elif last:
                return self._spot(name, status)
            else:
                self._enter(name)
        return self._spot(".", os.fstat(self._directory))

    def close(self) -> None:
        while self._above:
            os.close(self._above.pop()[1])

    @property
    def _directory(self) -> int:
        return self._above[-1][1] if self._above else self._root

    def _spot(self, name: str, status: os.stat_result | None) -> Spot:
        parts = [part for part, _fd in self._above] + ([] if name == "." else [name])
        return Spot(directory=self._directory, name=name, path="/" + "/".join(parts), status=status)

    def _status(self, name: str, *, last: bool) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except FileNotFoundError:
            if last:
                return None
            raise

    def _follow(self, name: str) -> None:
        self._links += 1
        if self._links > _LINKS:
            raise self._endless()
        target = os.readlink(name, dir_fd=self._directory)
        if target.startswith("/"):
            self.close()
        self._ahead.extend(target.split("/")[::-1])

    def _enter(self, name: str) -> None:
        if len(self._above) >= _DEPTH:
            raise self._endless()
        self._above.append((name, os.open(name, _STEP, dir_fd=self._directory)))

    def _endless(self) -> GuestError:
        name = shown(self._path)
        return GuestError("guest_path_loop", f"The symbolic links at {name} of the tree lead nowhere", path=name)
