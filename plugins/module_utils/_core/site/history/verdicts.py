# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts as of an earlier time, for audits: what a gate would have been told then. They authorise nothing.

Decisions, endorsement, approval and expiry are those of that time. The certification path is judged as of that time
with the trust anchors and CRLs that are there now: a CRL tells from which date on a certificate is revoked.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import typing as t
from dataclasses import replace
from datetime import datetime

from ...errors import SiteError
from ...times import to_text
from .. import queries
from ..judgement import asked
from ..judgement.assess import Assessor, resolve_sha512
from ..judgement.path_status import Judge
from ..judgement.verdict import FileFacts, ListFacts
from ..store import past
from ..subscription import Subscription

if t.TYPE_CHECKING:
    from ..judgement.asked import Candidate
    from ..judgement.records import ImageRecords
    from ..store.catalogue import Catalogue
    from ..store.state import StateDirectory

#: More images than this are not looked for one by one.
_FEW: t.Final = 400
_NOTES: t.Final = (
    "The certification path is judged as of that time with the trust anchors and CRLs that are there now.",
    "When the list's server had last been asked in vain is not known, nor whether the file had been changed.",
)


class PastAssessor(Assessor):
    """Judges images of a catalogue of the past as of that time."""

    def __init__(self, catalogue: past.Past, present: datetime) -> None:
        super().__init__(catalogue, catalogue.moment.when)
        self._judge = Judge(catalogue, crls_at=present)

    def of_list(self, list_id: str) -> tuple[Subscription, ListFacts]:
        """As then; nobody wrote down when the list's server was asked without any news."""
        subscription, facts = super().of_list(list_id)
        return subscription, replace(facts, refreshed=None)

    def file(self, row: sqlite3.Row, records: ImageRecords) -> FileFacts | None:
        """The file that was in the cache then, as it was verified, wherever it is now."""
        found = self.catalogue.row(
            "SELECT * FROM files WHERE image_id = ? AND version = ? AND sha512 = ? AND state = 'current'",
            row["image_id"],
            row["version"],
            row["sha512"],
        )
        return FileFacts(str(self.catalogue.state.current / found["name"]), True) if found else None


def judge(
    state: StateDirectory,
    name: str,
    when: datetime,
    *,
    now: datetime,
    kind: str,
    file: Candidate | None = None,
    source: Catalogue | None = None,
) -> dict[str, t.Any]:
    """One image by UUID, tag, SHA-512 or file, with its verdict as of `when`; see `queries.judge` for the codes.

    `source` is the present catalogue, where it can be opened. ``option_invalid`` for a time that is still to come.
    """
    sought = [(kind, name)] if file is None else [(asked.SHA512, _digest(file, source))]
    with _opened(state, when, now=now, source=source, sought=sought) as catalogue:
        kind, name = sought[0]
        with _then(when):
            answer = queries.judge(catalogue, name, kind=kind, assessor=PastAssessor(catalogue, now))
        return {**_audited(answer), **_about(catalogue.moment)}


def images(
    source: Catalogue,
    when: datetime,
    *,
    images: t.Sequence[str] = (),
    tags: t.Sequence[str] = (),
    lists: t.Sequence[str] = (),
    sha512: t.Sequence[str] = (),
    files: t.Sequence[Candidate] = (),
    state: str = "any",
) -> dict[str, t.Any]:
    """As `queries.images`, as of `when`: ``images``, and what there is to be said about the audit itself.

    With `state` those that would have been allowed, or refused.
    """
    digests = [*sha512, *(_digest(file, source) for file in files)]
    sought: list[tuple[str, str]] | None = [
        *((asked.IMAGE, name) for name in images),
        *((asked.TAG, name) for name in tags),
        *((asked.SHA512, name) for name in digests),
    ]
    if lists or not sought:
        sought = None
    now = source.now()
    with _opened(source.state, when, now=now, source=source, sought=sought) as catalogue, _then(when):
        found = queries.images(
            catalogue,
            images=images,
            tags=tags,
            lists=lists,
            sha512=digests,
            state=state,
            assessor=PastAssessor(catalogue, now),
        )
        return {"images": [_audited(answer) for answer in found], **_about(catalogue.moment)}


@contextlib.contextmanager
def _opened(
    state: StateDirectory,
    when: datetime,
    *,
    now: datetime,
    source: Catalogue | None,
    sought: t.Sequence[tuple[str, str]] | None,
) -> t.Iterator[past.Past]:
    if when > now:
        raise SiteError("option_invalid", f"{to_text(when)} is still to come: the past alone can be audited.")
    found = _sought(source, sought) if source is not None and sought is not None else None
    with past.opened(state, when, source=source, images=found) as catalogue:
        yield catalogue


def _sought(source: Catalogue, sought: t.Sequence[tuple[str, str]]) -> set[str] | None:
    """The UUIDs of all images that these names may have meant at any time; None for very many."""
    found: set[str] = set()
    for kind, name in sought:
        if kind == asked.TAG:
            # A tag is some text among the image's metadata, whatever the subscription said then.
            part = json.dumps(name)[1:-1]
            rows = source.rows("SELECT DISTINCT image_id FROM images WHERE instr(metadata, ?)", part)
            found.update(row["image_id"] for row in rows)
        elif kind == asked.SHA512:
            with contextlib.suppress(SiteError):
                found.update(row["image_id"] for row in resolve_sha512(source, name))
        else:
            found.add(name.lower())
    return found if len(found) <= _FEW else None


def _digest(file: Candidate, source: Catalogue | None) -> str:
    """The SHA-512 of a file: that of its record in the present catalogue, or that of its octets."""
    if source is not None:
        return str(asked.find(source, file.asked, asked.PATH, file).rows[0]["sha512"])
    digest = file.sha512()
    if digest is None:
        raise asked.unknown_file(file)
    return digest


@contextlib.contextmanager
def _then(when: datetime) -> t.Iterator[None]:
    """What was not known then may well be known now: the refusal says of which time it speaks."""
    try:
        yield
    except SiteError as error:
        if error.code not in ("unknown_image", "unknown_list"):
            raise
        raise SiteError(error.code, f"As of {to_text(when)}: {error.detail}", **error.context) from error


def _audited(answer: dict[str, t.Any]) -> dict[str, t.Any]:
    """The answer with a verdict that nobody can take for one of now."""
    verdict, cache = answer["verdict"], answer["cache"]
    return {
        **answer,
        "verdict": {**verdict, "allowed": False, "would_have_been_allowed": verdict["allowed"], "path": None},
        "cache": {"path": cache["path"], "unchanged": None} if cache else None,
        "formats": {},
    }


def _about(moment: past.Moment) -> dict[str, t.Any]:
    return {
        "audit": True,
        "authorises": False,
        "as_of": to_text(moment.when),
        "basis": {
            "journal_line": moment.sequence,
            "journal_line_at": moment.at,
            "doubt": moment.doubt,
            "notes": list(_NOTES),
        },
    }
