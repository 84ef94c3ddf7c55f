# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that were made of the cached ones: where they lie, and whether they are still what was made."""

from __future__ import annotations

import json
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
        self._place = catalogue.state.derived
        self._rows: dict[tuple[str, str], list[sqlite3.Row]] = {}
        for row in catalogue.rows("SELECT * FROM derived ORDER BY name"):
            self._rows.setdefault((row["source_sha512"], row["source_format"]), []).append(row)

    def of(self, known: Known) -> dict[str, dict[str, t.Any]]:
        """By format, what may be started of an image: nothing, unless the verdict allows it.

        Each is path, derived, size, sha512, virtual_size (None: not looked at) and stat. A derived file that is not
        what was made is left out.
        """
        file = known.facts.file
        if not known.verdict.allowed or file is None:
            return {}
        row = known.row
        try:
            stated = parse_format(json.loads(row["metadata"]).get("hv:format"))
        except (DiskError, AttributeError):
            return {}
        found: dict[str, dict[str, t.Any]] = {}
        if stated.is_plain and stated.disk is not None:
            found[stated.disk] = _entry(file.path, row, derived=False, stat=dict(file.record))
        for made in self._rows.get((row["sha512"], str(stated)), []):
            stat = unchanged(self._place / made["name"], made)
            if stat is not None:
                found[made["format"]] = _entry(str(self._place / made["name"]), made, derived=True, stat=stat)
        return found


def unchanged(path: Path, made: sqlite3.Row) -> t.Optional[dict[str, int]]:
    """The stat record of a derived file, None when it is not the one that was made."""
    found = stat_record(path)
    return found if found is not None and all(found[key] == made[key] for key in found) else None


def _entry(path: str, row: sqlite3.Row, *, derived: bool, stat: t.Mapping[str, int]) -> dict[str, t.Any]:
    return {
        "path": path,
        "derived": derived,
        "size": row["size"],
        "sha512": row["sha512"],
        "virtual_size": row["virtual_size"] if derived else None,
        "stat": stat,
    }
