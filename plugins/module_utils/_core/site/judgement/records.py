# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the index and the cache hold about many lists or images at once: a few queries for all of them, not for each."""

from __future__ import annotations

import functools
import json
import os
import sqlite3
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ...errors import SiteError
from ...times import from_text
from ...transfer.atomic import storage_error
from ..subscription import Subscription
from .verdict import Decision, FileFacts, ListFacts

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

#: How many values one query names: SQLite of old allows 999.
CHUNK: t.Final = 400

_STANDING: t.Final = (
    "SELECT versions.*, spellings, vo FROM versions LEFT JOIN origins USING (sequence) WHERE sequence IN "
    "(SELECT max(sequence) FROM versions WHERE list_id IN ({marks}) GROUP BY list_id)"
)

T = t.TypeVar("T")


@dataclass(frozen=True)
class ListRecord:
    """A known list: its subscription, the row of `versions` that stands, with that of `origins`, what its server last
    answered (`polls`), and an act of re-baselining that waits; None for what there is not."""

    list_id: str
    subscription: Subscription
    active: bool
    version: sqlite3.Row | None
    poll: sqlite3.Row | None
    rebaseline: sqlite3.Row | None
    ended: str = ""

    @property
    def title(self) -> str:
        """The list's title, empty while no version was accepted."""
        return str(self.version["title"]) if self.version else ""

    @property
    def signer(self) -> dict[str, t.Any] | None:
        """Who signed the list's current message; None while no version was accepted."""
        return json.loads(self.version["signer"]) if self.version else None

    @property
    def spellings(self) -> str:
        """The names of who signed that message, in every spelling, as `origins` has them."""
        return str(self.version["spellings"] or "") if self.version else ""

    @property
    def vo(self) -> str:
        """The VO that the list names for all its images, empty for none."""
        return str(self.version["vo"] or "") if self.version else ""

    def facts(self, endorsers: frozenset[str] = frozenset()) -> ListFacts:
        """What the verdict asks about the list; `endorsers`: what decisions may call its signer."""
        subscription, version = self.subscription, self.version
        limit = subscription.max_unrefreshed
        return ListFacts(
            identifier=self.list_id,
            subscribed=self.active,
            version=version["version"] if version else None,
            created=from_text(version["created"]) if version else None,
            expires=from_text(version["expires"]) if version else None,
            max_age=subscription.age_limit(),
            approves_new=subscription.approves_new,
            by_name_only=subscription.new_images == "refuse",
            refreshed=self._refreshed(),
            max_unrefreshed=timedelta(seconds=limit) if limit else None,
            ended=self.ended,
            endorsers=endorsers,
        )

    def _refreshed(self) -> datetime | None:
        """When the list's server was last asked with success; on a host that has no note of it, the last acceptance."""
        if self.poll is not None and self.poll["refreshed"]:
            return from_text(self.poll["refreshed"])
        return from_text(self.version["accepted_at"]) if self.version else None


@functools.lru_cache(maxsize=4096)
def subscription_from(definition: str) -> Subscription:
    """The subscription that the index holds as `definition`."""
    return Subscription.from_options(json.loads(definition))


def list_records(catalogue: Catalogue, names: t.Iterable[str]) -> dict[str, ListRecord]:
    """The records of the lists `names`; ``unknown_list`` for one that was never subscribed."""
    wanted = list(dict.fromkeys(names))

    def of(statement: str) -> dict[str, sqlite3.Row]:
        return {row["list_id"]: row for row in keyed_rows(catalogue, statement, wanted)}

    lists = of("SELECT list_id, definition, active, ended FROM lists WHERE list_id IN ({marks})")
    versions = of(_STANDING)
    polls = of("SELECT * FROM polls WHERE list_id IN ({marks})")
    acts = of("SELECT * FROM rebaselines WHERE state = 'pending' AND list_id IN ({marks})")
    for name in wanted:
        if name not in lists:
            raise SiteError("unknown_list", f"No list {name!r} is subscribed.", name=name)
    return {
        name: ListRecord(
            list_id=name,
            subscription=subscription_from(lists[name]["definition"]),
            active=bool(lists[name]["active"]),
            ended=lists[name]["ended"],
            version=versions.get(name),
            poll=polls.get(name),
            rebaseline=acts.get(name),
        )
        for name in wanted
    }


