# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal's lines mean to the world outside: images that are new, available or expired, and bad news.

The same line always gives the same happenings, so that a place among them can be kept (see `cursor`). Whether a
happening still matters is asked when its turn comes: `matters`.
"""

from __future__ import annotations

import functools
import json
import typing as t
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from ...times import from_text
from ..store.journal import Entry, Head
from . import blacklists, elections

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

Kind = t.Literal[
    "new", "available", "expire", "blacklisted", "refused", "endorser_new", "endorser_gone", "endorser_changed"
]

#: What handlers hear of, and what endorsers hear of.
FOR_HANDLERS: t.Final[frozenset[str]] = frozenset({"new", "available", "expire", *elections.KINDS})
FOR_ENDORSERS: t.Final[frozenset[str]] = frozenset({"blacklisted", "refused"})

#: Refusals whose cause lies at the site: no endorser can mend them.
OWN_AFFAIRS: t.Final = frozenset(
    {
        "anchors_unreadable",
        "anchors_unsafe",
        "archive_damaged",
        "crl_unavailable",
        "internal_error",
        "library_missing",
        "namespace_missing",
        "policy_malformed",
    }
)

#: Bad news that is older than this when it is first seen is history: nobody is written to.
NEWS: t.Final = timedelta(days=7)

#: A list's refusal with the same code is not told again for so long, unless something was accepted in between.
REPEATED: t.Final = timedelta(days=1)

_OF_FILES: t.Final = ("available", "expire")
_DAMAGED: t.Final = ".damaged"


@dataclass(frozen=True)
class Happening:
    """One thing that happened, by the journal line `sequence`, to one image of one list, or to a list (no `image`).

    `name` is the image's file name in the cache, or that of the message to the endorser; `code` says why an image
    expired or a message was refused; `target` is what a decision names, or the person whom an endorser list names.
    """

    kind: Kind
    sequence: int
    at: str
    list: str
    image: str = ""
    version: str = ""
    sha512: str = ""
    name: str = ""
    code: str = ""
    detail: str = ""
    target: str = ""

    @property
    def subject(self) -> tuple[str, str]:
        """Happenings with one subject are told in their order, whatever fails; those of different ones need not.

        That an image is new is a subject of its own: a handler that cannot use this still hears of its file.
        """
        if self.kind in elections.KINDS:
            return (self.list, f"endorser:{self.target}")
        return (self.list, f"{self.kind}:{self.image or self.name}" if self.kind not in _OF_FILES else self.image)

    def as_dict(self) -> dict[str, str | int]:
        """For the cursor; `from_dict` reads it back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Happening:
        """What `as_dict` wrote."""
        return cls(**data)


def happenings(catalogue: Catalogue, entry: Entry, kinds: frozenset[str]) -> list[Happening]:
    """What one journal line means, as far as it is of one of `kinds`."""
    wanted = [derive for derive in _DERIVED.get(entry.event, ()) if derive.kind in kinds]
    return [happening for derive in wanted for happening in derive.function(catalogue, entry)]


def matters(catalogue: Catalogue, happening: Happening, *, history: bool) -> bool:
    """Whether it is still to be told. `history`: it happened before the handler was first seen.

    An image whose file has left the cache since is not announced any more; what a new handler never heard of, and is
    over, it is not told; an endorser does not hear of what was taken back since.
    """
    return _MATTERS[happening.kind](catalogue, happening, history)


