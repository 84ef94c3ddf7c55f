# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that were made of the cached ones: where they lie, and whether they are still what was made."""

from __future__ import annotations

import sqlite3
import typing as t
from pathlib import Path

from ...disks.formats import parse_format
from ...errors import DiskError
from ..judgement.records import stat_record

if t.TYPE_CHECKING:
    from ..judgement.assess import Known
    from ..store.catalogue import Catalogue

_SAFE: t.Final = "abcdefghijklmnopqrstuvwxyz0123456789"


def derived_name(sha512: str, stated: str, wanted: str) -> str:
    """The name of the file made of the octets with this digest, read as `stated`, in the format `wanted`.

    The same octets read as another format are another disk.
    """
    return f"{sha512[:32]}_{''.join(letter if letter in _SAFE else '-' for letter in stated)}.{wanted}"


class Files:
    """The files of images by format, the endorsed ones and those made of them; all that is known is read once."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._made = for_snapshot(catalogue)

    def of(self, known: Known) -> dict[str, dict[str, t.Any]]:
        """By format, what may be started of an image: nothing, unless the verdict allows it.

        Each is path, derived, size, sha512, virtual_size (None: not looked at) and stat. A derived file that is not
        what was made is left out.
        """
        file, row = known.facts.file, known.row
        if not known.verdict.allowed or file is None:
            return {}
        stated = known.metadata.get("hv:format")
        return _of(self._made, row["sha512"], stated, file.path, dict(file.record), row["size"])


def for_snapshot(catalogue: Catalogue) -> list[dict[str, t.Any]]:
    """All derived files, for the snapshot and for `of_snapshot`."""
    columns = ("source_sha512", "source_format", "format", "sha512", "size", "virtual_size")
    return [
        {
            **{column: row[column] for column in columns},
            "path": str(catalogue.state.derived / row["name"]),
            "stat": {key: row[key] for key in ("size", "mtime_ns", "ctime_ns", "inode")},
        }
        for row in catalogue.rows("SELECT * FROM derived ORDER BY name")
    ]


def of_snapshot(made: t.Sequence[t.Mapping[str, t.Any]], image: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """As `Files.of`, for an image of the snapshot that has the derived files `made`."""
    judged, stat = image["verdict"], image["stat"]
    if not judged["allowed"] or not stat:
        return {}
    return _of(made, image["sha512"], image.get("format"), judged["path"], stat, stat["size"])


def _of(
    made: t.Sequence[t.Mapping[str, t.Any]],
    sha512: str,
    hv_format: t.Any,
    path: str,
    stat: t.Mapping[str, int],
    size: int,
) -> dict[str, dict[str, t.Any]]:
    try:
        stated = parse_format(hv_format if isinstance(hv_format, str) else None)
    except DiskError:
        return {}
    found: dict[str, dict[str, t.Any]] = {}
    if stated.is_plain and stated.disk is not None:
        plain = {"path": path, "derived": False, "size": size, "sha512": sha512, "virtual_size": None, "stat": stat}
        found[stated.disk] = plain
    for one in made:
        if (one["source_sha512"], one["source_format"]) != (sha512, str(stated)):
            continue
        if stat_record(Path(one["path"])) == one["stat"]:
            keys = ("path", "size", "sha512", "virtual_size", "stat")
            found[one["format"]] = {"derived": True, **{key: one[key] for key in keys}}
    return found


def unchanged(path: Path, made: sqlite3.Row) -> t.Optional[dict[str, int]]:
    """The stat record of a derived file, None when it is not the one that was made."""
    found = stat_record(path)
    return found if found is not None and all(found[key] == made[key] for key in found) else None
