# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whom the subscribed endorser lists name, as the index has it."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from .endorser import Pair

if t.TYPE_CHECKING:
    import sqlite3

    from ...endorserlist.model import EndorserList
    from ...imagelist.difference import Sides
    from ..store.catalogue import Catalogue
    from .terms import Terms


@dataclass(frozen=True)
class Elected:
    """One person of an endorser list; `lists` are (address, identifier or None) of this person's image lists."""

    person: str
    pairs: tuple[Pair, ...]
    lists: tuple[tuple[str, str | None], ...]
    definition: t.Mapping[str, t.Any]


def elected(catalogue: Catalogue, list_id: str) -> list[Elected]:
    """The persons whom the accepted version of an endorser list names, in the order of their names."""
    rows = catalogue.rows("SELECT * FROM members WHERE list_id = ? AND until IS NULL ORDER BY person", list_id)
    return [_elected(row) for row in rows]


def accepted(catalogue: Catalogue, list_id: str, terms: Terms | None) -> list[dict[str, t.Any]] | None:
    """The persons whom an endorser list names, and whether the site accepts them; None for a list of another kind."""
    if terms is None:
        return None
    return [{**one.definition, "accepted": terms.accepts(one.person)} for one in elected(catalogue, list_id)]


def pairs_of(catalogue: Catalogue, list_id: str, person: str) -> tuple[Pair, ...] | None:
    """The (DN, CA) pairs of a person; None where the accepted version does not name this person."""
    row = catalogue.row("SELECT * FROM members WHERE list_id = ? AND person = ? AND until IS NULL", list_id, person)
    return _elected(row).pairs if row else None


def ever(catalogue: Catalogue, list_id: str, person: str) -> bool:
    """Whether any accepted version of the list named this person."""
    return catalogue.row("SELECT 1 FROM members WHERE list_id = ? AND person = ?", list_id, person) is not None


def absence(catalogue: Catalogue, list_id: str, person: str) -> str:
    """A sentence on why the list does not name this person, and since when."""
    row = catalogue.row(
        "SELECT versions.version, versions.accepted_at, versions.signer FROM members JOIN versions ON "
        "versions.sequence = members.until WHERE members.list_id = ? AND person = ? ORDER BY members.row DESC",
        list_id,
        person,
    )
    if row is None:
        return f"The endorser list {list_id} does not name {person}."
    signer = json.loads(row["signer"])["dn"]
    return (
        f"The endorser {person} was removed from the endorser list {list_id} in version {row['version']}, signed by "
        f"{signer} and accepted at {row['accepted_at']}."
    )


def difference(catalogue: Catalogue, list_id: str, content: EndorserList) -> Sides:
    """Who comes, goes and has other certificates or lists when this version of the list is accepted."""
    from ...imagelist.difference import compare

    before = {one.person: one.definition for one in elected(catalogue, list_id)}
    return compare(before, {member.identifier: member.as_dict() for member in content.members})


def _elected(row: sqlite3.Row) -> Elected:
    definition = json.loads(row["definition"])
    return Elected(
        person=row["person"],
        pairs=tuple((pair["dn"], pair["ca"]) for pair in definition["pairs"]),
        lists=tuple((one["uri"], one["identifier"]) for one in definition["lists"]),
        definition=definition,
    )
