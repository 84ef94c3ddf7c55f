# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's own list: what its nodes may run, as the endorsers describe it, at the addresses of the site's cache.

Here the images are chosen and described; whoever calls composes the list and signs it.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..imagelist.model import CHECKSUM
from ..times import to_text
from .judgement.assess import Assessor, Known, latest, require_list, resolve

if t.TYPE_CHECKING:
    import sqlite3
    from datetime import datetime

    from .store.catalogue import Catalogue

EXPIRES: t.Final = "dc:date:expires"

#: What a relayed image does not take over from the endorser's description as it stands there.
_OWN: t.Final = frozenset({"dc:identifier", "hv:version", "hv:uri", "hv:size", f"{CHECKSUM}sha512", EXPIRES})


@dataclass(frozen=True)
class RelayedImage:
    """One image of the site's list; `metadata` are all further keys, as its endorser signed them, and its end."""

    identifier: str
    list_id: str
    version: str
    uri: str
    size: int
    sha512: str
    metadata: t.Mapping[str, t.Any]


@dataclass(frozen=True)
class Relay:
    """The images that the site relays, by UUID; `left_out` are cached ones that may not run now, and why not."""

    images: tuple[RelayedImage, ...]
    left_out: tuple[Known, ...]


def relay(
    catalogue: Catalogue,
    *,
    base_uri: str,
    lists: t.Sequence[str] = (),
    images: t.Sequence[str] = (),
    now: datetime | None = None,
) -> Relay:
    """What the site's list says at `now`: every image whose verdict is *allowed*, which a verified file is part of.

    `base_uri` is the address under which the cache's directory `current` is served. `lists` (UUIDs) and `images`
    (UUIDs or tags) restrict it to these; ``unknown_list`` and ``unknown_image`` for what is not there.

    An image ends when its verdict does (`good_until`): at its own end, at that of its list, or when what proves its
    signer has to be renewed, whichever is first; so no node outlives the endorsement.
    """
    assessor = Assessor(catalogue, now)
    base = base_uri if base_uri.endswith("/") else f"{base_uri}/"
    found = sorted(
        assessor.assess_all(_scope(catalogue, lists, images)),
        key=lambda known: (known.image_id, known.list_id),
    )
    relayed = {known.image_id: _image(known, base) for known in found if known.verdict.allowed}
    left_out = tuple(known for known in found if not known.verdict.allowed and known.facts.file is not None)
    return Relay(tuple(relayed.values()), left_out)


def _scope(catalogue: Catalogue, lists: t.Sequence[str], images: t.Sequence[str]) -> list[sqlite3.Row]:
    if not lists and not images:
        return latest(catalogue)
    rows = [row for name in lists for row in latest(catalogue, list_id=require_list(catalogue, name))]
    rows += [resolve(catalogue, name)[0] for name in images]
    return list({row["row"]: row for row in rows}.values())


def _image(known: Known, base: str) -> RelayedImage:
    row, end = known.row, known.verdict.good_until
    kept = {key: value for key, value in known.metadata.items() if key not in _OWN}
    return RelayedImage(
        identifier=known.image_id,
        list_id=known.list_id,
        version=row["version"],
        uri=base + Path(known.verdict.path or "").name,
        size=row["size"],
        sha512=row["sha512"],
        metadata={**kept, EXPIRES: to_text(end)} if end is not None else kept,
    )
