# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much room the cache has: its quota, and what has to stay free; asked before a download, not noticed in it."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from ....errors import SiteError
from ....sizes import size_text
from ....transfer.atomic import storage_errors

if t.TYPE_CHECKING:
    from ...store.state import StateDirectory
    from ...upkeep import Upkeep

_BLOCK: t.Final = 512


class Room:
    """What a cache may still take. What was promised and has not arrived counts as if it were there.

    Not to be shared between threads.
    """

    def __init__(self, state: StateDirectory, upkeep: Upkeep) -> None:
        self._state = state
        self._upkeep = upkeep
        self._promised: dict[str, int] = {}
        self._given_back = 0

    def promise(self, name: str, size: int) -> None:
        """Set room aside for the file `name`; SiteError ``quota_exceeded``, ``space_short`` say how much is missing."""
        refusal = self.refusal(name, size)
        if refusal is not None:
            raise refusal
        self._promised[name] = size

    def settle(self, name: str) -> None:
        """The file has arrived, or never will: what there is of it is counted where it lies."""
        self._promised.pop(name, None)

    def give_back(self, size: int) -> None:
        """A rehearsal takes this much for deleted."""
        self._given_back += size

    def refusal(self, name: str, size: int) -> t.Optional[SiteError]:
        """Why a file of this size does not fit, if it does not."""
        upkeep = self._upkeep
        if upkeep.quota is None and upkeep.min_free is None:
            return None
        sizes = {**self._promised, name: size}
        free = self.free() + self._given_back
        held, arrived = self._measure(sizes)
        held -= self._given_back
        coming = sum(max(0, octets - arrived.get(one, 0)) for one, octets in sizes.items())
        if upkeep.quota is not None and held + coming > upkeep.quota:
            return _refusal(
                "quota_exceeded",
                f"{name} ({size_text(size)}) does not fit into the cache: of its quota of "
                f"{size_text(upkeep.quota)} {size_text(held)} are taken",
                held + coming - upkeep.quota,
                held=held,
                quota=upkeep.quota,
                size=size,
            )
        if upkeep.min_free is not None and free - coming < upkeep.min_free:
            return _refusal(
                "space_short",
                f"{name} ({size_text(size)}) does not fit on the cache's file system: {size_text(free)} are free, "
                f"and {size_text(upkeep.min_free)} have to stay free",
                upkeep.min_free - (free - coming),
                free=free,
                min_free=upkeep.min_free,
                size=size,
            )
        return None

    def watch(self, name: str) -> t.Callable[[int], None]:
        """A guard for work that writes to the cache, and cannot know how much: it ends when there is no room left."""

        def guard(_done: int) -> None:
            refusal = self.refusal(name, 0)
            if refusal is not None:
                raise refusal

        return guard

    def free(self) -> int:
        """The octets that are free for the cache's owner."""
        with storage_errors(self._state.current):
            found = os.statvfs(self._state.current)
        return found.f_bavail * found.f_frsize

    def _measure(self, names: t.Collection[str]) -> tuple[int, dict[str, int]]:
        """What the cache's directories hold, as the file system counts it, and what of that are parts of `names`.

        Each file is looked at once, for it may be growing: what arrives between two looks would count twice, as held
        and as still to come, and refuse a file that fits. Parts begin with the names of their files.
        """
        state = self._state
        held = 0
        parts: dict[str, int] = {}
        for entry in _entries(state.downloading):
            octets = _allocated(entry)
            held += octets
            name = next((name for name in names if entry.name.lstrip(".").startswith(name)), None)
            if name is not None:
                parts[name] = parts.get(name, 0) + octets
        rest = (state.current, state.expired, state.derived)
        return held + sum(_allocated(entry) for place in rest for entry in _entries(place)), parts


def _entries(directory: Path) -> t.Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            for entry in found:
                if entry.is_dir(follow_symlinks=False):
                    yield from _entries(Path(entry.path))
                else:
                    yield entry
    except (FileNotFoundError, PermissionError):
        return


def allocated(path: Path) -> int:
    """The octets that a file takes on its file system; none where there is none."""
    try:
        return path.lstat().st_blocks * _BLOCK
    except OSError:
        return 0


def _allocated(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * _BLOCK
    except FileNotFoundError:
        return 0


def _refusal(code: str, found: str, missing: int, **context: int) -> SiteError:
    return SiteError(code, f"{found}; {size_text(missing)} are missing.", missing=missing, **context)
