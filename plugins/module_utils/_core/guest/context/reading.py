# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a context disk back, of whatever maker, and know which of its contents are secrets."""

from __future__ import annotations

import os
import re
import stat
import typing as t
from dataclasses import replace

from ...errors import ContextError, TransferError
from ...transfer.atomic import storage_errors
from .iso.image import read_image
from .payload.variables import read_context
from .tree import Disk

#: The most octets of an image that is read.
LARGEST: t.Final = 256 * 1024 * 1024
_TELLING: t.Final = re.compile(r"PASS|SECRET|TOKEN|PRIVATE|CREDENTIAL|(?:^|_)KEY$|USER_?DATA$|START_SCRIPT")
_PUBLIC: t.Final = frozenset({"SSH_KEY", "SSH_PUBLIC_KEY", "SSH_PUB_KEY"})


def read_disk(path: str) -> tuple[Disk, bytes]:
    """The disk in the image at `path`, and the image's octets.

    What the disk lists as secret (``secrets.list``) is marked so, and on foreign disks what a variable's name tells.
    Raises `ContextError` ``context_unreadable`` and `TransferError`.
    """
    octets = _octets(path)
    return marked(read_image(octets, path)), octets


def marked(disk: Disk, *, files: t.Collection[str] = (), variables: t.Collection[str] = ()) -> Disk:
    """The disk with its variables, and with its secrets marked: its own, and those given."""
    secret_files, secret_variables = set(files), set(variables)
    for line in (disk.text("secrets.list") or b"").decode("utf-8", "replace").splitlines():
        kind, _blank, name = line.partition(" ")
        {"file": secret_files, "variable": secret_variables}.get(kind, set()).add(name)
    values = read_context(disk.text("context.sh") or b"") or {}
    hidden = {name for name in values if name in secret_variables or (name not in _PUBLIC and _TELLING.search(name))}
    if hidden:
        secret_files.add("context.sh")
    entries = {
        path: replace(entry, secret=path in secret_files or b"PRIVATE KEY-----" in entry.octets[: 1024 * 1024])
        for path, entry in disk.entries.items()
    }
    shown = {name: None if name in hidden else value for name, value in values.items()}
    return replace(disk, entries=entries, variables=shown)


def _octets(path: str) -> bytes:
    with storage_errors(path, reading=True):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        with storage_errors(path, reading=True):
            status = os.fstat(fd)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode)):
                raise TransferError("not_readable", f"{path} is neither a file nor a disk", path=path)
            with os.fdopen(os.dup(fd), "rb") as file:
                octets = file.read(LARGEST + 1)
    finally:
        os.close(fd)
    if len(octets) > LARGEST:
        raise ContextError(
            "context_unreadable", f"{path} is larger than {LARGEST} octets, no context disk is", path=path
        )
    return octets
