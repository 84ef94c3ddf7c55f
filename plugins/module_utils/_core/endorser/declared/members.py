# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endorsers that a VO declares."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ...endorserlist.model import LISTS
from ...imagelist.model import X509
from .metadata import read_metadata
from .options import Options, check_uri, invalid, required, text_in, uuid_in

_KEYS: t.Final = frozenset({"dc:identifier", X509, LISTS})


@dataclass(frozen=True)
class MemberSpec:
    """One declared person. `option` is its path among the options; `pairs` and `lists` are None where not given.

    `lists` are ``hv:imagelists`` objects; `keys` are further keys of the person, None as a value removes one.
    """

    option: str
    identifier: str
    pairs: t.Optional[tuple[tuple[str, str], ...]] = None
    name: t.Optional[str] = None
    email: t.Optional[str] = None
    lists: t.Optional[tuple[t.Mapping[str, str], ...]] = None
    keys: t.Mapping[str, t.Any] = field(default_factory=dict)


def read_members(options: Options, *, merge: bool) -> tuple[MemberSpec, ...]:
    """The option ``endorsers``; with `merge` what is left out stays as it is published."""
    if options.get("endorsers") is None and not merge:
        what = "name the VO's endorsers, or [] for a VO without any, or set purge_endorsers to false"
        raise invalid("endorsers", what)
    members: list[MemberSpec] = []
    seen: dict[str, str] = {}
    for index, item in enumerate(options.get("endorsers") or ()):
        member = _member(item, f"endorsers[{index}]")
        first = seen.setdefault(member.identifier.casefold(), member.option)
        if first != member.option:
            raise invalid(f"{member.option}.identifier", f"{member.identifier} is that of {first} already")
        if not merge and not member.pairs:
            raise invalid(f"{member.option}.pairs", "at least one pair (dn and ca) is needed")
        members.append(member)
    return tuple(members)


def _member(options: Options, option: str) -> MemberSpec:
    pairs, lists = options.get("pairs"), options.get("lists")
    return MemberSpec(
        option=option,
        identifier=required(options, "identifier", option),
        pairs=None if pairs is None else tuple(_pair(item, f"{option}.pairs[{n}]") for n, item in enumerate(pairs)),
        name=text_in(options, "name", option),
        email=text_in(options, "email", option),
        lists=None if lists is None else tuple(_list(item, f"{option}.lists[{n}]") for n, item in enumerate(lists)),
        keys=read_metadata(options.get("metadata"), f"{option}.metadata", _KEYS),
    )


def _pair(options: Options, option: str) -> tuple[str, str]:
    return required(options, "dn", option), required(options, "ca", option)


def _list(options: Options, option: str) -> dict[str, str]:
    found = {"hv:uri": check_uri(required(options, "uri", option), f"{option}.uri")}
    return found if options.get("identifier") is None else {**found, "dc:identifier": uuid_in(options, option)}
