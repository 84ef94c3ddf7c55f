# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One call at a time changes an instance: the others wait, and then look again at what there is.

The lock lies beside the records, where only root writes, and ends with its holder, however that ends. By the name
alone: the usual paths of disks come from that, whatever the connection.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t
from pathlib import Path

from ...errors import HypervisorError
from ...transfer.atomic import StrPath, storage_errors
from . import records

#: Seconds for which another call is waited for: a large image may be copied meanwhile.
PATIENCE: float = 600.0
_POLL: t.Final = 0.2
_FLAGS: t.Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def turn(records_dir: StrPath, name: str) -> t.Iterator[bool]:
    """Have the instance `name` for oneself; yields whether another call was waited for.

    Raises `HypervisorError`: ``instance_busy``, ``record_unsafe``; `TransferError`.
    """
    directory = records.open_made(records_dir)
    try:
        descriptor, waited = _locked(directory, Path(records_dir) / f".{name}.lock", name)
        try:
            yield waited
        finally:
            with contextlib.suppress(OSError):
                os.unlink(f".{name}.lock", dir_fd=directory)
            os.close(descriptor)
    finally:
        os.close(directory)


def _locked(directory: int, path: Path, name: str) -> tuple[int, bool]:
    deadline = time.monotonic() + PATIENCE
    waited = False
    while True:
        with storage_errors(path):
            descriptor = os.open(path.name, _FLAGS, 0o600, dir_fd=directory)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_there(directory, path.name, descriptor):
                return descriptor, waited
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                why = f"Another call has been at work on {name} for {PATIENCE:.0f} seconds"
                raise HypervisorError("instance_busy", why, name=name) from None
            time.sleep(_POLL)
        waited = True
        os.close(descriptor)


def _is_there(directory: int, file: str, descriptor: int) -> bool:
    """Whether what was locked still has the name: its last holder took it away at the end."""
    try:
        found = os.stat(file, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))
