# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The message archive: every accepted message, verbatim, under ``messages/<list>/<sequence>-<sha256>.smime``."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ...errors import SiteError
from ...transfer.atomic import make_directory, sweep, write_atomic


def store(messages: Path, identifier: str, sequence: int, octets: bytes) -> tuple[str, str]:
    """Write a message, forced to disk, and return its name below `messages` and its SHA-256.

    TransferError ``disk_full``, ``not_writable``.

    `sequence` is that of the journal line about to be written: a message that no line names was never accepted.
    """
    digest = hashlib.sha256(octets).hexdigest()
    folder = messages / identifier
    make_directory(folder)
    name = f"{identifier}/{sequence:09d}-{digest}.smime"
    sweep(folder)
    write_atomic(messages / name, octets, mode=0o644)
    return name, digest


def load(messages: Path, name: str, digest: str) -> bytes:
    """The stored message; ``archive_damaged`` when it is gone or not the one that was accepted."""
    path = messages / name
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as stream:
            octets = stream.read()
    except OSError as error:
        raise SiteError(
            "archive_damaged", f"The archived message {path} cannot be read: {error.strerror}.", path=str(path)
        ) from error
    if hashlib.sha256(octets).hexdigest() != digest:
        raise SiteError("archive_damaged", f"The archived message {path} was changed.", path=str(path))
    return octets
