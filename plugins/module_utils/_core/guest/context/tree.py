# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on a context disk: a label, and files by their path."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, field

#: Only root reads the disk in the guest: it may hold secrets, and every reader runs as root.
PLAIN_MODE: t.Final = 0o400
SCRIPT_MODE: t.Final = 0o500


@dataclass(frozen=True)
class Entry:
    """A file: its octets, its mode on the disk, and whether its text must not be shown."""

    octets: bytes
    mode: int = PLAIN_MODE
    secret: bool = False

    @property
    def sha256(self) -> str:
        """Of the octets, in lower-case hexadecimal."""
        return hashlib.sha256(self.octets).hexdigest()

    def as_dict(self, path: str) -> dict[str, t.Any]:
        """The file for results; a secret's digest would let short secrets be guessed, and is left out."""
        shown = {"path": path, "size": len(self.octets), "mode": f"{self.mode:04o}", "secret": self.secret}
        return {**shown, "sha256": None if self.secret else self.sha256}


@dataclass(frozen=True)
class Disk:
    """A context disk before it is written, or after it was read.

    `names` tells whose names the paths are: ``rock_ridge``, ``joliet`` or ``iso9660``.
    """

    label: str
    entries: t.Mapping[str, Entry] = field(default_factory=dict)
    variables: t.Mapping[str, t.Optional[str]] = field(default_factory=dict)
    names: str = "rock_ridge"
    joliet: bool = True

    def files(self) -> list[dict[str, t.Any]]:
        """All files for results, by path."""
        return [self.entries[path].as_dict(path) for path in sorted(self.entries)]

    def text(self, path: str) -> t.Optional[bytes]:
        """The octets of a file, None where there is none."""
        entry = self.entries.get(path)
        return None if entry is None else entry.octets
