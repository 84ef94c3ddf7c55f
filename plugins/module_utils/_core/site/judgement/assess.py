# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the index's rows to the verdict's facts, and to the answers that modules and the command give."""

from __future__ import annotations

import functools
import json
import sqlite3
import typing as t
from dataclasses import dataclass, replace
from datetime import datetime

from ...errors import SiteError
from ...times import from_text
from ..subscription import UUID, Subscription
from .decided import Decided
from .path_status import Judge
from .records import ImageRecords, ListRecord, chunks, image_records, list_records, subscription_from
from .verdict import Decision, FileFacts, ImageFacts, ListFacts, PathStatus, Verdict, earliest, verdict

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

#: The latest appearance of each image in each list.
_LATEST: t.Final = (
    "SELECT images.* FROM images JOIN (SELECT max(row) AS row FROM images {where} GROUP BY list_id, image_id) "
    "USING (row) ORDER BY list_id, images.row"
)
#: Of several images the latest dated endorsed one comes first, then the latest dated one.
_BEST: t.Final = (
    "SELECT images.* FROM images LEFT JOIN owners USING (image_id) "
    "JOIN lists ON lists.list_id = images.list_id WHERE {where} ORDER BY active DESC, "
    "until IS NULL DESC, images.list_id = owners.list_id DESC, dated DESC, images.image_id, images.row DESC"
)


@dataclass(frozen=True)
class Known:
    """One image of one list as the index knows it, with its verdict; `decisions` are those that speak of it, ended
    ones included."""

    row: sqlite3.Row
    list_id: str
    image_id: str
    facts: ImageFacts
    decisions: tuple[Decision, ...]
    verdict: Verdict

    @property
    def metadata(self) -> t.Mapping[str, t.Any]:
        """What the list says about the image."""
        return t.cast("t.Mapping[str, t.Any]", json.loads(self.row["metadata"]))


class Assessor:
    """Judges images at one point in time; what belongs to a list is looked up once for all of its images."""

    def __init__(self, catalogue: Catalogue, now: datetime | None = None) -> None:
        self.catalogue = catalogue
        self.now = now or catalogue.now()
        self._judge = Judge(catalogue)
        self.decided = Decided(catalogue)
        self._records: dict[str, ListRecord] = {}
        self._facts: dict[str, ListFacts] = {}

    def look_up(self, list_ids: t.Iterable[str]) -> None:
        """Read the records of many lists at once; the others are read when they are asked for."""
        new = list_records(self.catalogue, (name for name in list_ids if name not in self._records))
        if len(new) > 1:
            self._judge.look_up(new)
        self._records.update(new)

    def record(self, list_id: str) -> ListRecord:
        """What the index holds about a list."""
        if list_id not in self._records:
            self.look_up([list_id])
        return self._records[list_id]

    def of_list(self, list_id: str) -> tuple[Subscription, ListFacts]:
        """The subscription and the facts of a list."""
        record = self.record(list_id)
        if list_id not in self._facts:
            self._facts[list_id] = record.facts(self.decided.endorsers(record))
        return record.subscription, self._facts[list_id]

    def fingerprints(self) -> dict[str, str]:
        """The trust anchors that were looked at so far, and their state; without those that cannot be read."""
        return self._judge.fingerprints()

    def path_status(self, list_id: str) -> PathStatus:
        """How the list's message stands with the present anchors and CRLs."""
        return self._judge.status(list_id, self.record(list_id).subscription, self.now)

    def assess(self, row: sqlite3.Row, *, file: FileFacts | None = None) -> Known:
        """The verdict on one row of `images`; with `file` as it is with that file."""
        return next(self.assess_all([row], file=file))

    def assess_all(self, rows: t.Sequence[sqlite3.Row], *, file: FileFacts | None = None) -> t.Iterator[Known]:
        """The verdicts on many rows of `images`, in their order; with `file` in place of the file in the cache."""
        for some in chunks(rows):
            self.look_up(row["list_id"] for row in some)
            records = image_records(self.catalogue, some)
            for row in some:
                yield self._assess(row, records, file or self.file(row, records))

    def turns(self, known: Known) -> datetime | None:
        """When the verdict may be another by the clock alone, that of its list aside; None if never.

        Whatever lets time decide about an image has to be told here: until then the snapshot repeats the verdict.
        """
        record, times = self.record(known.list_id), [known.facts.expires]
        for item in record.subscription.select:
            window = item.window(self.decided.subject(known.row, record)) if not isinstance(item, str) else None
            times += window or ()
        ahead = (time for time in times if time is not None and self.now < time)
        return earliest(*ahead, *(decision.turns(self.now) for decision in known.decisions))

    def file(self, row: sqlite3.Row, records: ImageRecords) -> FileFacts | None:
        """The file of an image in the cache."""
        return records.file(row)

    def _assess(self, row: sqlite3.Row, records: ImageRecords, file: FileFacts | None) -> Known:
        list_id = row["list_id"]
        image = _image(row, records, file)
        record = self.record(list_id)
        decisions = (*records.decided(row), *self.decided.beyond(row, record))
        subscription, facts = self.of_list(list_id)
        relevant = [decision for decision in decisions if decision.applies(image, facts, self.now)]
        # Where nothing approves all images of the list, it is the decision about this one that is missing.
        as_a_whole = subscription.approves_new or any(item.approves and not item.chooses for item in relevant)
        chosen = any(item.chooses for item in relevant) or not as_a_whole
        subject = functools.partial(self.decided.subject, row, record)
        if not subscription.selects(image.identifier, image.tag, subject, decided=chosen, now=self.now):
            image = replace(image, selected=False)
        judged = verdict(image, facts, self.path_status(list_id), decisions, self.now)
        return Known(row, list_id, row["image_id"], image, decisions, judged)


