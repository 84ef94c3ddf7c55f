# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets in files: read when they are used, kept nowhere, and never part of any text."""

from __future__ import annotations

import os
import stat

from ...errors import TransferError

_MAX_OCTETS = 64 * 1024


def read_line(path: str, what: str) -> str:
    """The one line of text in a file that only its owner may read; `what` names it in a refusal.

    Raises `TransferError`: ``secret_unreadable``, ``secret_permissions``.
    """
    try:
        lines = _read(path, what).decode().splitlines()
    except UnicodeDecodeError:
        lines = []
    if len(lines) != 1 or not lines[0].strip().isprintable() or not lines[0].strip():
        raise _unreadable(path, what, "it does not hold one line of text")
    return lines[0].strip()


def require_private(path: str, what: str) -> None:
    """Refuse a file that others than its owner may read. Raises `TransferError` as `read_line`."""
    _read(path, what, only=0)


def _read(path: str, what: str, only: int = _MAX_OCTETS + 1) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(descriptor)
            octets = os.read(descriptor, only) if stat.S_ISREG(found.st_mode) else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(path, what, (error.strerror or "it cannot be opened").lower()) from None
    if not stat.S_ISREG(found.st_mode):
        raise _unreadable(path, what, "it is not a regular file")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        detail = f"{what} {path} has mode {mode}: others than its owner may use it"
        raise TransferError("secret_permissions", detail, path=path, mode=mode)
    if len(octets) > _MAX_OCTETS:
        raise _unreadable(path, what, "it is too large")
    return octets


def _unreadable(path: str, what: str, why: str) -> TransferError:
    return TransferError("secret_unreadable", f"{what} {path} cannot be used: {why}", path=path)
