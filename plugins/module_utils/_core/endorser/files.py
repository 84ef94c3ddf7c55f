# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes and sha512 of image files, each read once: what was read is remembered with the file's stamp.

The stamps are derived data in ``files.json``: without them the files are read again, that is all.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import threading
import time
import typing as t
from pathlib import Path

from ..errors import PublishError
from ..transfer.atomic import storage_errors, write_atomic
from ..transfer.checksum import Digest, digest_file

_T = t.TypeVar("_T")
_R = t.TypeVar("_R")

#: Two threads keep two cores busy; more of them only compete for the disk.
_THREADS: t.Final = min(4, os.cpu_count() or 1)

#: A kernel's clock for file times may tick as slowly as this: within one tick a second write leaves no trace.
_TICK_NS: t.Final = 20_000_000

#: size, mtime_ns, ctime_ns, inode, device
Stamp = tuple[int, int, int, int, int]


class FileBook:
    """The digests of files that were read before, kept in `path`; `read` counts the octets that had to be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known = _load(path)
        self._changed = False
        self._counting = threading.Lock()
        self.read = 0

    def digests(self, paths: t.Iterable[Path]) -> dict[Path, Digest]:
        """The digest of each file, several read side by side.

        Raises TransferError (``not_found``, ``not_readable``), PublishError ``not_readable`` when a file changes.
        """
        return dict(in_parallel(lambda path: (path, self.digest(path)), sorted(set(paths), key=_size, reverse=True)))

    def digest(self, path: Path) -> Digest:
        """The digest of one file; no octet is read when its stamp is the known one. Errors as in `digests`."""
        key, stamp = str(path.absolute()), _stamp_of(path)
        known = self._known.get(key)
        if known is not None and known[0] == stamp:
            return Digest(size=stamp[0], sha512=known[1])
        # A change that begins after this moment shows in the stamp.
        time.sleep(max(0, min(_TICK_NS, stamp[2] + _TICK_NS - time.time_ns())) / 1e9)
        digest = digest_file(path)
        with self._counting:
            self.read += digest.size
        if _stamp_of(path) != stamp:
            raise PublishError("not_readable", f"The file {path} changed while it was read.", path=str(path))
        self._known[key] = (stamp, digest.sha512)
        self._changed = True
        return digest

    def remember(self, path: Path, digest: Digest) -> None:
        """Take this digest for the file as it is now: for one that we have just written ourselves."""
        stamp = _stamp_of(path)
        if stamp[0] == digest.size:
            self._known[str(path.absolute())] = (stamp, digest.sha512)
            self._changed = True

    def save(self) -> None:
        """Keep what is known of the files that still exist. Raises TransferError."""
        if not self._changed:
            return
        known = {path: [*stamp, sha512] for path, (stamp, sha512) in self._known.items() if Path(path).exists()}
        write_atomic(self._path, json.dumps(known, indent=1, sort_keys=True).encode(), 0o600)
        self._changed = False


def in_parallel(work: t.Callable[[_T], _R], items: t.Sequence[_T]) -> list[_R]:
    """The results in the items' order; the first error is raised when what runs already has ended."""
    if len(items) < 2:
        return [work(item) for item in items]
    with concurrent.futures.ThreadPoolExecutor(min(_THREADS, len(items))) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


def _stamp_of(path: Path) -> Stamp:
    with storage_errors(path, reading=True):
        status = path.stat()
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _load(path: Path) -> dict[str, tuple[Stamp, str]]:
    try:
        stored = json.loads(path.read_bytes())
        return {name: (_as_stamp(numbers), str(sha512)) for name, (*numbers, sha512) in stored.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _as_stamp(numbers: t.Sequence[t.Any]) -> Stamp:
    size, mtime_ns, ctime_ns, inode, device = map(int, numbers)
    return (size, mtime_ns, ctime_ns, inode, device)
