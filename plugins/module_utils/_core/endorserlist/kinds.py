# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of signed lists, for those who treat all of them alike.

Whoever asks for a verdict needs the names of the kinds and reads no list: the readers are imported when they are used.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

if t.TYPE_CHECKING:
    from ..imagelist.model import SignedList

IMAGE_LIST: t.Final = "imagelist"
ENDORSER_LIST: t.Final = "endorserlist"


@dataclass(frozen=True)
class Kind:
    """How a list of one kind is read, written, and checked when its message is verified (see `check_list`)."""

    name: str

    def read(self, octets: bytes) -> SignedList:
        """The list in these octets; TrustError ``json_invalid``, ``list_malformed``."""
        from ..imagelist import reader as images
        from . import reader

        return images.read_list(octets) if self.name == IMAGE_LIST else reader.read_list(octets)

    def write(self, raw: t.Mapping[str, t.Any]) -> bytes:
        """The octets of a list."""
        from ..imagelist import writer as images
        from . import writer

        return images.write_list(raw) if self.name == IMAGE_LIST else writer.write_list(raw)

    @property
    def check(self) -> t.Callable[..., SignedList]:
        """Checks the list that a verified message holds."""
        from ..imagelist import check as images
        from . import check

        return images.check_list if self.name == IMAGE_LIST else check.check_list


KINDS: t.Final[t.Mapping[str, Kind]] = {name: Kind(name) for name in (IMAGE_LIST, ENDORSER_LIST)}
