# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The octets of a file at given places, for readers of headers: whatever is missing is a refusal."""

from __future__ import annotations

import os
import struct
import typing as t
from dataclasses import dataclass

from ..errors import DiskError


@dataclass(frozen=True)
class Window:
    """An open file of `size` octets, called `shown` in refusals."""

    descriptor: int
    size: int
    shown: str

    def read(self, at: int, length: int) -> bytes:
        """The octets at this place, as far as there are any."""
        if at < 0 or at >= self.size:
            return b""
        return os.pread(self.descriptor, length, at)

    def unpack(self, layout: struct.Struct, at: int) -> tuple[t.Any, ...]:
        """The fields at this place; DiskError ``disk_damaged`` where the file ends before."""
        octets = self.read(at, layout.size)
        if len(octets) != layout.size:
            raise self.refuse("disk_damaged", "ends within its header")
        return layout.unpack(octets)

    def refuse(self, code: str, words: str) -> DiskError:
        """The refusal of this file."""
        return DiskError(code, f"{self.shown} {words}.", path=self.shown)

    def mismatch(self, kind: str, words: str) -> DiskError:
        """The refusal of a file that is not of the stated format."""
        return DiskError("format_mismatch", f"{self.shown} is stated to be {kind}, but {words}.", path=self.shown)
