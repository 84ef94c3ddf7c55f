# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance taken away, with all that was made for it and nothing else: the record says what that is."""

from __future__ import annotations

import contextlib
import os
import typing as t
from pathlib import Path

from ....errors import TransferError
from ....transfer.atomic import fsync_directory, leftovers, storage_errors
from .. import domains, records
from ..records import Record
from ..standing import Standing
from ..volumes import is_recorded
from ..wishes import Wish
from .steps import Plan


def plan_removal(wish: Wish, standing: Standing) -> Plan:
    """The plan; no steps where there is nothing."""
    plan = Plan(wish.name, standing)
    record, domain = standing.record, standing.domain
    plan.result = {"uuid": standing.uuid if record else None, "state": "absent"}
    plan.before = plan.after = {"state": "absent"}
    if record is None:
        add_leftovers(plan, wish.usual_paths)
        return plan
    if domain is not None:
        if standing.is_active:
            plan.add("stop", lambda: domains.stop(domain, wish.patience))
        plan.add("undefine", lambda: domains.undefine(domain))
    add_files(plan, record, record.made)
    path = records.path_of(wish.records_dir, record.uuid)
    add_leftovers(plan, dict.fromkeys((*wish.usual_paths, *map(Path, record.made), path)))
    plan.add("remove_record", lambda: _forget(wish, record), path=str(path))
    plan.before = {
        "state": "running" if standing.is_active else "stopped" if domain is not None else "recorded",
        "files": [told["path"] for told in plan.actions if told["action"] == "remove"],
    }
    plan.after = {"state": "absent", "files": []}
    return plan


def add_files(plan: Plan, record: Record, paths: t.Iterable[str]) -> None:
    """Steps that remove files of a record; a disk that is not the one that was made stays."""
    for path in paths:
        if not os.path.lexists(path):
            continue
        if path == record.disk.path and is_recorded(record.disk) is False:
            plan.warnings.append(f"{record.name}: {path} is not the disk that was made for it, and stays.")
            continue
        plan.add("remove", remover(Path(path)), path=path)


def add_leftovers(plan: Plan, paths: t.Iterable[Path]) -> None:
    """Steps that remove what calls that were killed left beside these files."""
    for path in paths:
        found_beside: list[Path] = []
        # Who may not look there made nothing there.
        with contextlib.suppress(TransferError):
            found_beside = leftovers(path)
        for found in found_beside:
            plan.add("remove", remover(found), path=str(found))


def remover(path: Path) -> t.Callable[[], None]:
    """What removes the file, if it is still there, for good. It raises `TransferError`."""

    def remove() -> None:
        with storage_errors(path), contextlib.suppress(FileNotFoundError):
            path.unlink()
        fsync_directory(path.parent)

    return remove


def _forget(wish: Wish, record: Record) -> None:
    records.remove(wish.records_dir, record.uuid)
