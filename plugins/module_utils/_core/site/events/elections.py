# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a version of an endorser list has changed, person by person."""

from __future__ import annotations

import json
import typing as t

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

KINDS: t.Final = ("endorser_new", "endorser_gone", "endorser_changed")

_COME: t.Final = "SELECT person FROM members WHERE list_id = ? AND since = ?"
_LEFT: t.Final = "SELECT person FROM members WHERE list_id = ? AND until = ?"


def persons(catalogue: Catalogue, list_id: str, sequence: int, kind: str) -> list[str]:
    """The persons to whom this happened with the version that the journal line `sequence` accepted, by name."""
    come = {row["person"] for row in catalogue.rows(_COME, list_id, sequence)}
    left = {row["person"] for row in catalogue.rows(_LEFT, list_id, sequence)}
    return sorted({"endorser_new": come - left, "endorser_gone": left - come, "endorser_changed": come & left}[kind])


def stands(catalogue: Catalogue, list_id: str, person: str) -> bool:
    """Whether the list names this person now."""
    row = catalogue.row("SELECT 1 FROM members WHERE list_id = ? AND person = ? AND until IS NULL", list_id, person)
    return row is not None


def document(catalogue: Catalogue, list_id: str, sequence: int, person: str) -> dict[str, t.Any] | None:
    """What the list says about a person since that line or, of one who has gone, what it said until then."""
    row = catalogue.row(
        "SELECT definition FROM members WHERE list_id = ? AND person = ? AND (since = ? OR until = ?) "
        "ORDER BY since = ? DESC",
        list_id,
        person,
        sequence,
        sequence,
        sequence,
    )
    return json.loads(row["definition"]) if row else None
