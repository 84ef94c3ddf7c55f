# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot ``verdicts.json``: what gates, monitoring and users without access to the index read.

It is written after every refresh, decision and change of the cache. A reader refuses it when it is older than the
journal (a writer died in between, or has not finished), older than the reader's limit, or past an image's
``good_until``.
"""

from __future__ import annotations

import json
import time
import typing as t
from datetime import datetime, timedelta
from pathlib import Path

from ...errors import SiteError
from ...times import from_text, to_text
from ...transfer.atomic import sweep, write_atomic
from ..store.state import StateDirectory
from ..subscription import UUID
from .assess import Assessor, Known, active_lists, latest, pending_rebaseline, stat_record

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

FORMAT: t.Final = 1
_POLL: t.Final = 0.05


def write(catalogue: Catalogue) -> None:
    """Judge every image that a list names or named, and replace the snapshot with the result.

    Under the writers' lock, so that no older snapshot replaces a newer one. The reports that the site's settings name
    follow; when one cannot be written, that is a warning.
    """
    # A gate imports this module, and has no use for reports.
    from ..reports.publish import publish

    with catalogue.writing():
        sweep(catalogue.state.path)
        _write(catalogue)
    for warning in publish(catalogue.state, lambda: _read(catalogue.state)[0], catalogue.now()):
        catalogue.warn(warning)


def _write(catalogue: Catalogue) -> None:
    head = catalogue.head()
    assessor = Assessor(catalogue)
    images: dict[str, t.Any] = {}
    for row in latest(catalogue):
        known = assessor.assess(row)
        if known.image_id not in images or known.facts.owner == known.list_id:
            images[known.image_id] = _image(known)
    document = {
        "format": FORMAT,
        "written": to_text(assessor.now),
        "journal": {"sequence": head.sequence, "size": head.end},
        "lists": {name: describe_list(catalogue, assessor, name) for name in active_lists(catalogue)},
        "images": images,
    }
    octets = json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"
    write_atomic(catalogue.state.snapshot, octets, mode=0o644)


def ensure(catalogue: Catalogue) -> None:
    """Write the snapshot if it is missing or older than the journal: a writer may have died before it could."""
    try:
        load(catalogue.state, patience=0.0)
    except SiteError:
        write(catalogue)


def load(state: StateDirectory, *, patience: float = 2.0) -> dict[str, t.Any]:
    """The snapshot; ``snapshot_missing``, or ``snapshot_stale`` when the journal has gone on since.

    A writer that is between its journal line and its snapshot is waited for, `patience` seconds at most.
    """
    deadline = time.monotonic() + patience
    while True:
        document, journal_size = _read(state)
        if document["journal"]["size"] == journal_size:
            return document
        if time.monotonic() >= deadline:
            raise SiteError("snapshot_stale", f"{state.snapshot} is older than the journal.", path=str(state.snapshot))
        time.sleep(_POLL)


def _read(state: StateDirectory) -> tuple[dict[str, t.Any], int]:
    try:
        document = json.loads(state.snapshot.read_bytes())
        journal_size = state.journal.stat().st_size
    except OSError as error:
        raise SiteError(
            "snapshot_missing", f"{state.snapshot} cannot be read: {error.strerror}.", path=str(state.snapshot)
        ) from error
    except ValueError as error:
        raise SiteError("snapshot_missing", f"{state.snapshot} is damaged.", path=str(state.snapshot)) from error
    if document.get("format") != FORMAT:
        raise SiteError("state_newer", f"{state.snapshot} has format {document.get('format')}, not {FORMAT}.")
    return document, journal_size


def judge(
    document: t.Mapping[str, t.Any], name: str, now: datetime, *, max_age: timedelta | None = None
) -> dict[str, t.Any]:
    """The verdict of a UUID or tag as the snapshot has it, refused where it can no longer be believed.

    Raises ``unknown_image``, and ``snapshot_stale`` past the image's ``good_until`` or beyond `max_age`.
    """
    image = _find(document, name)
    written = from_text(document["written"])
    if now < written or (max_age is not None and written + max_age <= now):
        raise SiteError("snapshot_stale", f"The verdicts are of {document['written']}.")
    judged = dict(image["verdict"])
    if not judged["allowed"]:
        return {**image, "verdict": judged}
    if judged["good_until"] and from_text(judged["good_until"]) <= now:
        raise SiteError("snapshot_stale", f"The verdict on {name} was good until {judged['good_until']}.")
    found = stat_record(Path(judged["path"]))
    if found is None or {key: found[key] for key in image["stat"]} != image["stat"]:
        raise SiteError("file_changed", f"{judged['path']} is no longer the verified file.", path=judged["path"])
    return {**image, "verdict": judged}


def _find(document: t.Mapping[str, t.Any], name: str) -> t.Mapping[str, t.Any]:
    images = document["images"]
    if UUID.match(name.lower()):
        found = [images[name.lower()]] if name.lower() in images else []
    else:
        found = [image for image in images.values() if image["tag"] == name]
        found.sort(key=lambda image: (image["endorsed"], image["dated"]), reverse=True)
    if not found:
        raise SiteError("unknown_image", f"No subscribed list holds an image {name!r}.", name=name)
    return t.cast("t.Mapping[str, t.Any]", found[0])


def _image(known: Known) -> dict[str, t.Any]:
    path = known.verdict.path
    return {
        "identifier": known.image_id,
        "list": known.list_id,
        "title": known.facts.title,
        "tag": known.facts.tag,
        "version": known.facts.version,
        "endorsed": known.facts.endorsed,
        "dated": known.row["dated"],
        "sha512": known.row["sha512"],
        "stat": stat_record(Path(path)) if path else None,
        "verdict": known.verdict.as_dict(),
    }


def describe_list(catalogue: Catalogue, assessor: Assessor, name: str) -> dict[str, t.Any]:
    """One list: title, address, version, dates, last success, last error, an act of re-baselining that waits for its
    content, how its certification path stands."""
    subscription, facts = assessor.of_list(name)
    poll = catalogue.row("SELECT * FROM polls WHERE list_id = ?", name)
    status = assessor.path_status(name)
    return {
        "title": assessor.title(name),
        "uri": subscription.uri,
        "version": facts.version,
        "created": to_text(facts.created) if facts.created else None,
        "expires": to_text(facts.expires) if facts.expires else None,
        "refreshed": poll["refreshed"] if poll else None,
        "max_unrefreshed": subscription.max_unrefreshed,
        "error": {"code": poll["code"], "detail": poll["detail"]} if poll and poll["code"] else None,
        "rebaseline": pending_rebaseline(catalogue, name),
        "path": {
            "code": status.code,
            "detail": status.detail,
            "good_until": to_text(status.good_until) if status.good_until else None,
            "crls": list(status.crls),
        },
    }
