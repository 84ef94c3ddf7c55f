# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Notes of this host on what the lists' servers answered last; no journal line speaks of them."""

from __future__ import annotations

import sqlite3
import typing as t
from datetime import datetime

from ...times import from_text, to_text

if t.TYPE_CHECKING:
    from ...errors import VmimagesError
    from ...transfer.sources import Validators
    from ..judgement.records import ListRecord
    from ..store.catalogue import Catalogue
    from .offer import Accepted, Offer


def note_poll(catalogue: Catalogue, name: str, uri: str, offer: Offer, error: VmimagesError | None) -> None:
    """Note what the server answered: after a success its validators, after a failure none, to be told everything."""
    now = to_text(catalogue.now())
    if error is not None:
        catalogue.note(
            "INSERT INTO polls VALUES (?, NULL, NULL, NULL, NULL, ?, ?, ?) ON CONFLICT (list_id) DO UPDATE SET "
            "etag = NULL, last_modified = NULL, checked = excluded.checked, code = excluded.code, "
            "detail = excluded.detail",
            name,
            now,
            error.code,
            error.detail,
        )
    elif offer.status == "unchanged":
        catalogue.note("UPDATE polls SET refreshed = ?, checked = ? WHERE list_id = ?", now, now, name)
    else:
        from ...transfer.sources import Validators

        validators = offer.validators or Validators(etag=None, last_modified=None)
        catalogue.note(
            "INSERT OR REPLACE INTO polls VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
            name,
            now,
            validators.etag,
            validators.last_modified,
            _basis(catalogue.standing_version(name), uri),
            now,
        )


def last_refreshed(catalogue: Catalogue, name: str) -> datetime | None:
    """When a list was last fetched, or confirmed by its server, with success."""
    row = catalogue.row("SELECT refreshed FROM polls WHERE list_id = ?", name)
    return from_text(row["refreshed"]) if row and row["refreshed"] else None


def note_unchanged(catalogue: Catalogue, names: t.Sequence[str]) -> None:
    """Note, all at once, that the servers of these lists have said that nothing changed.

    If that is lost, the lists count as asked earlier than they were, which errs on the safe side.
    """
    now = to_text(catalogue.now())
    catalogue.note_all(
        "UPDATE polls SET refreshed = ?, checked = ? WHERE list_id = ?", [(now, now, name) for name in names]
    )


def validators_for(record: ListRecord, last: Accepted | None) -> Validators | None:
    """What the server may answer "unchanged" to; None, to be told everything.

    They count for the message and the address that they were given with: a catalogue that was restored from a backup,
    or a subscription that has moved, asks for everything. So does one that waits for another message.
    """
    poll = record.poll
    if poll is None or not (poll["etag"] or poll["last_modified"]):
        return None
    if poll["basis"] != _basis(record.version, record.subscription.uri):
        return None
    if last is not None and (not last.stands or last.rebaseline is not None):
        return None
    from ...transfer.sources import Validators

    return Validators(etag=poll["etag"], last_modified=poll["last_modified"])


def _basis(version: sqlite3.Row | None, uri: str) -> str:
    return f"{version['message_sha256'] if version else ''} {uri}"