def _accepted(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
    """The images that this version of the list was the first to name."""
    rows = catalogue.rows(
        "SELECT * FROM images WHERE list_id = ? AND since = ? AND NOT EXISTS (SELECT 1 FROM images AS earlier WHERE "
        "earlier.image_id = images.image_id AND earlier.list_id = images.list_id AND earlier.since < images.since) "
        "ORDER BY row",
        entry.data["identifier"],
        entry.sequence,
    )
    for row in rows:
        yield Happening(
            "new",
            entry.sequence,
            entry.at,
            row["list_id"],
            image=row["image_id"],
            version=row["version"],
            sha512=row["sha512"],
        )


def _elected(kind: Kind) -> t.Callable[[Catalogue, Entry], t.Iterator[Happening]]:
    """The persons who came, went, or were changed with this version of an endorser list."""

    def function(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
        list_id = entry.data["identifier"]
        for person in elections.persons(catalogue, list_id, entry.sequence, kind):
            yield Happening(kind, entry.sequence, entry.at, list_id, target=person)

    return function


def _elected_matters(catalogue: Catalogue, happening: Happening, history: bool) -> bool:
    if not history:
        return True
    stands = elections.stands(catalogue, happening.list, happening.target)
    return happening.kind != "endorser_gone" and stands and _is_subscribed(catalogue, happening.list)


def _cached(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
    yield _of_file("available", entry)


def _expired(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
    yield _of_file("expire", entry)


def _gone(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
    """A file that is lost or damaged has expired if it was current; of a damaged one the journal says lost first."""
    name = entry.data["name"]
    name = name[: -len(_DAMAGED)] if name.endswith(_DAMAGED) else name
    if _was_current(catalogue, name, entry):
        yield _of_file("expire", entry, name=name, code="file_changed")


def _of_file(kind: Kind, entry: Entry, *, name: str | None = None, code: str = "") -> Happening:
    data = entry.data
    return Happening(
        kind,
        entry.sequence,
        entry.at,
        data["list"],
        image=data["image"],
        version=data["version"],
        sha512=data["sha512"],
        name=name or data["name"],
        code=data.get("code") or code,
    )


def _was_current(catalogue: Catalogue, name: str, entry: Entry) -> bool:
    current = False
    for past in _before(catalogue, name, entry):
        current = past.event == "cached"
    return current


class _Past(t.NamedTuple):
    """What the journal's line `sequence` says of a file or a list."""

    sequence: int
    event: str
    code: str | None
    at: str


#: The events that are looked back at, and the key of whom they are about.
_LOOKED_AT: t.Final[t.Mapping[str, str]] = {
    **dict.fromkeys(("cached", "expired", "lost", "purged"), "name"),
    **dict.fromkeys(("accepted", "refused"), "identifier"),
}
_MARKS: t.Final = tuple(f'"event":"{event}"'.encode() for event in _LOOKED_AT)


def _before(catalogue: Catalogue, name: str, entry: Entry) -> t.Iterator[_Past]:
    """What the lines before `entry` say of the file or list `name`."""
    head = max(catalogue.head(), entry.head, key=lambda one: one.sequence)
    told = _gathered(catalogue.state.journal, head).get(name, ())
    return (past for past in told if past.sequence < entry.sequence)


@functools.lru_cache(maxsize=1)
def _gathered(path: Path, head: Head) -> dict[str, list[_Past]]:
    """Too rare for a table; but where a whole cache is lost, the journal up to `head` is read once, not each time."""
    found: dict[str, list[_Past]] = {}
    with path.open("rb") as stream:
        for line in stream:
            if not any(mark in line for mark in _MARKS):
                continue
            record = json.loads(line)
            if record["seq"] > head.sequence:
                break
            key = _LOOKED_AT.get(record["event"])
            if key is not None:
                past = _Past(record["seq"], record["event"], record["data"].get("code"), record["at"])
                found.setdefault(record["data"][key], []).append(past)
    return found


def _blacklisted(entry: Entry, concerns: t.Iterable[blacklists.Concern]) -> t.Iterator[Happening]:
    """A blacklist, told to each list that it concerns."""
    for number, concern in enumerate(concerns, 1):
        yield Happening(
            "blacklisted",
            entry.sequence,
            entry.at,
            concern.list_id,
            name=str(entry.sequence) if number == 1 else f"{entry.sequence}-{number}",
            code="blacklisted",
            detail=concern.reason,
            target=concern.target,
        )


def _decided(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
    return _blacklisted(entry, blacklists.by_decision(catalogue, entry))


def _ruled(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
    return _blacklisted(entry, blacklists.by_rules(entry))


def _fallen(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
    return _blacklisted(entry, blacklists.by_version(catalogue, entry))


def _aged(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
    return _blacklisted(entry, blacklists.by_age(catalogue, entry))


def _refused(catalogue: Catalogue, entry: Entry) -> t.Iterator[Happening]:
    """A refused message; not one more with the same trouble: whoever sits on the way could make them at will."""
    data = entry.data
    if data["code"] not in OWN_AFFAIRS and not _refused_lately(catalogue, entry):
        yield Happening(
            "refused",
            entry.sequence,
            entry.at,
            data["identifier"],
            name=str(entry.sequence),
            code=data["code"],
            detail=data["detail"],
        )


def _refused_lately(catalogue: Catalogue, entry: Entry) -> bool:
    lately = False
    for past in _before(catalogue, entry.data["identifier"], entry):
        if past.event == "accepted":
            lately = False
        elif past.event == "refused":
            same = past.code == entry.data["code"]
            lately = lately or (same and from_text(entry.at) - from_text(past.at) < REPEATED)
    return lately


def _new_matters(catalogue: Catalogue, happening: Happening, history: bool) -> bool:
    if not history:
        return True
    found = catalogue.row(
        "SELECT 1 FROM images JOIN lists USING (list_id) WHERE list_id = ? AND image_id = ? AND until IS NULL AND "
        "active = 1",
        happening.list,
        happening.image,
    )
    return found is not None


def _available_matters(catalogue: Catalogue, happening: Happening, history: bool) -> bool:
    return _state_of(catalogue, happening.name) == "current"


def _expire_matters(catalogue: Catalogue, happening: Happening, history: bool) -> bool:
    return not history or _state_of(catalogue, happening.name) in ("expired", "unverified")


def _state_of(catalogue: Catalogue, name: str) -> str | None:
    row = catalogue.row("SELECT state FROM files WHERE name = ?", name)
    return row["state"] if row else None


def _blacklisted_matters(catalogue: Catalogue, happening: Happening, history: bool) -> bool:
    if not _is_subscribed(catalogue, happening.list) or not _is_news(catalogue, happening, history):
        return False
    return blacklists.stands(catalogue, happening.target, happening.sequence)


def _refused_matters(catalogue: Catalogue, happening: Happening, history: bool) -> bool:
    row = catalogue.row("SELECT code FROM refusals WHERE list_id = ?", happening.list)
    if row is None or row["code"] != happening.code:
        return False
    return _is_subscribed(catalogue, happening.list) and _is_news(catalogue, happening, history)


def _is_subscribed(catalogue: Catalogue, list_id: str) -> bool:
    return catalogue.row("SELECT 1 FROM lists WHERE list_id = ? AND active = 1", list_id) is not None


def _is_news(catalogue: Catalogue, happening: Happening, history: bool) -> bool:
    return not history or catalogue.now() - from_text(happening.at) < NEWS


_Derive = t.Callable[["Catalogue", Entry], t.Iterator[Happening]]


class _Derivation(t.NamedTuple):
    kind: Kind
    function: _Derive


_DERIVED: t.Final[t.Mapping[str, tuple[_Derivation, ...]]] = {
    "accepted": (
        _Derivation("new", _accepted),
        _Derivation("blacklisted", _fallen),
        *(_Derivation(kind, _elected(kind)) for kind in elections.KINDS),
    ),
    "cached": (_Derivation("available", _cached),),
    "expired": (_Derivation("expire", _expired), _Derivation("blacklisted", _aged)),
    "damaged": (_Derivation("expire", _gone),),
    "lost": (_Derivation("expire", _gone),),
    "decided": (_Derivation("blacklisted", _decided),),
    "rules": (_Derivation("blacklisted", _ruled),),
    "refused": (_Derivation("refused", _refused),),
}

_MATTERS: t.Final[t.Mapping[str, t.Callable[[Catalogue, Happening, bool], bool]]] = {
    "new": _new_matters,
    "available": _available_matters,
    "expire": _expire_matters,
    "blacklisted": _blacklisted_matters,
    "refused": _refused_matters,
    **dict.fromkeys(elections.KINDS, _elected_matters),
}
