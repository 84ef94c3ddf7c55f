# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot ``verdicts.json``: what gates, monitoring and users without access to the index read.

It is written after every refresh, decision and change of the cache. A reader refuses it when the journal has gone on
with a line that may forbid something (a writer died in between, or has not finished), when it is older than the
reader's limit, or past an image's ``good_until``.

``verdicts.json`` itself has the lists and names the sheets with the verdicts, one file for each list (see `sheets`):
in a large catalogue a decision then writes one of them, a refresh those of the lists that have changed, and a gate
reads one, instead of all the verdicts that there are. Replacing ``verdicts.json`` publishes everything at once.
"""

from __future__ import annotations

import json
import os
import time
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ...errors import SiteError, TransferError, VmimagesError
from ...times import from_text, to_text
from ...transfer.atomic import sweep, write_atomic
from ...trust.anchor_files import fingerprint
from ..derived import known
from ..store import journal
from ..store.state import StateDirectory
from ..subscription import UUID
from . import sheets
from .records import stat_record
from .sheets import Sheet

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

FORMAT: t.Final = 2
#: Journal events that forbid nothing which the verdicts before them allow: a file that moved or changed is noticed by
#: its stat record.
HARMLESS: t.Final = frozenset(
    {
        "cached",
        "damaged",
        "derived",
        "expired",
        "handled",
        "handler_failed",
        "installed",
        "lost",
        "mail_failed",
        "mail_written",
        "mailed",
        "purged",
        "refused",
        "scrubbed",
        "underived",
        "uninstalled",
    }
)
_POLL: t.Final = 0.05


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as read: the document ``verdicts.json``, and where its sheets lie."""

    document: t.Mapping[str, t.Any]
    directory: Path

    @property
    def written(self) -> str:
        """When it was written."""
        return str(self.document["written"])

    @property
    def lists(self) -> t.Mapping[str, t.Any]:
        """The subscribed lists by identifier."""
        return t.cast("t.Mapping[str, t.Any]", self.document["lists"])

    def by_list(self) -> dict[str, Sheet]:
        """The sheets by list."""
        return {name: Sheet.from_dict(data) for name, data in self.document["sheets"].items()}

    def images(self) -> list[dict[str, t.Any]]:
        """All images with their verdicts, by UUID: one for each."""
        found = [
            _ended(json.loads(line), sheet)
            for sheet in self.by_list().values()
            for line in sheets.read(self.directory, sheet).splitlines()
        ]
        return sorted(found, key=lambda image: str(image["identifier"]))

    def find(self, by: sheets.By, name: str) -> list[dict[str, t.Any]]:
        """The images that have this UUID, tag or sha512: of subscribed lists first, then endorsed, then latest dated.

        Only sheets that may hold the name are read.
        """
        key = sheets.key_of(by, name)
        found = [
            _ended(image, sheet)
            for sheet in self.by_list().values()
            if sheet.may_hold(key)
            for image in sheets.find(self.directory, sheet, by, name)
        ]
        found.sort(key=lambda image: str(image["identifier"]))
        return sorted(
            found, key=lambda image: (image["list"] in self.lists, image["endorsed"], image["dated"]), reverse=True
        )

    def formats(self, image: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
        """By format, the files that may be started of one of these images, as `derived.known.Files` has them."""
        return known.of_snapshot(self.document.get("derived", ()), image)

    def summary(self) -> dict[str, t.Any]:
        """The document with ``images``, those of interest to people by UUID (decided on, wanted, cached, allowed), and
        ``others``, for each list how many further ones have which verdict."""
        found = self.by_list()
        listed = (
            _ended(image, sheet) for sheet in found.values() for image in sheets.read_listed(self.directory, sheet)
        )
        return {
            **self.document,
            "images": {image["identifier"]: image for image in listed},
            "others": {name: dict(sheet.others) for name, sheet in found.items() if sheet.others},
        }


def _ended(image: dict[str, t.Any], sheet: Sheet) -> dict[str, t.Any]:
    """The image, allowed until its list's own end at most."""
    judged = image["verdict"]
    if judged["allowed"]:
        judged["good_until"] = min((end for end in (judged["good_until"], sheet.end) if end), default=None)
    return image


def write(catalogue: Catalogue) -> None:
    """Replace the snapshot with what is to be said now about every image that a list names or named.

    Under the writers' lock, so that no older snapshot replaces a newer one. The reports that the site's settings name
    follow; when one cannot be written, that is a warning.
    """
    # A gate imports this module, and has no use for reports.
    from ..reports.publish import publish

    try:
        with catalogue.writing():
            sweep(catalogue.state.path)
            _write(catalogue)
    except TransferError as error:
        # What it tells of is committed all the same; until it is written, readers of the old one are refused.
        catalogue.warn(f"The change is recorded, but its snapshot was not written: {error}")
    for warning in publish(catalogue.state, lambda: _read(catalogue.state).summary(), catalogue.now()):
        catalogue.warn(warning)


def _write(catalogue: Catalogue) -> None:
    from ..endorsers import registry
    from .assess import Assessor
    from .composition import Former, compose

    state, head = catalogue.state, catalogue.head()
    assessor = Assessor(catalogue)
    former = _former(catalogue)
    composed = compose(assessor, Former(former, sheets.present(state.sheets) if former else {}))
    sheets.write(state.sheets, composed.new)
    document = {
        "format": FORMAT,
        "written": to_text(assessor.now),
        "until": to_text(composed.until) if composed.until else None,
        "journal": {"sequence": head.sequence, "digest": head.digest, "start": head.start, "size": head.end},
        "anchors": assessor.fingerprints(),
        "rules": [rule.as_dict() for rule in assessor.decided.rules],
        "endorsers": registry.told(catalogue),
        "lists": composed.lists,
        "sheets": {name: sheet.as_dict() for name, sheet in composed.sheets.items()},
        "derived": known.for_snapshot(catalogue),
    }
    write_atomic(state.snapshot, _lines(document).encode(), mode=0o644)
    if composed.new:
        sheets.tidy(state.sheets, {sheet.file for sheet in (*composed.sheets.values(), *former.values())})


def _lines(document: t.Mapping[str, t.Any]) -> str:
    """JSON with a line for each list and sheet: quickly written, and fit to be looked at."""
    parts = []
    for key, value in document.items():
        if key in ("lists", "sheets"):
            items = (f"  {json.dumps(name)}: {json.dumps(item, sort_keys=True)}" for name, item in value.items())
            parts.append(f' "{key}": {{\n' + ",\n".join(items) + "\n }")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, sort_keys=True)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _former(catalogue: Catalogue) -> dict[str, Sheet]:
    """The sheets of the present snapshot, if it was written after a line that the journal still has."""
    try:
        snapshot = _read(catalogue.state)
        known = snapshot.document["journal"]
        head = journal.Head(known["sequence"], known["digest"], known["start"], known["size"])
        if journal.holds(catalogue.state.journal, head):
            return snapshot.by_list()
    except (VmimagesError, ValueError, KeyError, TypeError):
        pass
    return {}


