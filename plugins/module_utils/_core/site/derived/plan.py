# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are to be made of the cached ones, and which are made of files that are no longer there."""

from __future__ import annotations

import json
import sqlite3
import typing as t
from dataclasses import dataclass, replace

from ...disks.formats import WANTED, Format, parse_format
from ...errors import DiskError, VmimagesError
from ..cache.plan import Scope, file_name
from ..judgement.assess import latest
from ..judgement.records import subscription_from
from .known import derived_name, unchanged

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue


@dataclass(frozen=True)
class Task:
    """Of one cached file, the formats that are to be made; or why nothing can be."""

    name: str
    row: sqlite3.Row
    stated: t.Optional[Format]
    formats: tuple[str, ...]
    error: t.Optional[VmimagesError] = None

    def entry(self, wanted: str) -> dict[str, t.Any]:
        """One derivation, for the list of actions."""
        return {
            "action": "derive",
            "image": self.row["image_id"],
            "list": self.row["list_id"],
            "version": self.row["version"],
            "format": wanted,
            "name": derived_name(self.row["sha512"], str(self.stated), wanted),
        }


def tasks(
    catalogue: Catalogue,
    present: t.Collection[str],
    scope: Scope,
    formats: t.Sequence[str],
    most: int,
    *,
    damaged: t.Collection[str] = (),
    only: t.Optional[t.Collection[str]] = None,
) -> list[Task]:
    """What is to be made of the files `present` in `current`: what their subscriptions want, and `formats`.

    `damaged` are derived files that count as missing; where `only` is given, nothing but these is made.
    """
    found = []
    planned: set[str] = set()
    for name, row, kinds in _wants(catalogue, present, scope, formats):
        task = _task(catalogue, name, row, kinds, most, damaged, only)
        # Images may be the same octets: these are made once.
        missing = tuple(kind for kind in task.formats if task.entry(kind)["name"] not in planned)
        planned |= {task.entry(kind)["name"] for kind in missing}
        if missing or task.error:
            found.append(replace(task, formats=missing))
    return found


def wanted_names(catalogue: Catalogue, present: t.Collection[str], formats: t.Sequence[str]) -> set[str]:
    """The names of all derived files that somebody asks for."""
    found = set()
    for _name, row, kinds in _wants(catalogue, present, lambda _row: True, formats):
        try:
            stated = str(_stated(row))
        except DiskError:
            continue
        found |= {derived_name(row["sha512"], stated, kind) for kind in kinds}
    return found


def _wants(
    catalogue: Catalogue, present: t.Collection[str], scope: Scope, formats: t.Sequence[str]
) -> t.Iterator[tuple[str, sqlite3.Row, list[str]]]:
    """File name, image and formats, of the files that something is asked of."""
    lists = {row["list_id"]: row["definition"] for row in catalogue.rows("SELECT * FROM lists WHERE active = 1")}
    asked = {name: subscription_from(definition).formats for name, definition in lists.items()}
    if not formats and not any(asked.values()):
        return
    by_name: dict[str, list[sqlite3.Row]] = {}
    for row in latest(catalogue):
        if row["until"] is None and row["list_id"] in asked and scope(row):
            by_name.setdefault(file_name(row), []).append(row)
    for name in sorted(set(present) & set(by_name)):
        for rows in _by_format(by_name[name]):
            wanted = set(formats).union(*(asked[row["list_id"]] for row in rows))
            if wanted:
                yield name, rows[0], [kind for kind in WANTED if kind in wanted]


def _by_format(rows: list[sqlite3.Row]) -> t.Iterable[list[sqlite3.Row]]:
    """The images of one file by the format that their lists state: the statement of one is not that of another."""
    if len(rows) == 1:
        return [rows]
    found: dict[str, list[sqlite3.Row]] = {}
    for row in rows:
        found.setdefault(str(json.loads(row["metadata"]).get("hv:format")), []).append(row)
    return found.values()


def _stated(row: sqlite3.Row) -> Format:
    return parse_format(json.loads(row["metadata"]).get("hv:format"))


def _task(
    catalogue: Catalogue,
    name: str,
    row: sqlite3.Row,
    kinds: t.Sequence[str],
    most: int,
    damaged: t.Collection[str],
    only: t.Optional[t.Collection[str]],
) -> Task:
    try:
        stated = _stated(row)
    except DiskError as error:
        return Task(name, row, None, (), error if only is None else None)

    def is_missing(kind: str) -> bool:
        made = derived_name(row["sha512"], str(stated), kind)
        if (stated.is_plain and stated.disk == kind) or (only is not None and made not in only):
            return False
        return made in damaged or not _is_made(catalogue, made)

    missing = tuple(kind for kind in kinds if is_missing(kind))
    known = catalogue.row(
        "SELECT code, detail FROM underivable WHERE source_sha512 = ? AND source_format = ? AND most = ?",
        row["sha512"],
        str(stated),
        most,
    )
    if known is not None and missing:
        return Task(name, row, stated, (), DiskError(known["code"], known["detail"]))
    return Task(name, row, stated, missing)


def _is_made(catalogue: Catalogue, name: str) -> bool:
    made = catalogue.row("SELECT * FROM derived WHERE name = ?", name)
    return made is not None and unchanged(catalogue.state.derived / name, made) is not None


def orphans(catalogue: Catalogue, present: t.Collection[str]) -> list[sqlite3.Row]:
    """The rows of derived files whose source is not among the files `present` in `current`."""
    rows = catalogue.rows("SELECT DISTINCT name, sha512 FROM files WHERE state = 'current'")
    sources = {row["sha512"] for row in rows if row["name"] in present}
    return [row for row in catalogue.rows("SELECT * FROM derived ORDER BY name") if row["source_sha512"] not in sources]


def present(catalogue: Catalogue) -> set[str]:
    """The names of the files that the journal has in `current`."""
    return {row["name"] for row in catalogue.rows("SELECT name FROM files WHERE state = 'current'")}
