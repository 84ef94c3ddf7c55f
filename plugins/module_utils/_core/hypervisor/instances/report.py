# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which instances use which image, who stands for it, and what may be said of it now.

What root has recorded counts; where there is no record, the domain's own metadata is told as what it is, a claim.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...errors import VmimagesError
from ...times import to_text
from .. import compare
from . import domains, records
from .approval import Verdicts, instance_verdict
from .domains import Connections
from .records import Record
from .volumes import is_recorded

#: Of the metadata and the record, what has to agree.
_CLAIMS: t.Final = ("image", "version", "sha512", "list", "endorser_dn", "endorser_ca")


@dataclass(frozen=True)
class Question:
    """What is asked for; empty, or any: everything."""

    images: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    endorsers: frozenset[str] = frozenset()
    state: str = "any"
    verdict: str = "any"
    ttl: str = "any"

    def takes(self, one: t.Mapping[str, t.Any]) -> bool:
        allowed = None if one["verdict"] is None else one["verdict"]["allowed"]
        return (
            (not self.images or one["image"] in self.images)
            and (not self.lists or one["list"] in self.lists)
            and (not self.endorsers or one["endorser_dn"] in self.endorsers)
            and (self.state == "any" or one["state"] == self.state)
            and {"any": True, "allowed": allowed is True, "refused": allowed is False}[self.verdict]
            and (self.ttl == "any" or one["ttl_over"])
        )


def instances(
    uris: t.Sequence[str], *, records_dir: Path, state_dir: str, now: datetime, question: Question
) -> dict[str, t.Any]:
    """The instances of these connections, and those that are recorded only, with their verdicts if there are any.

    ``problems`` has what could not be read; nothing is raised for it.
    """
    problems: list[dict[str, t.Any]] = []
    refused: list[VmimagesError] = []
    known: dict[str, Record] = {}
    try:
        known = {record.uuid: record for record in records.all(records_dir, refused=refused)}
    except VmimagesError as error:
        refused.append(error)
    problems += [error.as_dict() for error in refused]
    verdicts = None
    try:
        verdicts = Verdicts(state_dir, now)
    except VmimagesError as error:
        problems.append(error.as_dict())
    found: list[dict[str, t.Any]] = []
    others: list[dict[str, t.Any]] = []
    reached: set[str] = set()
    with Connections() as connections:
        for uri in uris:
            try:
                for domain in domains.everything(connections.to(uri)):
                    one = _domain(domain, uri, known, now)
                    (found if one["source"] != "none" else others).append(one)
                reached.add(uri)
            except VmimagesError as error:
                problems.append(error.as_dict())
    seen = {one["uuid"] for one in found}
    for record in known.values():
        if record.uuid not in seen and (record.connection is None or record.connection in reached):
            state = "recorded" if record.connection is None else "gone"
            found.append({**_of_record(record, now), "state": state, "connection": record.connection})
    for one in found:
        one["verdict"] = None if verdicts is None else instance_verdict(verdicts, one["image"], one["sha512"])
    chosen = [one for one in found if question.takes(one)]
    return {
        "instances": sorted(chosen, key=lambda one: (one["connection"] or "", one["name"])),
        "others": [{key: one[key] for key in ("name", "uuid", "connection", "state")} for one in others],
        "verdicts_written": None if verdicts is None else verdicts.written,
        "problems": problems,
    }


def _domain(domain: domains.Domain, uri: str, known: t.Mapping[str, Record], now: datetime) -> dict[str, t.Any]:
    """One domain; ``source`` says what it is told by: record, metadata or none."""
    uuid = str(domain.UUIDString()).lower()
    state = "running" if domains.is_active(domain) else "stopped"
    claims = compare.provenance_of(domains.description(domain))
    record = known.get(uuid)
    # The same UUID on another connection is another machine.
    if record is not None and record.connection == uri:
        one = _of_record(record, now)
        one["differences"] += _contradictions(one, claims)
    elif claims is not None:
        one = {**_nothing(), **{key: claims.get(key) for key in (*_CLAIMS, "list_version", "expires")}}
        one["source"] = "metadata"
    else:
        one = _nothing()
    return {**one, "name": str(domain.name()), "uuid": uuid, "connection": uri, "state": state}


def _nothing() -> dict[str, t.Any]:
    unknown = (*_CLAIMS, "list_version", "expires", "created", "until", "author", "mode", "disk", "verdict")
    return {**dict.fromkeys(unknown), "source": "none", "ttl_over": False, "contexts": [], "differences": []}


def _of_record(record: Record, now: datetime) -> dict[str, t.Any]:
    image = record.image
    told = {
        **_nothing(),
        "name": record.name,
        "uuid": record.uuid,
        "source": "record",
        "image": image.uuid,
        "version": image.version,
        "sha512": image.sha512,
        "list": image.list,
        "list_version": image.list_version,
        "endorser_dn": image.endorser_dn,
        "endorser_ca": image.endorser_ca,
        "expires": to_text(image.expires),
        "created": to_text(record.created),
        "until": None if record.until is None else to_text(record.until),
        "ttl_over": record.until is not None and record.until <= now,
        "author": record.author,
        "mode": record.mode,
        "disk": record.disk.path,
        "contexts": list(record.contexts),
    }
    there = is_recorded(record.disk)
    if not there:
        told["differences"].append(
            {"what": "disk", "record": record.disk.path, "found": "none" if there is None else "another file"}
        )
    return told


def _contradictions(one: t.Mapping[str, t.Any], claims: t.Mapping[str, str] | None) -> list[dict[str, t.Any]]:
    if claims is None:
        return [{"what": "metadata", "record": one["image"], "found": None}]
    return [
        {"what": key, "record": one[key], "found": claims.get(key)} for key in _CLAIMS if claims.get(key) != one[key]
    ]