def ensure(catalogue: Catalogue) -> None:
    """Write the snapshot unless it says what would be said now.

    It may be missing or older than the journal, because a writer died before it could; anchors or CRLs may have
    changed since, or the time of a verdict may be over.
    """
    try:
        snapshot = load(catalogue.state, patience=0.0)
        document, files = snapshot.document, sheets.present(catalogue.state.sheets)
        known = document["journal"]["size"] == catalogue.head().end
        same = known and document["anchors"] == {path: fingerprint(path) for path in document["anchors"]}
        now, until = to_text(catalogue.now()), document["until"]
        there = all(files.get(one.file) == one.size for one in snapshot.by_list().values() if one.file)
        current = same and there and document["written"] <= now and (until is None or now < until)
    except (VmimagesError, KeyError, TypeError):
        current = False
    if not current:
        write(catalogue)


def load(state: StateDirectory, *, patience: float = 2.0) -> Snapshot:
    """The snapshot; ``snapshot_missing``, ``not_readable``, or ``snapshot_stale`` when the journal has gone on since
    with a line that may forbid something.

    A writer that is between such a line and its snapshot is waited for, `patience` seconds at most.
    """
    deadline = time.monotonic() + patience
    while True:
        snapshot = _read(state)
        if not _overtaken(state, snapshot.document["journal"]["size"]):
            return snapshot
        if time.monotonic() >= deadline:
            raise SiteError("snapshot_stale", f"{state.snapshot} is older than the journal.", path=str(state.snapshot))
        time.sleep(_POLL)


