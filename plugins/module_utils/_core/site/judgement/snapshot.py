# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The snapshot ``verdicts.json``: what gates, monitoring and users without access to the index read.

It is written after every refresh, decision and change of the cache. A reader refuses it when the journal has gone on
with a line that may forbid something (a writer died in between, or has not finished), when it is older than the
reader's limit, or past an image's ``good_until``.
"""

from __future__ import annotations

import json
import os
import time
import typing as t
from datetime import datetime, timedelta
from pathlib import Path

from ...errors import SiteError, TransferError, VmimagesError
from ...times import from_text, to_text
from ...transfer.atomic import sweep, write_atomic
from ...trust.anchors import fingerprint
from ..store.state import StateDirectory
from ..subscription import UUID
from .assess import Assessor, Known, active_lists, latest, rebaseline_record
from .records import stat_record

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

FORMAT: t.Final = 1
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


def write(catalogue: Catalogue) -> None:
    """Judge every image that a list names or named, and replace the snapshot with the result.

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
    for warning in publish(catalogue.state, lambda: _read(catalogue.state), catalogue.now()):
        catalogue.warn(warning)


def _write(catalogue: Catalogue) -> None:
    head = catalogue.head()
    assessor = Assessor(catalogue)
    images: dict[str, t.Any] = {}
    for known in assessor.assess_all(latest(catalogue)):
        if known.image_id not in images or known.facts.owner == known.list_id:
            images[known.image_id] = _image(known)
    document = {
        "format": FORMAT,
        "written": to_text(assessor.now),
        "journal": {"sequence": head.sequence, "digest": head.digest, "start": head.start, "size": head.end},
        "anchors": assessor.fingerprints(),
        "lists": {name: describe_list(assessor, name) for name in active_lists(catalogue)},
        "images": images,
    }
    octets = json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"
    write_atomic(catalogue.state.snapshot, octets, mode=0o644)


def ensure(catalogue: Catalogue) -> None:
    """Write the snapshot unless it says what would be said now.

    It may be missing or older than the journal, because a writer died before it could; anchors or CRLs may have
    changed since, or the time of a verdict may be over.
    """
    try:
        document = load(catalogue.state, patience=0.0)
        known = document["journal"]["size"] == catalogue.head().end
        same = known and document["anchors"] == {path: fingerprint(path) for path in document["anchors"]}
        ends = [image["verdict"]["good_until"] for image in document["images"].values()]
        now = to_text(catalogue.now())
        current = same and document["written"] <= now and all(end is None or now < end for end in ends)
    except (VmimagesError, KeyError):
        current = False
    if not current:
        write(catalogue)


def load(state: StateDirectory, *, patience: float = 2.0) -> dict[str, t.Any]:
    """The snapshot; ``snapshot_missing``, ``not_readable``, or ``snapshot_stale`` when the journal has gone on since
    with a line that may forbid something.

    A writer that is between such a line and its snapshot is waited for, `patience` seconds at most.
    """
    deadline = time.monotonic() + patience
    while True:
        document = _read(state)
        if not _overtaken(state, document["journal"]["size"]):
            return document
        if time.monotonic() >= deadline:
            raise SiteError("snapshot_stale", f"{state.snapshot} is older than the journal.", path=str(state.snapshot))
        time.sleep(_POLL)


def _read(state: StateDirectory) -> dict[str, t.Any]:
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
        raise SiteError("state_newer", f"{path} has format {document.get('format')}, not {FORMAT}.")
    return t.cast("dict[str, t.Any]", document)


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
        found = in_order(document, (image for image in images.values() if image["tag"] == name))
    if not found:
        raise SiteError("unknown_image", f"No subscribed list holds an image {name!r}.", name=name)
    return t.cast("t.Mapping[str, t.Any]", found[0])


def in_order(document: t.Mapping[str, t.Any], images: t.Iterable[t.Mapping[str, t.Any]]) -> list[t.Mapping[str, t.Any]]:
    """The images, the latest dated endorsed one first, then the latest dated one."""
    subscribed = document["lists"]
    return sorted(
        images, key=lambda image: (image["list"] in subscribed, image["endorsed"], image["dated"]), reverse=True
    )


def _image(known: Known) -> dict[str, t.Any]:
    file = known.facts.file
    return {
        "identifier": known.image_id,
        "list": known.list_id,
        "title": known.facts.title,
        "tag": known.facts.tag,
        "version": known.facts.version,
        "endorsed": known.facts.endorsed,
        "dated": known.row["dated"],
        "sha512": known.row["sha512"],
        "stat": dict(file.record) if file else None,
        "verdict": known.verdict.as_dict(),
    }


def describe_list(assessor: Assessor, name: str) -> dict[str, t.Any]:
    """One list: title, address, version, dates, last success, last error, an act of re-baselining that waits for its
    content, how its certification path stands."""
    subscription, facts = assessor.of_list(name)
    record = assessor.record(name)
    poll, act = record.poll, record.rebaseline
    status = assessor.path_status(name)
    return {
        "title": record.title,
        "uri": subscription.uri,
        "version": facts.version,
        "created": to_text(facts.created) if facts.created else None,
        "expires": to_text(facts.expires) if facts.expires else None,
        "refreshed": poll["refreshed"] if poll else None,
        "max_unrefreshed": subscription.max_unrefreshed,
        "error": {"code": poll["code"], "detail": poll["detail"]} if poll and poll["code"] else None,
        "rebaseline": rebaseline_record(act) if act else None,
        "path": {
            "code": status.code,
            "detail": status.detail,
            "good_until": to_text(status.good_until) if status.good_until else None,
            "crls": list(status.crls),
        },
    }
