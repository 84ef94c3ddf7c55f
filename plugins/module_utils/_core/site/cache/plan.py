# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cache should hold, and the steps from what it holds to that. Planning writes nothing."""

from __future__ import annotations

import re
import sqlite3
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..judgement.assess import Assessor, latest, require_list, resolve, stat_record

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

#: Refusals that may end without any act of the endorser or the site: the file stays where it is, and is not started.
PASSING: t.Final = frozenset(
    {
        "anchors_unreadable",
        "anchors_unsafe",
        "archive_damaged",
        "crl_unavailable",
        "internal_error",
        "library_missing",
        "list_not_yet_valid",
        "list_stale",
    }
)

_UNSAFE: t.Final = re.compile(r"[^A-Za-z0-9.-]")
_NAME: t.Final = re.compile(r"([0-9a-f-]{36})_([A-Za-z0-9.-]*)_([0-9a-f]{16})\Z")


@dataclass(frozen=True)
class Step:
    """One step for one image file.

    ``expire``: out of `current`, for the reason `code`; ``restore``: back from `expired`, unread since it was verified;
    ``read``: read the file at `source` and compare; ``download``.
    """

    action: str
    name: str
    row: sqlite3.Row
    code: str = ""
    source: Path | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """For the list of actions in results."""
        return {
            "action": self.action,
            "image": self.row["image_id"],
            "list": self.row["list_id"],
            "version": self.row["version"],
            "size": self.row["size"],
            "name": self.name,
            **({"code": self.code} if self.code else {}),
        }


def file_name(row: sqlite3.Row) -> str:
    """The cache's name for an image version: UUID, version, and the beginning of its sha512; never from an address."""
    return f"{row['image_id']}_{_safe(row['version'])}_{row['sha512'][:16]}"


def plan(
    catalogue: Catalogue, *, lists: t.Sequence[str] = (), images: t.Sequence[str] = (), verify: bool = False
) -> list[Step]:
    """The steps for all images, or for those of the lists and images (UUIDs, tags) named; `verify`: read every file."""
    assessor = Assessor(catalogue)
    rows = _scope(catalogue, lists, images)
    steps = [step for row in rows for step in _step(catalogue, assessor, row, verify=verify)]
    return [*_superseded(catalogue, rows), *steps]


def is_wanted(catalogue: Catalogue, row: sqlite3.Row) -> tuple[bool, str]:
    """Whether this very version of the image belongs into `current` now, and the code why not."""
    newest = latest(catalogue, list_id=row["list_id"], image_id=row["image_id"])
    if not newest or (newest[0]["version"], newest[0]["sha512"]) != (row["version"], row["sha512"]):
        return False, "superseded"
    return _wanted(Assessor(catalogue), newest[0])


def _scope(catalogue: Catalogue, lists: t.Sequence[str], images: t.Sequence[str]) -> list[sqlite3.Row]:
    if not lists and not images:
        return latest(catalogue)
    rows = [row for name in lists for row in latest(catalogue, list_id=require_list(catalogue, name))]
    for name in images:
        rows += latest(catalogue, image_id=resolve(catalogue, name)[0]["image_id"])
    return list({row["row"]: row for row in rows}.values())


def _wanted(assessor: Assessor, row: sqlite3.Row) -> tuple[bool, str]:
    known = assessor.assess(row, assume_file=True)
    if not known.verdict.allowed:
        return False, known.verdict.code
    subscription, _facts = assessor.of_list(row["list_id"])
    if subscription.selects(known.image_id, known.facts.tag, decided=known.decided):
        return True, ""
    return False, "not_selected"


def _step(catalogue: Catalogue, assessor: Assessor, row: sqlite3.Row, *, verify: bool) -> t.Iterator[Step]:
    name = file_name(row)
    wanted, code = _wanted(assessor, row)
    record = catalogue.row("SELECT * FROM files WHERE name = ?", name)
    current = catalogue.state.current / name
    present = stat_record(current)
    if not wanted:
        held = present is not None or (record is not None and record["state"] == "current")
        if held and code not in PASSING:
            yield Step("expire", name, row, code=code)
        return
    if present is not None:
        proved = record is not None and record["state"] == "current" and _same(present, record)
        if verify or not proved:
            yield Step("read", name, row, source=current)
        return
    expired = catalogue.state.expired / name
    kept = stat_record(expired)
    if kept is None:
        yield Step("download", name, row)
    elif record is not None and record["state"] == "expired" and _same(kept, record) and not verify:
        yield Step("restore", name, row, source=expired)
    else:
        yield Step("read", name, row, source=expired)


def _superseded(catalogue: Catalogue, rows: t.Sequence[sqlite3.Row]) -> t.Iterator[Step]:
    """Files of versions that are not the latest of their list any more, which the `rows` are."""
    newest = {file_name(row) for row in rows}
    scope = {(row["list_id"], row["image_id"]) for row in rows}
    recorded = {row["name"] for row in catalogue.rows("SELECT name FROM files WHERE state = 'current'")}
    found = {path.name for path in catalogue.state.current.iterdir()}
    for name in sorted((recorded | found) - newest):
        row = _row_of(catalogue, name)
        if row is not None and (row["list_id"], row["image_id"]) in scope:
            yield Step("expire", name, row, code="superseded")


def unknown_files(catalogue: Catalogue) -> list[str]:
    """Names in `current` that no image version has: left alone, and told."""
    return sorted(
        path.name
        for path in catalogue.state.current.iterdir()
        if path.name != "catalogue.json" and not path.name.startswith(".") and _row_of(catalogue, path.name) is None
    )


def _row_of(catalogue: Catalogue, name: str) -> sqlite3.Row | None:
    parts = _NAME.match(name)
    if parts is None:
        return None
    rows = catalogue.rows("SELECT * FROM images WHERE image_id = ? ORDER BY row DESC", parts.group(1))
    return next((row for row in rows if file_name(row) == name), None)


def _same(found: t.Mapping[str, int], record: sqlite3.Row) -> bool:
    return all(found[key] == record[key] for key in found)


def _safe(version: str) -> str:
    return _UNSAFE.sub("-", version)[:64]