def _read(state: StateDirectory) -> Snapshot:
    path = state.snapshot
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise SiteError("snapshot_missing", f"There is no {path}.", path=str(path)) from error
    except OSError as error:
        raise SiteError("not_readable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    except ValueError as error:
        raise SiteError("snapshot_missing", f"{path} is damaged.", path=str(path)) from error
    if document.get("format") != FORMAT:
        code = "state_newer" if document.get("format", 0) > FORMAT else "snapshot_stale"
        raise SiteError(code, f"{path} has format {document.get('format')}, not {FORMAT}.")
    return Snapshot(document, state.sheets)


def _overtaken(state: StateDirectory, size: int) -> bool:
    """Whether the journal has lines beyond `size` octets after which a verdict may be another, and not only better."""
    try:
        with state.journal.open("rb") as stream:
            if os.fstat(stream.fileno()).st_size < size:
                return True
            stream.seek(size)
            lines = stream.read().split(b"\n")[:-1]
        return any(json.loads(line)["event"] not in HARMLESS for line in lines)
    except OSError as error:
        raise SiteError(
            "not_readable", f"{state.journal} cannot be read: {error.strerror}.", path=str(state.journal)
        ) from error
    except (ValueError, KeyError, TypeError):
        return True


def judge(snapshot: Snapshot, name: str, now: datetime, *, max_age: timedelta | None = None) -> dict[str, t.Any]:
    """The verdict of a UUID or tag as the snapshot has it, refused where it can no longer be believed.

    Raises ``unknown_image``, ``file_changed``, and ``snapshot_stale`` past the image's ``good_until``, or beyond
    `max_age` or the ``max_unrefreshed`` of its list.
    """
    image = _find(snapshot, name)
    _require_young(snapshot, now, max_age)
    answer = _answer(image, name, now)
    limit = snapshot.lists.get(image["list"], {}).get("max_unrefreshed")
    _require_young(snapshot, now, None if limit is None else timedelta(seconds=limit))
    return answer


def _require_young(snapshot: Snapshot, now: datetime, max_age: timedelta | None) -> None:
    written = from_text(snapshot.written)
    if now < written or (max_age is not None and written + max_age <= now):
        raise SiteError("snapshot_stale", f"The verdicts are of {snapshot.written}.")


def _answer(image: t.Mapping[str, t.Any], name: str, now: datetime) -> dict[str, t.Any]:
    judged = dict(image["verdict"])
    if not judged["allowed"]:
        return {**image, "verdict": judged}
    if judged["good_until"] and from_text(judged["good_until"]) <= now:
        raise SiteError("snapshot_stale", f"The verdict on {name} was good until {judged['good_until']}.")
    found = stat_record(Path(judged["path"]))
    if found is None or {key: found[key] for key in image["stat"]} != image["stat"]:
        raise SiteError("file_changed", f"{judged['path']} is no longer the verified file.", path=judged["path"])
    return {**image, "verdict": judged}


def _find(snapshot: Snapshot, name: str) -> t.Mapping[str, t.Any]:
    by: sheets.By = "identifier" if UUID.match(name.lower()) else "tag"
    found = snapshot.find(by, name.lower() if by == "identifier" else name)
    if not found:
        raise SiteError("unknown_image", f"No subscribed list holds an image {name!r}.", name=name)
    return found[0]
