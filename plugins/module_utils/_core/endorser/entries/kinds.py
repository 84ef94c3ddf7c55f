# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a list of each kind is about: how it is composed, compared and told."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...endorserlist.kinds import ENDORSER_LIST, IMAGE_LIST
from ...endorserlist.model import MEMBERS
from ...imagelist import difference
from ...imagelist.model import IMAGES
from . import images, members

_Raw = t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Entries:
    """`key` holds them in the list object, `result` in results; `compose` gives the former, `tell` the latter."""

    key: str
    result: str
    compose: t.Callable[..., dict[str, t.Any]]
    by_identifier: t.Callable[[_Raw], t.Mapping[str, t.Any]]
    tell: t.Callable[[_Raw], list[dict[str, t.Any]]]


ENTRIES: t.Final[t.Mapping[str, Entries]] = {
    IMAGE_LIST: Entries(IMAGES, "images", images.compose, difference.images_by_identifier, images.tell),
    ENDORSER_LIST: Entries(MEMBERS, "endorsers", members.compose, members.by_identifier, members.tell),
}


def meaning(raw: _Raw) -> dict[str, t.Any]:
    """What a list of any kind says, for comparison: without dates and version, what it is about by identifier."""
    return {**difference.meaning(raw), MEMBERS: members.by_identifier(raw)}
