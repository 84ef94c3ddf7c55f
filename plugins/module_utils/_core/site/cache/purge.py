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

from ...errors import VmimagesError
from ...times import from_text
from ...transfer.atomic import storage_errors
from .moves import DAMAGED
from .plan import Scope, row_of
from .run import Run

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

_ASIDE: t.Final = re.compile(rf"(.*){re.escape(DAMAGED)}(\.[0-9]+)?\Z")


def purge(catalogue: Catalogue, grace: timedelta, scope: Scope, run: Run) -> None:
    """Delete what of the images in `scope` has been in `expired` for `grace`, each file with its journal line."""
    with catalogue.writing() as writer:
        for action in due(catalogue, grace, scope):
            path = catalogue.state.expired / action["name"]
            try:
                with storage_errors(path):
                    _remove(path)
                writer.commit(("purged", {"name": action["name"]}))
            except VmimagesError as error:
                run.failures.append({"list": action["list"], "image": action["image"], **error.as_dict()})
                continue
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
    for path in catalogue.state.expired.iterdir():
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
