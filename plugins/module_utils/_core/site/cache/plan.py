# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cache should hold, and the steps from what it holds to that. Planning writes nothing."""

from __future__ import annotations

import re
import sqlite3
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ...transfer.atomic import listed
from ..judgement.assess import Assessor, latest, require_list, resolve
from ..judgement.records import stat_record
from ..judgement.verdict import FileFacts

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

#: Whether a file name is among those meant.
Names = t.Callable[[str], bool]

#: Whether a row of `images` or of `files` is among what was asked for.
Scope = t.Callable[[sqlite3.Row], bool]

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


class _Judged(t.NamedTuple):
    """An image of one list: whether that list wants its file in `current`, or the code why not."""

    row: sqlite3.Row
    wanted: bool
    code: str
    owned: bool


def file_name(row: sqlite3.Row) -> str:
    """The cache's name for an image version: UUID, version, and the beginning of its sha512; never from an address."""
    return f"{row['image_id']}_{_UNSAFE.sub('-', row['version'])[:64]}_{row['sha512'][:16]}"


def none(_name: str) -> bool:
    """No file."""
    return False


def scope_of(catalogue: Catalogue, *, lists: t.Sequence[str] = (), images: t.Sequence[str] = ()) -> Scope:
    """All images, or those of the lists and images (UUIDs, tags) named; ``unknown_list``, ``unknown_image``."""
    if not lists and not images:
        return lambda row: True
    list_ids = {require_list(catalogue, name) for name in lists}
    image_ids = {resolve(catalogue, name)[0]["image_id"] for name in images}
    return lambda row: row["list_id"] in list_ids or row["image_id"] in image_ids


def plan(catalogue: Catalogue, scope: Scope, *, reread: Names = none) -> list[Step]:
    """The steps for the images in `scope`; the files whose names are in `reread` are read, whatever is known of them.

    Lists may share a file, by endorsing the same image: what one of them wants is not taken away for another.
    """
    assessor = Assessor(catalogue)
    candidates: dict[str, list[sqlite3.Row]] = {}
    for row in latest(catalogue):
        candidates.setdefault(file_name(row), []).append(row)
    steps = [*_superseded(catalogue, candidates.keys(), scope)]
    asked = {name: rows for name, rows in candidates.items() if any(scope(row) for row in rows)}
    judged = _judge_all(assessor, [row for rows in asked.values() for row in rows])
    for name, rows in asked.items():
        steps += _steps(catalogue, name, [next(judged) for _row in rows], scope, reread=reread)
    return steps


