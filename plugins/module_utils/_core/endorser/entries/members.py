# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The persons of an endorser list, from what is declared and what is published: pure functions."""

from __future__ import annotations

import typing as t

from ...endorserlist.model import LISTS, MEMBER, MEMBERS, EndorserList, Member
from ...endorserlist.reader import read_member
from ...errors import TrustError
from ...imagelist.model import X509
from ..declared.members import MemberSpec
from ..declared.options import invalid
from ..declared.spec import PublishSpec

if t.TYPE_CHECKING:
    from ...imagelist.model import SignedList


def compose(spec: PublishSpec, merged: t.Optional[SignedList], *_unused: t.Any) -> dict[str, t.Any]:
    """``hv:endorsers``. Raises PublishError ``publish_invalid``."""
    published = {member.identifier: member for member in merged.members} if isinstance(merged, EndorserList) else {}
    members: dict[str, t.Mapping[str, t.Any]] = {name: member.raw for name, member in published.items()}
    for declared in spec.members:
        raw = _member(declared, published.get(declared.identifier))
        try:
            read_member(raw)
        except TrustError as refusal:
            raise invalid(declared.option, refusal.detail.rstrip(".")) from refusal
        members[declared.identifier] = raw
    return {MEMBERS: [{MEMBER: dict(raw)} for raw in members.values()]}


def by_identifier(raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """The persons of a list object: identifier -> object."""
    return {item[MEMBER]["dc:identifier"]: item[MEMBER] for item in raw.get(MEMBERS, ())}


def tell(raw: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    """The persons for results."""
    return [read_member(item[MEMBER]).as_dict() for item in raw.get(MEMBERS, ())]


def _member(declared: MemberSpec, published: t.Optional[Member]) -> dict[str, t.Any]:
    raw: dict[str, t.Any] = {
        **({} if published is None else published.raw),
        **declared.keys,
        "dc:identifier": declared.identifier,
    }
    names = _names(declared, published)
    raw[X509] = names[0] if len(names) == 1 else names
    if declared.lists is not None or LISTS not in raw:
        raw[LISTS] = [dict(one) for one in declared.lists or ()]
    return {key: value for key, value in raw.items() if value is not None}


def _names(declared: MemberSpec, published: t.Optional[Member]) -> list[dict[str, t.Any]]:
    known = {} if published is None else {(name.dn, name.ca): dict(name.raw) for name in published.names}
    pairs = declared.pairs if declared.pairs is not None else tuple(known)
    if not pairs:
        raise invalid(f"{declared.option}.pairs", "at least one pair (dn and ca) is needed")
    said = {"dc:creator": declared.name, "hv:email": declared.email}
    return [
        {
            "dc:creator": "",
            "hv:email": "",
            **known.get(pair, {}),
            **{key: text for key, text in said.items() if text is not None},
            "hv:dn": pair[0],
            "hv:ca": pair[1],
        }
        for pair in dict.fromkeys(pairs)
    ]
