# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One process at a time: a lock file, whose lock ends with its holder, however that ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import typing as t

from ..errors import VmimagesError
from .atomic import StrPath, storage_errors

_POLL: t.Final = 0.05


@contextlib.contextmanager
def locked(path: StrPath, *, patience: float, busy: t.Callable[[], VmimagesError]) -> t.Iterator[None]:
    """Hold the lock file at `path`; `busy()` is raised when another process keeps it for more than `patience` seconds.

    Where it cannot be opened for writing, or locked: TransferError ``not_writable``, ``disk_full``, ``not_found``.
    """
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        # Whoever may read a file may lock it, and keep everybody else from writing for as long as they like.
        if os.fstat(descriptor).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            with contextlib.suppress(PermissionError):
                os.fchmod(descriptor, 0o600)
        deadline = time.monotonic() + patience
        while not _is_locked(descriptor, path):
            if time.monotonic() >= deadline:
                raise busy()
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


def _is_locked(descriptor: int, path: StrPath) -> bool:
    """Lock it, if nobody has; a file system may know no locks at all."""
    with storage_errors(path):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
