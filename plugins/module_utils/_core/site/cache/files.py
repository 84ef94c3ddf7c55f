# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``catalogue.json`` in each of the cache's directories: what lies there, for people and tools without an index."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ...transfer.atomic import write_atomic
from .plan import Step

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

NAME: t.Final = "catalogue.json"


def write(catalogue: Catalogue) -> None:
    """Replace the catalogues of `current` and `expired`."""
    for directory, states in (
        (catalogue.state.current, ("current",)),
        (catalogue.state.expired, ("expired", "damaged")),
    ):
        rows = catalogue.rows(
            "SELECT files.*, (SELECT metadata FROM images WHERE images.image_id = files.image_id AND "
            "images.list_id = files.list_id ORDER BY row DESC LIMIT 1) AS metadata FROM files ORDER BY name"
        )
        _write(directory, [_entry(row) for row in rows if row["state"] in states])


def ensure(catalogue: Catalogue) -> None:
    """Write the catalogues that are missing, as in a cache that was never filled."""
    if not all((directory / NAME).exists() for directory in (catalogue.state.current, catalogue.state.expired)):
        write(catalogue)
    if not (catalogue.state.downloading / NAME).exists():
        write_downloading(catalogue, [])


def write_downloading(catalogue: Catalogue, steps: t.Sequence[Step]) -> None:
    """Replace the catalogue of `downloading`: what the present run is fetching."""
    _write(catalogue.state.downloading, [step.as_dict() for step in steps])


def _entry(row: t.Any) -> dict[str, t.Any]:
    metadata = json.loads(row["metadata"]) if row["metadata"] else {}
    return {
        "name": row["name"],
        "identifier": row["image_id"],
        "list": row["list_id"],
        "version": row["version"],
        "title": metadata.get("dc:title", ""),
        "format": metadata.get("hv:format"),
        "size": row["size"],
        "sha512": row["sha512"],
        "state": row["state"],
        "code": row["code"],
        "at": row["at"],
    }


def _write(directory: Path, entries: t.Sequence[t.Mapping[str, t.Any]]) -> None:
    document = {"format": 1, "images": list(entries)}
    write_atomic(directory / NAME, json.dumps(document, sort_keys=True, indent=1).encode() + b"\n", mode=0o644)
