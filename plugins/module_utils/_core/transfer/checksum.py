# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checksums in one pass over the octets, and the size and sha512 of a file at rest."""

from __future__ import annotations

import hashlib
import os
import stat
import types
import typing as t
from dataclasses import dataclass

from ..errors import TransferError
from .atomic import StrPath, storage_errors

#: Octets per read, hash and write. Larger ones fall out of the processor's cache (performance.md).
BUFFER_SIZE: t.Final = 256 * 1024

#: The checksums that are compared where they are stated. hashlib has them everywhere, and their length is fixed.
ALGORITHMS: t.Final = frozenset(
    {"md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_224", "sha3_256", "sha3_384", "sha3_512"}
)

_DROPPED: t.Final = 8 * 1024 * 1024

#: No checksum is stated beside the one that is always computed.
NO_CHECKSUMS: t.Final[t.Mapping[str, str]] = types.MappingProxyType({})

#: Called with (octets done, octets in all) after every buffer.
Progress = t.Callable[[int, int], None]


@dataclass(frozen=True)
class Digest:
    """What a file holds: `size` in octets, `sha512` in lower-case hexadecimal."""

    size: int
    sha512: str


class Hashes:
    """The sha512 of octets, and those of the `stated` checksums (name -> hexadecimal) that are in `ALGORITHMS`."""

    def __init__(self, stated: t.Mapping[str, str]) -> None:
        self._stated = {name: digest.lower() for name, digest in stated.items() if name in ALGORITHMS}
        # The weak ones prove nothing here: they are compared because the endorser states them.
        self._states = {name: hashlib.new(name, usedforsecurity=False) for name in {"sha512", *self._stated}}

    @property
    def sha512(self) -> str:
        """Of the octets so far, in lower-case hexadecimal."""
        return self._states["sha512"].hexdigest()

    def update(self, view: memoryview) -> None:
        """Take in the next octets."""
        for state in self._states.values():
            state.update(view)

    def compare(self, shown: str, **context: t.Any) -> None:
        """TransferError ``checksum_mismatch`` with this context, unless every stated checksum is that of the octets."""
        # sha512 first: where it differs too, it is the one to be told.
        for name in sorted(self._stated, key=lambda name: (name != "sha512", name)):
            found, expected = self._states[name].hexdigest(), self._stated[name]
            if found != expected:
                raise TransferError(
                    "checksum_mismatch",
                    f"{shown} has {name} {found[:16]}..., and {expected[:16]}... is expected",
                    **context,
                    algorithm=name,
                    found=found,
                    expected=expected,
                )


def digest_file(
    file: t.Union[StrPath, int],
    *,
    checksums: t.Mapping[str, str] = NO_CHECKSUMS,
    progress: t.Optional[Progress] = None,
    follow: bool = True,
    uncached: bool = False,
) -> Digest:
    """Read a regular file, by path or by descriptor (from its start; its position stays), and return its digest.

    Every one of `checksums` (name -> hexadecimal) that is in `ALGORITHMS` has to match; others are passed over. With
    ``follow=False`` a symbolic link as last component is refused. With `uncached` the octets come from the disk, as far
    as the kernel can drop what it holds of them, and do not stay in its cache. Raises `TransferError` (``not_found``,
    ``not_readable``; also when the file changes its size meanwhile; ``checksum_mismatch``).
    """
    if isinstance(file, int):
        return _digest(file, f"file descriptor {file}", checksums, progress, uncached)
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    with storage_errors(file, reading=True):
        fd = os.open(file, flags)
    try:
        return _digest(fd, os.fspath(file), checksums, progress, uncached)
    finally:
        os.close(fd)


def _digest(
    fd: int, shown: str, checksums: t.Mapping[str, str], progress: t.Optional[Progress], uncached: bool
) -> Digest:
    buffer = memoryview(bytearray(BUFFER_SIZE))
    hashes = Hashes(checksums)
    done = dropped = 0
    with storage_errors(shown, reading=True):
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise TransferError("not_readable", f"{shown} is not a regular file", path=shown)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)
        if uncached:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        while True:
            count = os.preadv(fd, [buffer], done)
            if count == 0:
                break
            hashes.update(buffer[:count])
            done += count
            if uncached and done - dropped >= _DROPPED:
                os.posix_fadvise(fd, dropped, done - dropped, os.POSIX_FADV_DONTNEED)
                dropped = done
            if progress is not None:
                progress(done, status.st_size)
        if uncached:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    if done != status.st_size:
        raise TransferError("not_readable", f"{shown} changed while it was read", path=shown)
    hashes.compare(shown, path=shown)
    return Digest(size=done, sha512=hashes.sha512)
