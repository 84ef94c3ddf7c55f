# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers from the catalogue: images with their verdicts, and the state of the lists."""

from __future__ import annotations

import typing as t

from ..times import to_text
from .judgement import snapshot
from .judgement.assess import Assessor, Known, active_lists, latest, require_list, resolve, resolve_image, resolve_tag

if t.TYPE_CHECKING:
    from .store.catalogue import Catalogue


def images(
    catalogue: Catalogue,
    *,
    images: t.Sequence[str] = (),
    tags: t.Sequence[str] = (),
    lists: t.Sequence[str] = (),
    state: str = "any",
) -> list[dict[str, t.Any]]:
    """The images asked for (UUIDs, tags, whole lists; nothing named: all), each with its verdict now.

    A UUID or a tag gives the one image that it means; ``unknown_image`` and ``unknown_list`` for what is not there.
    """
    assessor = Assessor(catalogue)
    rows = [resolve_image(catalogue, name)[0] for name in images]
    rows += [resolve_tag(catalogue, name)[0] for name in tags]
    for name in lists:
        rows += latest(catalogue, list_id=require_list(catalogue, name))
    if not (images or tags or lists):
        rows = latest(catalogue)
    known = {known.row["row"]: known for known in assessor.assess_all(rows)}
    wanted = {"any": (True, False), "allowed": (True,), "refused": (False,)}[state]
    return [describe(found) for found in known.values() if found.verdict.allowed in wanted]


def judge(catalogue: Catalogue, name: str) -> dict[str, t.Any]:
    """One image by UUID or tag, with its verdict now; ``unknown_image``."""
    assessor = Assessor(catalogue)
    return describe(assessor.assess(resolve(catalogue, name)[0]))


def describe(known: Known) -> dict[str, t.Any]:
    """One image for results: what its list says, its verdict, its file and the decisions about it."""
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
        "decisions": [
            {
                "decision": decision.decision,
                "target_type": decision.target_type,
                "target": decision.target,
                "list": decision.list_id or None,
                "reason": decision.reason,
                "author": decision.author,
                "until": to_text(decision.until) if decision.until else None,
            }
            for decision in known.decisions
        ],
        "metadata": dict(known.metadata),
    }


def lists(catalogue: Catalogue) -> list[dict[str, t.Any]]:
    """Every subscribed list: title, address, version, dates, signer, last success, last error, certification path."""
    assessor = Assessor(catalogue)
    names = active_lists(catalogue)
    assessor.look_up(names)
    return [
        {
            "identifier": name,
            **snapshot.describe_list(assessor, name),
            "signer": assessor.record(name).signer,
        }
        for name in names
    ]
