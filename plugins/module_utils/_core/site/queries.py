# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers from the catalogue: images with their verdicts, and the state of the lists."""

from __future__ import annotations

import sqlite3
import typing as t

from ..times import to_text
from .derived.known import Files
from .endorsers import registry
from .judgement import asked
from .judgement.asked import Candidate, Meant
from .judgement.assess import Assessor, Known, active_lists, latest, require_list, resolve_sha512

if t.TYPE_CHECKING:
    from .store.catalogue import Catalogue


def images(
    catalogue: Catalogue,
    *,
    images: t.Sequence[str] = (),
    tags: t.Sequence[str] = (),
    lists: t.Sequence[str] = (),
    sha512: t.Sequence[str] = (),
    files: t.Sequence[Candidate] = (),
    state: str = "any",
    assessor: Assessor | None = None,
) -> list[dict[str, t.Any]]:
    """The images asked for (UUIDs, tags, digests, files, whole lists; nothing named: all), each with its verdict now.

    Everything but a list gives the one image that it means; ``unknown_image``, ``file_unknown`` and ``unknown_list``
    for what is not there. What was asked by its octets tells who else holds them. An `assessor` may judge in place of
    that of this moment.
    """
    assessor = assessor or Assessor(catalogue)
    named = [(asked.IMAGE, name) for name in images] + [(asked.TAG, name) for name in tags]
    rows = [asked.find(catalogue, name, kind).rows[0] for kind, name in named]
    for name in lists:
        rows += latest(catalogue, list_id=require_list(catalogue, name))
    octets = [asked.find(catalogue, name, asked.SHA512) for name in sha512]
    octets += [asked.find(catalogue, file.asked, asked.PATH, file) for file in files]
    if not (rows or lists or octets):
        rows = latest(catalogue)
    formats = Files(catalogue)
    found = {known.row["row"]: describe(known, formats) for known in assessor.assess_all(rows)}
    answers = [*found.values(), *(_describe_octets(catalogue, assessor, meant) for meant in octets)]
    wanted = {"any": (True, False), "allowed": (True,), "refused": (False,)}[state]
    return [answer for answer in answers if answer["verdict"]["allowed"] in wanted]


def judge(
    catalogue: Catalogue,
    name: str,
    *,
    kind: str | None = None,
    file: Candidate | None = None,
    assessor: Assessor | None = None,
) -> dict[str, t.Any]:
    """One image by UUID, tag, SHA-512 or (with `file`) path, with its verdict now; ``unknown_image``, ``file_unknown``.

    `kind` says what the name is where it could be something else.
    """
    assessor = assessor or Assessor(catalogue)
    kind = kind or asked.kind_of(name)
    meant = asked.find(catalogue, name, kind, file)
    if kind in (asked.SHA512, asked.PATH):
        return _describe_octets(catalogue, assessor, meant)
    return describe(assessor.assess(meant.rows[0]), Files(catalogue))


def _describe_octets(catalogue: Catalogue, assessor: Assessor, meant: Meant) -> dict[str, t.Any]:
    row, formats = meant.rows[0], Files(catalogue)
    answer = describe(assessor.assess(row, file=meant.file), formats)
    if meant.file is not None:
        # The file that was asked about is what it is, and no format of the image in the cache.
        answer["formats"] = formats.of(assessor.assess(row))
    return {**answer, "holders": holders(catalogue, row["sha512"])}


def holders(catalogue: Catalogue, sha512: str) -> list[dict[str, t.Any]]:
    """Every image of every list that is or was these octets, the best first, once for each list and image."""
    owned: dict[tuple[str, str], sqlite3.Row] = {}
    for row in resolve_sha512(catalogue, sha512):
        owned.setdefault((row["list_id"], row["image_id"]), row)
    return [
        {
            "list": row["list_id"],
            "identifier": row["image_id"],
            "version": row["version"],
            "tag": row["tag"],
            "endorsed": row["until"] is None,
        }
        for row in owned.values()
    ]


def describe(known: Known, formats: Files) -> dict[str, t.Any]:
    """One image for results: what its list says, its verdict, its file, what was made of it, the decisions about it."""
    row = known.row
    file = known.facts.file
    return {
        "identifier": known.image_id,
        "list": known.list_id,
        "title": known.facts.title,
        "tag": known.facts.tag,
        "version": known.facts.version,
        "dated": row["dated"],
        "size": row["size"],
        "sha512": row["sha512"],
        "uri": row["uri"],
        "endorsed": known.facts.endorsed,
        "verdict": known.verdict.as_dict(),
        "cache": {"path": file.path, "unchanged": file.unchanged} if file else None,
        "formats": formats.of(known),
        "decisions": [
            {
                "decision": decision.decision,
                "target_type": decision.target_type,
                "target": decision.target,
                "list": decision.list_id or None,
                "reason": decision.reason,
                "author": decision.author,
                "until": to_text(decision.until) if decision.until else None,
                "begins": to_text(decision.begins) if decision.begins else None,
            }
            for decision in known.decisions
        ],
        "metadata": dict(known.metadata),
    }


def endorsers(catalogue: Catalogue) -> list[dict[str, t.Any]]:
    """The site's registry of endorsers; those who were removed, too."""
    return registry.told(catalogue)


def lists(catalogue: Catalogue) -> list[dict[str, t.Any]]:
    """Every subscribed list: title, address, version, dates, signer, last success, last error, certification path."""
    from .judgement import composition

    assessor = Assessor(catalogue)
    names = active_lists(catalogue)
    assessor.look_up(names)
    return [
        {
            "identifier": name,
            **composition.describe_list(assessor, name),
            "signer": assessor.record(name).signer,
        }
        for name in names
    ]