@dataclass(frozen=True)
class ImageRecords:
    """What there is about some images beside their own rows: who owns their UUIDs, decisions, and files in the cache.

    `decisions` by kind of target and target, ended ones and those of all lists included.
    """

    owners: t.Mapping[str, str]
    decisions: t.Mapping[tuple[str, str], t.Sequence[Decision]]
    files: t.Mapping[tuple[str, str, str], FileFacts]

    def file(self, row: sqlite3.Row) -> FileFacts | None:
        """The cached file of a row of `images`, whatever list it was fetched for: these are the octets."""
        return self.files.get((row["image_id"], row["version"], row["sha512"]))

    def decided(self, row: sqlite3.Row) -> tuple[Decision, ...]:
        """The decisions about the image itself and about its tag, as far as they speak of its list."""
        targets = (("image", row["image_id"]), ("tag", row["tag"]))
        found = (decision for target in targets for decision in self.decisions.get(target, ()))
        return tuple(decision for decision in found if decision.list_id in ("", row["list_id"]))


def image_records(catalogue: Catalogue, rows: t.Sequence[sqlite3.Row]) -> ImageRecords:
    """The records of the images in `rows`, rows of `images`."""
    names = list({row["image_id"]: None for row in rows})
    tags = list({row["tag"]: None for row in rows if row["tag"]})
    decisions: dict[tuple[str, str], list[Decision]] = {}
    for kind, targets in (("image", names), ("tag", tags)):
        statement = f"SELECT * FROM decisions WHERE target_type = '{kind}' AND target IN ({{marks}})"
        for row in keyed_rows(catalogue, statement, targets):
            decisions.setdefault((kind, row["target"]), []).append(decision_from(row))
    owned = keyed_rows(catalogue, "SELECT image_id, list_id FROM owners WHERE image_id IN ({marks})", names)
    files = keyed_rows(catalogue, "SELECT * FROM files WHERE state = 'current' AND image_id IN ({marks})", names)
    return ImageRecords(
        owners={row["image_id"]: row["list_id"] for row in owned},
        decisions=decisions,
        files={(row["image_id"], row["version"], row["sha512"]): found for row, found in _looked_at(catalogue, files)},
    )


def _looked_at(catalogue: Catalogue, files: t.Iterable[sqlite3.Row]) -> t.Iterator[tuple[sqlite3.Row, FileFacts]]:
    """The rows of `files` whose files are there."""
    for row in files:
        path = catalogue.state.current / row["name"]
        found = stat_record(path)
        if found is not None:
            unchanged = all(found[key] == row[key] for key in found)
            yield row, FileFacts(str(path), unchanged, {key: row[key] for key in found})


def stat_record(path: Path) -> dict[str, int] | None:
    """Size in octets, mtime and ctime in nanoseconds, inode: what proves a verified file unchanged; None if gone.

    Raises TransferError ``not_readable`` where a directory on the way may not be entered.
    """
    try:
        return stat_facts(os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise storage_error(error, path, reading=True) from error


def stat_facts(found: os.stat_result) -> dict[str, int]:
    """The same of what was looked at already."""
    return {
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
        "inode": found.st_ino,
    }


def chunks(items: t.Sequence[T], size: int = CHUNK) -> t.Iterator[t.Sequence[T]]:
    """The items in pieces of `size`."""
    return (items[start : start + size] for start in range(0, len(items), size))


def keyed_rows(catalogue: Catalogue, statement: str, names: t.Sequence[str]) -> t.Iterator[sqlite3.Row]:
    """The rows of `statement` for all `names`, which stand for its ``{marks}``."""
    for some in chunks(names):
        yield from catalogue.rows(statement.format(marks=", ".join("?" * len(some))), *some)


def decision_from(row: sqlite3.Row) -> Decision:
    """A row of `decisions`."""
    return Decision(
        decision=row["decision"],
        target_type=row["target_type"],
        target=row["target"],
        reason=row["reason"],
        author=row["author"],
        until=from_text(row["until"]) if row["until"] else None,
        list_id=row["list_id"],
    )