def _image(row: sqlite3.Row, records: ImageRecords, file: FileFacts | None) -> ImageFacts:
    return ImageFacts(
        identifier=row["image_id"],
        title=str(json.loads(row["metadata"]).get("dc:title", "")),
        tag=row["tag"],
        version=row["version"],
        endorsed=row["until"] is None,
        owner=records.owners.get(row["image_id"], ""),
        expires=from_text(row["expires"]) if row["expires"] else None,
        file=file,
    )


def latest(catalogue: Catalogue, *, list_id: str | None = None, image_id: str | None = None) -> list[sqlite3.Row]:
    """The latest appearance of each image in each list, of one list's images, of one image, or of both."""
    terms = [("list_id", list_id), ("image_id", image_id)]
    given = [(column, value) for column, value in terms if value is not None]
    where = " AND ".join(f"{column} = ?" for column, _value in given)
    statement = _LATEST.format(where=f"WHERE {where}" if where else "")
    return catalogue.rows(statement, *(value for _column, value in given))


def resolve(catalogue: Catalogue, name: str) -> list[sqlite3.Row]:
    """The rows that a UUID or else a tag means, the best first; ``unknown_image`` when there is none."""
    return resolve_image(catalogue, name) if UUID.match(name.lower()) else resolve_tag(catalogue, name)


def resolve_image(catalogue: Catalogue, image_id: str) -> list[sqlite3.Row]:
    """The rows of a UUID, those of the list that owns it first; ``unknown_image`` when there is none."""
    rows = catalogue.rows(
        "SELECT images.* FROM images LEFT JOIN owners USING (image_id) WHERE image_id = ? "
        "ORDER BY images.list_id = owners.list_id DESC, images.row DESC",
        image_id.lower(),
    )
    return rows or _unknown(image_id)


def resolve_tag(catalogue: Catalogue, tag: str) -> list[sqlite3.Row]:
    """The rows of a tag: the latest dated endorsed image first, then the latest dated one; else ``unknown_image``."""
    return catalogue.rows(_BEST.format(where="tag = ? AND tag <> ''"), tag) or _unknown(tag)


def resolve_sha512(catalogue: Catalogue, digest: str) -> list[sqlite3.Row]:
    """The rows of all images that are these octets, in the same order; ``unknown_image`` when there is none."""
    # Without the plus SQLite puts the known value in for the column, and the index on the expression fits no more.
    where = "substr(sha512, 1, 16) = ? AND +sha512 = ?"
    return catalogue.rows(_BEST.format(where=where), digest.lower()[:16], digest.lower()) or _unknown(digest)


def unknown_image(name: str) -> SiteError:
    """The refusal for a name that means no image."""
    return SiteError("unknown_image", f"No subscribed list holds an image {name!r}.", name=name)


def _unknown(name: str) -> t.NoReturn:
    raise unknown_image(name)


def require_list(catalogue: Catalogue, name: str) -> str:
    """The identifier of a subscribed list, given by its identifier or its address; else ``unknown_list``."""
    row = catalogue.row("SELECT list_id FROM lists WHERE active = 1 AND (list_id = ? OR uri = ?)", name.lower(), name)
    if row is None:
        raise SiteError("unknown_list", f"No list {name!r} is subscribed.", name=name)
    return str(row["list_id"])


def active_lists(catalogue: Catalogue, names: t.Sequence[str] = ()) -> list[str]:
    """The identifiers of the subscribed lists, or of those named."""
    if names:
        return [require_list(catalogue, name) for name in names]
    return [row["list_id"] for row in catalogue.rows("SELECT list_id FROM lists WHERE active = 1 ORDER BY list_id")]


def pending_rebaseline(catalogue: Catalogue, list_id: str) -> dict[str, t.Any] | None:
    """The administrator's act that waits for its content: digest, reason, author, at, state; None if there is none."""
    row = catalogue.row("SELECT * FROM rebaselines WHERE list_id = ? AND state = 'pending'", list_id)
    return rebaseline_record(row) if row else None


def rebaseline_record(row: sqlite3.Row) -> dict[str, t.Any]:
    """A row of `rebaselines` for results; `digest` is the SHA-512 of the signed content."""
    return {"digest": row["content_sha512"], **{key: row[key] for key in ("reason", "author", "at", "state")}}


def subscription_of(catalogue: Catalogue, list_id: str) -> Subscription:
    """The subscription of a known list."""
    row = catalogue.row("SELECT definition FROM lists WHERE list_id = ?", list_id)
    if row is None:
        raise SiteError("unknown_list", f"No list {list_id!r} is subscribed.", name=list_id)
    return subscription_from(row["definition"])
