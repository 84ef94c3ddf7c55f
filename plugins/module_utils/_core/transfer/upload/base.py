# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every way of publishing a file must offer, and promise."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass

#: A local file by its path, or octets in memory.
Payload = t.Union[str, os.PathLike[str], bytes]


@dataclass(frozen=True)
class Stored:
    """What the far end has under a target: `size` in octets, `modified` as a POSIX timestamp."""

    size: int
    modified: float


class Uploader(t.Protocol):
    """A back-end. A target is where the file is to appear, in the back-end's own terms (for ``local``: a path)."""

    def put(self, payload: Payload, target: str, *, size: int, sha512: str) -> None:
        """Make `target` exactly the payload, in one step: a reader gets the old file or the new one, never a part.

        The octets sent are counted and hashed on the way; if they are not `size` and `sha512`, nothing is
        published. Raises `TransferError` (``upload_failed not_found not_readable not_writable disk_full``).
        """

    def stat(self, target: str) -> t.Optional[Stored]:
        """Return what is there under `target`, or None."""
