# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions that name neither an image nor a tag: those about whole lists and endorsers, and the rules of the site.

They are read once in a run. Where there are none, nothing is asked for any image.
"""

from __future__ import annotations

import json
import sqlite3
import typing as t
from functools import cached_property

from ...errors import SiteError
from ..endorsers.registry import registered
from .records import decision_from
from .verdict import Decision

if t.TYPE_CHECKING:
    from ..matching import Subject
    from ..rules.rule import Rule
    from ..store.catalogue import Catalogue
    from .records import ListRecord


def endorser_target(dn: str, ca: str) -> str:
    """How a decision names an endorser by their pair of names in slash form."""
    return f"{dn} issued by {ca}"


class Decided:
    """The site's decisions about lists and endorsers and its rules, as the index has them when they are first asked
    for."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._signers: dict[str, frozenset[str]] = {}

    @cached_property
    def rules(self) -> list[Rule]:
        """The rules in force, read and compiled."""
        row = self._catalogue.row("SELECT rules FROM rulesets ORDER BY sequence DESC LIMIT 1")
        return read_ruleset(row["rules"]) if row else []

    def endorsers(self, record: ListRecord) -> frozenset[str]:
        """Every name by which a decision may mean the signer of the list's accepted message; empty where none asks."""
        return self._signer(record) if self._ask_endorsers else frozenset()

    def beyond(self, row: sqlite3.Row, record: ListRecord) -> list[Decision]:
        """The decisions about the list of this row of `images` and about its signer, and what the rules say of it.

        Ended ones are included, and those that begin when the image is older.
        """
        found = self.about_list(record)
        if self.rules:
            subject = self.subject(row, record)
            found += [item for item in (rule.decide(subject) for rule in self.rules) if item is not None]
        return found

    def about_list(self, record: ListRecord) -> list[Decision]:
        """The decisions about the list and about its signer, ended ones included."""
        if not self._about_lists:
            return []
        names, own = {record.list_id, *self.endorsers(record)}, ("", record.list_id)
        return [item for item in self._about_lists if item.target in names and item.list_id in own]

    def subject(self, row: sqlite3.Row, record: ListRecord) -> Subject:
        """The image of a row of `images`, as a match sees it."""
        return subject_of(row, address=record.subscription.uri, vo=record.vo, endorsers=self._signer(record))

    def called(self, spellings: str) -> frozenset[str]:
        """What decisions may call a signer: the pair in each spelling, and the names of registered endorsers."""
        names = signer_names(spellings)
        return names.union(*(self._registered.get(name, ()) for name in names))

    @cached_property
    def _about_lists(self) -> list[Decision]:
        rows = self._catalogue.rows("SELECT * FROM decisions WHERE target_type IN ('list', 'endorser')")
        return [decision_from(row) for row in rows]

    @cached_property
    def _ask_endorsers(self) -> bool:
        return any(item.target_type == "endorser" for item in self._about_lists)

    def _signer(self, record: ListRecord) -> frozenset[str]:
        if record.list_id not in self._signers:
            self._signers[record.list_id] = self.called(record.spellings)
        return self._signers[record.list_id]

    @cached_property
    def _registered(self) -> dict[str, set[str]]:
        """The names of the registered endorsers, by what their pairs are called."""
        found: dict[str, set[str]] = {}
        for name, endorser in registered(self._catalogue).items():
            for pair in endorser.pairs:
                found.setdefault(endorser_target(*pair), set()).add(name)
        return found


def subject_of(row: sqlite3.Row, *, address: str, vo: str, endorsers: t.Collection[str]) -> Subject:
    """The image of a row of `images`, whose list is subscribed at `address`."""
    from ..matching import Subject

    return Subject(
        image_id=row["image_id"],
        list_id=row["list_id"],
        address=address,
        tag=row["tag"],
        size=row["size"],
        dated=row["dated"],
        described=row["metadata"],
        vo=vo,
        endorsers=endorsers,
    )


def read_ruleset(text: str) -> list[Rule]:
    """The rules of a row of `rulesets`; ``state_newer`` where one says what only a newer version understands."""
    from ..matching import MatchError
    from ..rules.rule import Rule

    try:
        return [Rule.from_dict(item) for item in json.loads(text)]
    except (MatchError, KeyError) as error:
        what = error.path if isinstance(error, MatchError) else str(error)
        raise SiteError(
            "state_newer", f"The rules of the site hold what this version does not know: {what}."
        ) from error


def signer_names(spellings: str) -> frozenset[str]:
    """What a decision may call the signer of an accepted message: `spellings` is that of its row of `origins`."""
    forms = json.loads(spellings) if spellings else {"dn": (), "ca": ()}
    return frozenset(endorser_target(dn, ca) for dn in forms["dn"] for ca in forms["ca"])
