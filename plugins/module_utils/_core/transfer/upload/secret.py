# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in files that nobody else may read."""

from __future__ import annotations

import os
import stat
import typing as t

from ...errors import TransferError
from ..atomic import storage_errors

_LARGEST: t.Final = 64 * 1024


def read_secret(path: str) -> str:
    """The first line of a file that only its owner may read.

    Raises `TransferError`: ``not_found``, ``not_readable``, ``login_refused`` (others may read it, or it is empty).
    """
    with storage_errors(path, reading=True):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _require_private(os.fstat(fd), path)
            octets = os.read(fd, _LARGEST)
        finally:
            os.close(fd)
    secret = octets.split(b"\n", 1)[0].strip()
    if not secret or not all(32 <= octet < 127 for octet in secret):
        raise TransferError("login_refused", f"The first line of {path} is no secret that can be sent", path=path)
    return secret.decode()


def check_private(path: str) -> None:
    """Refuse a file that others than its owner may use; errors as in `read_secret`."""
    with storage_errors(path, reading=True):
        _require_private(os.stat(path), path)  # noqa: PTH116


def _require_private(status: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise TransferError("not_readable", f"{path} is not a regular file", path=path)
    if status.st_mode & 0o077:
        mode = f"{stat.S_IMODE(status.st_mode):04o}"
        raise TransferError("key_permissions", f"Others than its owner may use {path} (mode {mode})", path=path)
