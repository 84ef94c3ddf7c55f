# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files somebody uses: they are not deleted, whatever their age.

Two signs are heeded. A *pin* is a file in ``cache/in_use/`` that whoever needs a file of the cache for longer may
write, such as a site's own tools: ``<file name>@<holder>``, holding JSON with ``holder``, ``at`` and perhaps ``until``,
after which it counts no more. And a file that a process has open, or that a loop device shows,
is in use, as far as this process may see that: root sees all, the service's user its own processes only.
"""

from __future__ import annotations

import json
import os
import re
import time
import typing as t
from datetime import datetime
from pathlib import Path

from ....errors import SiteError, TransferError
from ....times import from_text, to_text
from ....transfer.atomic import make_directory, storage_error, storage_errors, write_atomic

if t.TYPE_CHECKING:
    from ...store.state import StateDirectory

_HOLDER: t.Final = re.compile(r"[A-Za-z0-9._:-]{1,100}")
_MOST: t.Final = 4096
#: Seconds for which an answer holds; to look at all processes for each of a thousand files takes long.
LASTS: float = 1.0


def pin(state: StateDirectory, name: str, holder: str, *, now: datetime, until: t.Optional[datetime] = None) -> None:
    """Keep the file `name` of the cache from being deleted, for this holder; again: until another time.

    Raises SiteError ``option_invalid`` for a holder that is no plain word (letters, digits, ``._:-``).
    """
    path = _path(state, name, holder)
    make_directory(state.in_use)
    document = {"holder": holder, "at": to_text(now), "until": to_text(until) if until else None}
    write_atomic(path, json.dumps(document, sort_keys=True).encode() + b"\n")


def unpin(state: StateDirectory, name: str, holder: str) -> bool:
    """Take the pin away; whether there was one."""
    path = _path(state, name, holder)
    with storage_errors(path):
        try:
            path.unlink()
        except FileNotFoundError:
            return False
    return True


def pinned(state: StateDirectory, now: datetime) -> dict[str, list[str]]:
    """The files with pins that count, and who holds them. A pin that cannot be read counts.

    Raises TransferError ``not_readable`` where it cannot be told which there are.
    """
    found: dict[str, list[str]] = {}
    try:
        names = sorted(path.name for path in state.in_use.iterdir())
    except FileNotFoundError:
        return found
    except OSError as error:
        raise storage_error(error, state.in_use, reading=True) from error
    for name in names:
        file, at, holder = name.partition("@")
        if at and not name.startswith(".") and not _is_over(state.in_use / name, now):
            found.setdefault(file, []).append(holder)
    return found


class InUse:
    """Answers whether files are in use, as of a second ago at most: a run may take hours."""

    def __init__(self, state: StateDirectory, now: datetime) -> None:
        self._state = state
        self._now = now
        self._renew()

    def _renew(self) -> None:
        self._since = time.monotonic()
        self._pins = pinned(self._state, self._now)
        self._open: t.Optional[set[tuple[int, int]]] = None

    def why(self, path: Path) -> str:
        """Who uses the file at `path`, for people; empty where nobody is known to."""
        if time.monotonic() - self._since >= LASTS:
            self._renew()
        holders = self._pins.get(path.name)
        if holders:
            return f"pinned by {', '.join(holders)}"
        try:
            found = path.lstat()
        except OSError:
            return ""
        if self._open is None:
            self._open = {*_open_files(), *_loop_files()}
        return "open in a process or as a loop device" if (found.st_dev, found.st_ino) in self._open else ""


def is_open(path: Path) -> bool:
    """Whether a process, or a loop device, has the file; as far as this process may see that."""
    found = path.lstat()
    return (found.st_dev, found.st_ino) in {*_open_files(), *_loop_files()}


def _open_files() -> t.Iterator[tuple[int, int]]:
    """Device and inode of what other processes have open, of all processes that may be looked at."""
    for process in _listed(Path("/proc")):
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        for link in _listed(process / "fd"):
            try:
                found = link.stat()
            except OSError:
                continue
            yield found.st_dev, found.st_ino


def _loop_files() -> t.Iterator[tuple[int, int]]:
    for device in _listed(Path("/sys/block")):
        try:
            found = Path((device / "loop" / "backing_file").read_text().rstrip("\n")).stat()
        except (OSError, ValueError):
            continue
        yield found.st_dev, found.st_ino


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _is_over(path: Path, now: datetime) -> bool:
    try:
        with path.open("rb") as stream:
            until = json.loads(stream.read(_MOST))["until"]
        return until is not None and from_text(until) <= now
    except FileNotFoundError:
        return True
    except (OSError, ValueError, KeyError, TypeError, TransferError):
        return False


def _path(state: StateDirectory, name: str, holder: str) -> Path:
    if not _HOLDER.fullmatch(holder) or holder.startswith("."):
        raise SiteError("option_invalid", f"{holder!r} is not a plain word for a holder.", option="holder")
    if not name or "/" in name or "@" in name or name.startswith("."):
        raise SiteError("option_invalid", f"{name!r} is not the name of a file in the cache.", option="name")
    return state.in_use / f"{name}@{holder}"
