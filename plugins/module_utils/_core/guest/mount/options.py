# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a file system of an image is mounted: without devices and set-user-id programs; read-only without a trace."""

from __future__ import annotations

import typing as t

#: Without these, a journal is replayed even where nothing may be written.
_NO_REPLAY: t.Final = {
    "ext3": ("noload",),
    "ext4": ("noload",),
    "xfs": ("norecovery", "nouuid"),
    # Also called nologreplay, until Linux 6.8 removed that name.
    "btrfs": ("norecovery",),
}
_WRITABLE: t.Final = {"xfs": ("nouuid",)}


def mount_options(kind: str, *, writable: bool) -> tuple[str, ...]:
    """The options of ``mount`` for a file system of this kind."""
    if writable:
        return ("rw", "nodev", "nosuid", *_WRITABLE.get(kind, ()))
    return ("ro", "nodev", "nosuid", "noexec", *_NO_REPLAY.get(kind, ()))


def driver(kind: str) -> str:
    """The kernel's name of the file system: ext4 is the one that serves its forebears, too."""
    return "ext4" if kind in ("ext2", "ext3") else kind
