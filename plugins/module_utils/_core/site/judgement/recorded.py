# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions by digest and by file to the snapshot, for those who may not open the catalogue.

It is stricter than the catalogue: a copy may run only while the file in the cache may, too.
"""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta

from ...errors import SiteError
from . import asked, snapshot
from .assess import unknown_image

if t.TYPE_CHECKING:
    from .asked import Candidate
    from .snapshot import Snapshot


def judge(
    found: Snapshot,
    name: str,
    now: datetime,
    *,
    kind: str | None = None,
    file: Candidate | None = None,
    max_age: timedelta | None = None,
) -> dict[str, t.Any]:
    """The snapshot's verdict on what `name` means; see `snapshot.judge`, and `queries.judge` for the codes."""
    kind = kind or asked.kind_of(name)
    if kind not in (asked.SHA512, asked.PATH):
        return snapshot.judge(found, name, now, max_age=max_age)
    image = _best(found, name.lower(), unknown_image(name)) if file is None else _of_file(found, file)
    answer = snapshot.judge(found, image["identifier"], now, max_age=max_age)
    if file is not None:
        answer["verdict"]["path"] = str(file.path)
    holders = [
        {key: one[key] for key in ("list", "identifier", "version", "tag", "endorsed")}
        for one in found.find("sha512", image["sha512"])
    ]
    return {**answer, "holders": holders}


def _of_file(found: Snapshot, file: Candidate) -> t.Mapping[str, t.Any]:
    for image in found.summary()["images"].values():
        path = image["verdict"]["path"]
        if path and (path == str(file.path) or (image["stat"]["inode"] == file.record["inode"] and file.is_at(path))):
            return t.cast("t.Mapping[str, t.Any]", image)
    made = found.document.get("derived", ())
    for one in made:
        if one["path"] == str(file.path) or (one["stat"]["inode"] == file.record["inode"] and file.is_at(one["path"])):
            if one["stat"] != file.record:
                raise SiteError("file_changed", f"{file.path} is no longer what was made.", path=str(file.path))
            return _best(found, one["source_sha512"], unknown_image(one["source_sha512"]))
    digest = file.sha512()
    if digest is None:
        raise asked.unknown_file(file)
    sources = [one["source_sha512"] for one in made if one["sha512"] == digest]
    return _best(found, sources[0] if sources else digest, asked.no_image(file, digest))


def _best(found: Snapshot, digest: str, otherwise: SiteError) -> t.Mapping[str, t.Any]:
    images = found.find("sha512", digest)
    if not images:
        raise otherwise
    return images[0]
