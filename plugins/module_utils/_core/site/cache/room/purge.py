# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has been in `expired` for long enough is deleted."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import typing as t
from datetime import datetime, timedelta, timezone
from pathlib import Path

from ....errors import VmimagesError
from ....times import from_text
from ....transfer.atomic import listed, storage_errors
from ..moves import DAMAGED
from ..plan import Scope, row_of
from ..run import Run

if t.TYPE_CHECKING:
    from ...store.catalogue import Catalogue, Writer
    from .in_use import InUse
    from .space import Room

_ASIDE: t.Final = re.compile(rf"(.*){re.escape(DAMAGED)}(\.[0-9]+)?\Z")


def purge(catalogue: Catalogue, grace: timedelta, scope: Scope, run: Run, in_use: InUse) -> None:
    """Delete what of the images in `scope` has been in `expired` for `grace`, each file with its journal line.

    What somebody uses stays, with a warning.
    """
    with catalogue.writing() as writer:
        for action in due(catalogue, grace, scope):
            _purge(writer, action, run, in_use)


def relieve(
    catalogue: Catalogue, room: Room, name: str, size: int, *, keep: timedelta, run: Run, in_use: InUse
) -> None:
    """Make room for the file `name`: expired files go, the oldest first and evidence last, until it fits.

    Nothing goes where that would not be enough, nothing that has been there for less than `keep`, and nothing that
    somebody uses. Raises SiteError ``quota_exceeded`` or ``space_short``, as `Room.promise`.
    """
    refusal = room.refusal(name, size)
    if refusal is None:
        return
    candidates = spare(catalogue, keep, in_use)
    if sum(octets for _action, octets in candidates) < refusal.context["missing"]:
        raise refusal
    with catalogue.writing() as writer:
        for action, _octets in candidates:
            if room.refusal(name, size) is None:
                return
            _purge(writer, action, run, in_use)
    refusal = room.refusal(name, size)
    if refusal is not None:
        raise refusal


def spare(catalogue: Catalogue, keep: timedelta, in_use: InUse) -> list[tuple[dict[str, t.Any], int]]:
    """The purges that room may be made by, in their order, each with the octets that it frees."""
    at = {row["name"]: row["at"] for row in catalogue.rows("SELECT name, at FROM files")}
    found = []
    for action in due(catalogue, keep, lambda _row: True):
        path = catalogue.state.expired / action["name"]
        with contextlib.suppress(OSError):
            if not in_use.why(path):
                found.append((action, os.lstat(path).st_blocks * 512))
    return sorted(found, key=lambda item: (bool(_ASIDE.match(item[0]["name"])), at.get(item[0]["name"], "")))


def kept(path: Path, why: str) -> str:
    """The warning about a file that stays because it is in use."""
    return f"{path} is {why}; it was not deleted."


def _purge(writer: Writer, action: dict[str, t.Any], run: Run, in_use: InUse) -> None:
    path = writer.catalogue.state.expired / action["name"]
    why = in_use.why(path)
    if why:
        run.warnings.append(kept(path, why))
        return
    try:
        with storage_errors(path):
            _remove(path)
        writer.commit(("purged", {"name": action["name"]}))
    except VmimagesError as error:
        run.failures.append({"list": action["list"], "image": action["image"], **error.as_dict()})
        return
    run.purged.append(action)
    run.place(action["name"], "expired", "absent")


def due(catalogue: Catalogue, grace: timedelta, scope: Scope) -> list[dict[str, t.Any]]:
    """The purges that are due, by file name."""
    limit = catalogue.now() - grace
    rows = catalogue.rows("SELECT * FROM files WHERE state <> 'current'")
    found = [action_of(row["name"], row) for row in rows if scope(row) and from_text(row["at"]) <= limit]
    return sorted([*found, *_orphans(catalogue, limit, scope)], key=lambda action: str(action["name"]))


def action_of(name: str, row: t.Any) -> dict[str, t.Any]:
    """The purge of one file, for the list of actions."""
    return {"action": "purge", "image": row["image_id"], "list": row["list_id"], "name": name}


def _orphans(catalogue: Catalogue, limit: datetime, scope: Scope) -> t.Iterator[dict[str, t.Any]]:
    """What was put aside by a run that died before its journal line; it came here when its ctime says."""
    recorded = {row["name"] for row in catalogue.rows("SELECT name FROM files")}
    for path in listed(catalogue.state.expired):
        aside = _ASIDE.match(path.name)
        row = row_of(catalogue, aside.group(1)) if aside and path.name not in recorded else None
        if row is not None and scope(row) and _arrived(path) <= limit:
            yield action_of(path.name, row)


def _arrived(path: Path) -> datetime:
    return datetime.fromtimestamp(os.lstat(path).st_ctime, timezone.utc)


def _remove(path: Path) -> None:
    """A directory that lay under an image's name goes with all that is in it."""
    with contextlib.suppress(FileNotFoundError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