class Wanted:
    """Says whether an image version belongs into `current` now, as often as it is asked.

    What all images have in common is looked up anew when others have written to the journal, and every few seconds.
    """

    LASTS: t.ClassVar[float] = 5.0

    def __init__(self, catalogue: Catalogue, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._renew()

    def ask(self, row: sqlite3.Row) -> tuple[bool, str]:
        """Whether this very version is wanted, and the code why not; the catalogue has been caught up."""
        newest = latest(self._catalogue, list_id=row["list_id"], image_id=row["image_id"])
        if not newest or (newest[0]["version"], newest[0]["sha512"]) != (row["version"], row["sha512"]):
            return False, "superseded"
        self.refresh()
        judged = _judge(self._assessor, newest[0])
        return judged.wanted, judged.code

    def refresh(self) -> None:
        """Look everything up again, if it may have changed."""
        if self._catalogue.head() != self._head or self._is_old():
            self._renew()

    def wrote(self) -> None:
        """Our own lines about files, written since `refresh` under the same lock, change no answer."""
        self._head = self._catalogue.head()

    def _renew(self) -> None:
        self._head = self._catalogue.head()
        self._assessor = Assessor(self._catalogue)
        self._since = self._clock()

    def _is_old(self) -> bool:
        by_site = abs((self._catalogue.now() - self._assessor.now).total_seconds())
        return by_site >= self.LASTS or self._clock() - self._since >= self.LASTS


def proves(record: sqlite3.Row | None, found: t.Mapping[str, int], row: sqlite3.Row) -> bool:
    """Whether a file with the stat `found` is, untouched, the one that `record` says was verified as image `row`."""
    return (
        record is not None
        and (record["sha512"], record["size"]) == (row["sha512"], row["size"])
        and all(found[key] == record[key] for key in found)
    )


def record_of(catalogue: Catalogue, name: str) -> sqlite3.Row | None:
    """What the journal last said about the file `name`."""
    return catalogue.row("SELECT * FROM files WHERE name = ?", name)


def row_of(catalogue: Catalogue, name: str) -> sqlite3.Row | None:
    """The image version that has the file name `name`, if one has."""
    parts = _NAME.match(name)
    if parts is None:
        return None
    rows = catalogue.rows("SELECT * FROM images WHERE image_id = ? ORDER BY row DESC", parts.group(1))
    return next((row for row in rows if file_name(row) == name), None)


def unknown_files(catalogue: Catalogue) -> list[str]:
    """Names in `current` that no image version has: left alone, and told."""
    return sorted(
        path.name
        for path in listed(catalogue.state.current)
        if path.name != "catalogue.json" and not path.name.startswith(".") and row_of(catalogue, path.name) is None
    )


def _judge(assessor: Assessor, row: sqlite3.Row) -> _Judged:
    return next(_judge_all(assessor, [row]))


def _judge_all(assessor: Assessor, rows: t.Sequence[sqlite3.Row]) -> t.Iterator[_Judged]:
    for known in assessor.assess_all(rows, file=FileFacts("", True)):
        owned, selected = known.facts.owner == known.list_id, known.facts.selected
        if not known.verdict.allowed:
            yield _Judged(known.row, False, known.verdict.code, owned)
        else:
            yield _Judged(known.row, selected, "" if selected else "not_selected", owned)


def _steps(
    catalogue: Catalogue, name: str, judged: t.Sequence[_Judged], scope: Scope, *, reread: Names
) -> t.Iterator[Step]:
    """The steps for one file name, which some lists want, or none."""
    wanted = next((item.row for item in judged if item.wanted), None)
    if wanted is None:
        # The list that owns the image has the say; the others only tell that they do not own it.
        yield from _unwanted(catalogue, name, next((item for item in judged if item.owned), judged[0]))
    elif scope(wanted):
        yield from _needed(catalogue, name, wanted, reread=reread)


def _unwanted(catalogue: Catalogue, name: str, judged: _Judged) -> t.Iterator[Step]:
    record = record_of(catalogue, name)
    recorded = record is not None and record["state"] == "current"
    if judged.code not in PASSING and (recorded or stat_record(catalogue.state.current / name) is not None):
        yield Step("expire", name, judged.row, code=judged.code)


def _needed(catalogue: Catalogue, name: str, row: sqlite3.Row, *, reread: Names) -> t.Iterator[Step]:
    record = record_of(catalogue, name)
    state = record["state"] if record is not None else ""
    current = catalogue.state.current / name
    present = stat_record(current)
    if present is not None:
        if reread(name) or state != "current" or not proves(record, present, row):
            yield Step("read", name, row, source=current)
        return
    expired = catalogue.state.expired / name
    kept = stat_record(expired)
    if kept is None:
        yield Step("download", name, row)
    elif state == "expired" and proves(record, kept, row) and not reread(name):
        yield Step("restore", name, row, source=expired)
    else:
        yield Step("read", name, row, source=expired)


def _superseded(catalogue: Catalogue, newest: t.Collection[str], scope: Scope) -> t.Iterator[Step]:
    """Files of versions that are not the latest of any list any more; `newest` are the names that are."""
    recorded = {row["name"] for row in catalogue.rows("SELECT name FROM files WHERE state = 'current'")}
    found = {path.name for path in listed(catalogue.state.current)}
    for name in sorted((recorded | found).difference(newest)):
        row = row_of(catalogue, name)
        if row is not None and scope(row):
            yield Step("expire", name, row, code="superseded")
