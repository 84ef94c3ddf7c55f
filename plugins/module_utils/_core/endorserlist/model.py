# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endorser list as read: whom a VO has elected to endorse images, and where their image lists are."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..imagelist.model import Endorser, SignedList

WRAPPER: t.Final = "hv:endorserlist"
MEMBERS: t.Final = "hv:endorsers"
MEMBER: t.Final = "hv:endorser"
LISTS: t.Final = "hv:imagelists"
VO: t.Final = "ad:vo"


@dataclass(frozen=True)
class ListAddress:
    """Where one image list of a person is; `identifier` pins its UUID, None where the VO does not state it."""

    uri: str
    identifier: t.Optional[str]

    def as_dict(self) -> dict[str, t.Optional[str]]:
        """For results."""
        return {"uri": self.uri, "identifier": self.identifier}


@dataclass(frozen=True)
class Member:
    """One person: `identifier` is what the VO calls this person, `names` are the certificate names to sign with.

    `raw` is the content of the person's ``hv:endorser`` as read.
    """

    identifier: str
    names: tuple[Endorser, ...]
    lists: tuple[ListAddress, ...]
    raw: t.Mapping[str, t.Any]

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The (DN, CA) pairs of the person."""
        return tuple((name.dn, name.ca) for name in self.names)

    def as_dict(self) -> dict[str, t.Any]:
        """For results."""
        return {
            "identifier": self.identifier,
            "pairs": [{"dn": dn, "ca": ca} for dn, ca in self.pairs],
            "name": next((name.name for name in self.names if name.name), ""),
            "email": next((name.email for name in self.names if name.email), ""),
            "lists": [one.as_dict() for one in self.lists],
        }


@dataclass(frozen=True)
class EndorserList(SignedList):
    """A whole endorser list; `endorsers` are who signs it, `members` whom it is about, `vo` is ``ad:vo``."""

    vo: str = ""
    members: tuple[Member, ...] = ()
