# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole lists and endorsers as targets of a decision: who is meant by an identifier, an address, a pair, a name."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from ..endorserlist.kinds import IMAGE_LIST
from ..errors import SiteError
from .endorsers import registry
from .endorsers.endorser import as_dicts, read_pair
from .judgement.assess import active_lists
from .judgement.decided import endorser_target, signer_names
from .judgement.records import list_records
from .subscription import UUID

if t.TYPE_CHECKING:
    from .store.catalogue import Catalogue

#: What is decided in advance of a subscription, or stays decided after it.
_ALWAYS: t.Final = ("blacklist", "clear")


@dataclass(frozen=True)
class Target:
    """One target, as the journal names it; `further` goes into its line, `warnings` say what may not be meant."""

    kind: str
    name: str
    further: t.Mapping[str, t.Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def about_lists(catalogue: Catalogue, names: t.Sequence[str], decision: str) -> t.Iterator[Target]:
    """The lists by their identifiers; ``unknown_list`` for one that is not subscribed, unless it is blacklisted or
    cleared by its identifier."""
    for number, name in enumerate(names):
        row = catalogue.row(
            "SELECT list_id, active, kind FROM lists WHERE list_id = ? OR uri = ? ORDER BY active DESC",
            name.lower(),
            name,
        )
        if row is not None and row["kind"] != IMAGE_LIST:
            raise _invalid(
                f"whole_lists[{number}]", f"{name} is a list of endorsers; decide about them, or their lists"
            )
        if row is not None and (row["active"] or decision in _ALWAYS):
            yield Target("list", row["list_id"])
        elif UUID.match(name.lower()) and decision in _ALWAYS:
            yield Target("list", name.lower(), warnings=(f"No list {name.lower()} is known so far.",))
        else:
            raise SiteError("unknown_list", f"No list {name!r} is subscribed.", name=name)


def about_endorsers(
    catalogue: Catalogue, given: t.Sequence[t.Mapping[str, t.Any]], decision: str
) -> t.Iterator[Target]:
    """The endorsers by their registered names, or by their pairs; ``unknown_endorser``, ``decision_invalid``."""
    for number, item in enumerate(given):
        option = f"endorsers[{number}]"
        if item.get("name") is None:
            yield from _by_pair(catalogue, read_pair(item, option, _invalid), decision, option)
        elif item.get("dn") is not None or item.get("ca") is not None:
            raise _invalid(option, "an endorser is given by dn and ca, or by name")
        else:
            yield _by_name(catalogue, item["name"], decision)


def _by_name(catalogue: Catalogue, name: str, decision: str) -> Target:
    pairs = () if decision == "clear" else registry.pairs_of(catalogue, name)
    lists = _signed_by(catalogue, frozenset(endorser_target(*pair) for pair in pairs))
    return Target("endorser", name, {"pairs": as_dicts(pairs), "lists": lists})


def _signed_by(catalogue: Catalogue, names: frozenset[str]) -> list[str]:
    """The subscribed lists whose accepted message one of these has signed: whom the journal's line concerns."""
    records = list_records(catalogue, active_lists(catalogue))
    return [name for name, record in records.items() if signer_names(record.spellings) & names]


def _by_pair(catalogue: Catalogue, pair: tuple[str, str], decision: str, option: str) -> t.Iterator[Target]:
    """The endorser under the spelling under which a decision stands, else as the certificate is commonly written."""
    given = endorser_target(*pair)
    signer = _signer(catalogue, given)
    names = [given] if signer is None else list(signer)
    decided = {row["target"] for row in catalogue.rows("SELECT target FROM decisions WHERE target_type = 'endorser'")}
    standing = [name for name in names if name in decided]
    warnings: tuple[str, ...] = ()
    if signer is None and not _is_bound(catalogue, pair):
        text = f"no list is signed by {given} so far, and none may be"
        if decision not in _ALWAYS:
            raise SiteError("unknown_endorser", f"{option}: {text}.", option=option)
        warnings = (f"{option}: {text}; check the spelling.",)
    further = {"lists": _signed_by(catalogue, frozenset(names))}
    yield from (Target("endorser", name, further, warnings) for name in standing or names[:1])


def _signer(catalogue: Catalogue, given: str) -> tuple[str, ...] | None:
    """Every way to write an endorser of whom a message was accepted, the common one first; None for anybody else."""
    rows = catalogue.rows(
        "SELECT signer, spellings FROM versions JOIN origins USING (sequence) GROUP BY spellings ORDER BY sequence"
    )
    for row in rows:
        names = signer_names(row["spellings"])
        if given in names:
            signer = json.loads(row["signer"])
            common = endorser_target(signer["dn"], signer["ca"])
            return (common, *sorted(names - {common}))
    return None


def _is_bound(catalogue: Catalogue, pair: tuple[str, str]) -> bool:
    """Whether the registry, a subscription or a list of endorsers names this very pair."""
    if registry.holder(catalogue, pair) is not None:
        return True
    subscribed = catalogue.rows("SELECT definition FROM lists WHERE active = 1")
    elected = catalogue.rows("SELECT definition FROM members WHERE until IS NULL")
    bound = [item for row in subscribed for item in json.loads(row["definition"]).get("endorsers", ())]
    bound += [item for row in elected for item in json.loads(row["definition"])["pairs"]]
    return any((item.get("dn"), item.get("ca")) == pair for item in bound)


def _invalid(option: str, text: str) -> SiteError:
    return SiteError("decision_invalid", f"{option}: {text}.", option=option)
