# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The strict reader of endorser lists: read whole, or refused whole with the path of the field that is wrong.

A person or a name that could be read in two ways is refused: who stands in the list decides whose images run.
"""

from __future__ import annotations

import typing as t

from ..imagelist import fields
from ..imagelist.model import X509, Endorser
from .model import LISTS, MEMBER, MEMBERS, VO, WRAPPER, EndorserList, ListAddress, Member

MAX_MEMBERS: t.Final = 1000
MAX_NAMES: t.Final = 100
MAX_LISTS: t.Final = 100
#: A site may be told to subscribe to all of them.
MAX_ALL_LISTS: t.Final = 1000
LONGEST: t.Final = 200

_SCHEMES: t.Final = ("https://", "http://")


def read_list(octets: bytes) -> EndorserList:
    """Read the content of a message: wrapped in ``hv:endorserlist``.

    Raises TrustError: ``too_large``, ``json_invalid``, ``list_malformed`` (`context` has the ``field``).
    """
    document = fields.read_document(octets)
    raw = fields.object_at(document, WRAPPER, "")
    return EndorserList(
        **fields.common(raw),
        vo=fields.text_at(raw, VO, ""),
        members=_members(raw),
        beside={key: value for key, value in document.items() if key != WRAPPER},
    )


def read_member(raw: fields.Object, path: str = "") -> Member:
    """One person, as an ``hv:endorser`` object describes it; ``list_malformed``."""
    return Member(_person(raw, path), _names(raw, path), _lists(raw, path), raw)


def _members(raw: fields.Object) -> tuple[Member, ...]:
    value = _array(raw.get(MEMBERS, []), MEMBERS, MAX_MEMBERS)
    members: list[Member] = []
    persons: dict[str, str] = {}
    pairs: dict[tuple[str, str], str] = {}
    for index, item in enumerate(value):
        path = f"{MEMBERS}[{index}]"
        member = read_member(fields.object_at(fields.mapping(item, path), MEMBER, path), f"{path}.{MEMBER}")
        # Nobody should have to tell Erin from erin.
        _once(persons, member.identifier.casefold(), path, "dc:identifier")
        for pair in member.pairs:
            _once(pairs, pair, path, X509)
        members.append(member)
    if sum(len(member.lists) for member in members) > MAX_ALL_LISTS:
        raise fields.malformed(MEMBERS, f"gives more than {MAX_ALL_LISTS} image lists")
    return tuple(members)


def _once(seen: dict[t.Any, str], key: t.Any, path: str, what: str) -> None:
    first = seen.setdefault(key, path)
    if first != path:
        raise fields.malformed(f"{path}.{MEMBER}.{what}", f"is that of {first} again")


def _person(raw: fields.Object, path: str) -> str:
    text = fields.filled_at(raw, "dc:identifier", path)
    if not text.isprintable() or text != text.strip() or text.startswith("/") or len(text) > LONGEST:
        what = f"is not one line of at most {LONGEST} printable characters that does not begin with a slash"
        raise fields.malformed(fields.join(path, "dc:identifier"), what)
    return text


def _names(raw: fields.Object, path: str) -> tuple[Endorser, ...]:
    value, path = fields.present(raw, X509, path), fields.join(path, X509)
    items = _array(value, path, MAX_NAMES) if isinstance(value, list) else [value]
    if not items:
        raise fields.malformed(path, "names nobody")
    names: list[Endorser] = []
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(items):
        where = f"{path}[{index}]" if isinstance(value, list) else path
        name = fields.name_at(fields.mapping(item, where), where)
        for key, text in (("hv:dn", name.dn), ("hv:ca", name.ca)):
            if not text.startswith("/"):
                raise fields.malformed(f"{where}.{key}", "is not a name in slash form, such as /DC=org/CN=x")
        if (name.dn, name.ca) in seen:
            raise fields.malformed(where, "is there twice")
        seen.add((name.dn, name.ca))
        names.append(name)
    return tuple(names)


def _lists(raw: fields.Object, path: str) -> tuple[ListAddress, ...]:
    path = fields.join(path, LISTS)
    found: list[ListAddress] = []
    for index, item in enumerate(_array(raw.get(LISTS, []), path, MAX_LISTS)):
        where = f"{path}[{index}]"
        one = fields.mapping(item, where)
        uri = fields.filled_at(one, "hv:uri", where)
        # A list that somebody else wrote names no files of this machine.
        if not uri.lower().startswith(_SCHEMES) or not uri.isascii() or not uri.isprintable() or " " in uri:
            raise fields.malformed(f"{where}.hv:uri", f"is not an https or http address: {fields.shown(uri)}")
        address = ListAddress(uri, fields.uuid_at(one, where) if "dc:identifier" in one else None)
        if any(address.uri == other.uri or _same(address.identifier, other.identifier) for other in found):
            raise fields.malformed(where, "is there twice")
        found.append(address)
    return tuple(found)


def _same(one: t.Optional[str], other: t.Optional[str]) -> bool:
    return one is not None and one == other


def _array(value: t.Any, path: str, most: int) -> list[t.Any]:
    found = fields.array(value, path)
    if len(found) > most:
        raise fields.malformed(path, f"has more than {most} entries")
    return found
