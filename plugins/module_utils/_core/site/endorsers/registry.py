# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's registry of endorsers, as the index has it."""

from __future__ import annotations

import json
import typing as t

from ...errors import SiteError
from .endorser import Endorser, Pair, likeness

if t.TYPE_CHECKING:
    import sqlite3

    from ..store.catalogue import Catalogue


def registered(catalogue: Catalogue) -> dict[str, Endorser]:
    """The registered endorsers by name; those that were removed are none."""
    rows = catalogue.rows("SELECT * FROM endorsers WHERE active = 1 ORDER BY name")
    return {row["name"]: _endorser(row) for row in rows}


def told(catalogue: Catalogue) -> list[dict[str, t.Any]]:
    """Everybody who is or was in the registry, as results say it."""
    return [describe(row) for row in catalogue.rows("SELECT * FROM endorsers ORDER BY name")]


def find(catalogue: Catalogue, name: str) -> Endorser | None:
    """The registered endorser of this name."""
    row = record(catalogue, name)
    return _endorser(row) if row is not None and row["active"] else None


def record(catalogue: Catalogue, name: str) -> sqlite3.Row | None:
    """What is known of the name: its row of `endorsers`, also of one that was removed; None for an unknown name."""
    return catalogue.row("SELECT * FROM endorsers WHERE name = ?", name)


def pairs_of(catalogue: Catalogue, name: str) -> tuple[Pair, ...]:
    """All (DN, CA) pairs of a registered endorser; ``unknown_endorser``."""
    endorser = find(catalogue, name)
    if endorser is None:
        raise SiteError("unknown_endorser", f"No endorser {name!r} is registered.", name=name)
    return endorser.pairs


def holder(catalogue: Catalogue, pair: Pair) -> str | None:
    """The name of the registered endorser that holds a pair, in this or another spelling."""
    row = catalogue.row("SELECT name FROM endorser_pairs WHERE dn = ? AND ca = ? AND held = 1", *pair)
    if row is not None:
        return str(row["name"])
    rows = catalogue.rows("SELECT name, dn, ca FROM endorser_pairs WHERE held = 1 ORDER BY dn, ca")
    sought = likeness(pair)
    return next((str(row["name"]) for row in rows if likeness((row["dn"], row["ca"])) == sought), None)


def barred(catalogue: Catalogue) -> list[sqlite3.Row]:
    """The pairs that were taken away: rows of `endorser_pairs`."""
    return catalogue.rows("SELECT * FROM endorser_pairs WHERE held = 0 ORDER BY dn, ca")


def held(catalogue: Catalogue) -> tuple[Pair, ...]:
    """All pairs that registered endorsers hold."""
    rows = catalogue.rows("SELECT dn, ca FROM endorser_pairs WHERE held = 1 ORDER BY dn, ca")
    return tuple((row["dn"], row["ca"]) for row in rows)


def describe(row: sqlite3.Row) -> dict[str, t.Any]:
    """A row of `endorsers` for results: who it is, whether still registered, and by whom and when that was said."""
    data = json.loads(row["definition"])
    return {
        **{key: data.get(key, "") for key in ("name", "email", "comment")},
        "pairs": data["pairs"],
        "registered": bool(row["active"]),
        "reason": row["reason"],
        "author": row["author"],
        "at": row["at"],
    }


def _endorser(row: sqlite3.Row) -> Endorser:
    return Endorser.from_options(json.loads(row["definition"]))
