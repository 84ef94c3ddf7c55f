# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``catalogue.json`` in each of the cache's directories: what lies there, for people and tools without an index."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ...transfer.atomic import listed, storage_errors, sweep, write_atomic
from ...transfer.intake import record
from .plan import Step

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

NAME: t.Final = "catalogue.json"


def update(catalogue: Catalogue) -> None:
    """Make the catalogues say what the index says; nothing is written where they do already."""
    if all(_is(directory, document) for directory, document in _documents(catalogue)):
        return
    with catalogue.writing():
        for directory, document in _documents(catalogue):
            sweep(directory)
            write_atomic(directory / NAME, document, mode=0o644)


def _documents(catalogue: Catalogue) -> list[tuple[Path, bytes]]:
    rows = catalogue.rows(
        "SELECT files.*, (SELECT metadata FROM images WHERE images.image_id = files.image_id AND "
        "images.list_id = files.list_id ORDER BY row DESC LIMIT 1) AS metadata FROM files ORDER BY name"
    )
    places = ((catalogue.state.current, ("current",)), (catalogue.state.expired, ("expired", "unverified", "damaged")))
    return [
        (directory, _render([_entry(row) for row in rows if row["state"] in states])) for directory, states in places
    ]


def _is(directory: Path, document: bytes) -> bool:
    try:
        return (directory / NAME).read_bytes() == document
    except OSError:
        # Whatever is in its place: writing it says why that cannot be done.
        return False


def write_downloading(catalogue: Catalogue, steps: t.Sequence[Step]) -> None:
    """Replace the catalogue of `downloading`: what the present run is fetching."""
    sweep(catalogue.state.downloading)
    document = _render([step.as_dict() for step in steps])
    write_atomic(catalogue.state.downloading / NAME, document, mode=0o644)


def leftovers(catalogue: Catalogue) -> list[Path]:
    """The files in `downloading` beside its catalogue: downloads that are running, or that were killed."""
    return [path for path in _found(catalogue) if not _is_directory(path)]


def strangers(catalogue: Catalogue) -> list[Path]:
    """The directories in `downloading`, where none is ours; a file system of its own has a ``lost+found``."""
    return [path for path in _found(catalogue) if _is_directory(path)]


def clear_downloading(catalogue: Catalogue, keeps: t.Callable[[str], bool]) -> None:
    """Remove what killed runs left; the caller holds the lock of all downloads.

    The parts of those images stay whose file name `keeps` wants: the next download goes on with them.
    """
    for path in leftovers(catalogue):
        if not keeps(record.name_of(path.name)):
            with storage_errors(path):
                path.unlink(missing_ok=True)


def _found(catalogue: Catalogue) -> list[Path]:
    return sorted(path for path in listed(catalogue.state.downloading) if path.name != NAME)


def _is_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


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


def _render(entries: t.Sequence[t.Mapping[str, t.Any]]) -> bytes:
    # One line for each image: json indents in Python, which is slow where there are thousands.
    lines = ",\n".join(json.dumps(entry, sort_keys=True) for entry in entries)
    return f'{{"format": 1, "images": [\n{lines}\n]}}\n'.encode()
