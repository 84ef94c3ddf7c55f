# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages verdict``: the gate before a machine starts. It needs no library while the certification path stands."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from ..errors import REMEDIES, VmimagesError
from ..site import queries
from ..site.judgement import snapshot
from ..site.store import preload
from ..site.store.catalogue import Catalogue
from ..site.store.state import StateDirectory
from ..times import utc_now
from .output import emit, emit_json, printable

if t.TYPE_CHECKING:
    import argparse

#: What keeps a reader from the catalogue while the snapshot may be good.
UNUSABLE: t.Final = frozenset({"state_owner", "state_busy", "disk_full", "not_writable", "index_damaged"})


def verdict(options: argparse.Namespace) -> int:
    """0 and the path of the image if it may run; 1 and the reasons if it may not."""
    image = _live(options) or _recorded(options)
    judged = image["verdict"]
    if options.json:
        emit_json(image)
    elif judged["allowed"]:
        emit(judged["path"])
    else:
        emit(f"{printable(options.name)} may not run: {judged['code']}")
        emit(*(f"  {printable(reason['text'])}" for reason in judged["reasons"]))
        emit(f"  {REMEDIES.get(judged['code'], '')}".rstrip())
    return 0 if judged["allowed"] else 1


def _live(options: argparse.Namespace) -> dict[str, t.Any] | None:
    """The verdict of this moment, for those who can open the catalogue: its owner and root, where it can be opened.

    A full or read-only file system, or a long writer, leaves the snapshot, which says itself whether it is too old.
    """
    try:
        with Catalogue.open(options.state_dir, index_path=options.index, load=preload.judging) as catalogue:
            return queries.judge(catalogue, options.name)
    except VmimagesError as error:
        if error.code not in UNUSABLE:
            raise
    return None


def _recorded(options: argparse.Namespace) -> dict[str, t.Any]:
    """The snapshot's verdict; it may be as old as ``--max-age``, and as its list's max_unrefreshed allows."""
    document = snapshot.load(StateDirectory.at(options.state_dir, index=options.index))
    image = snapshot.judge(document, options.name, utc_now(), max_age=options.max_age)
    limit = document["lists"].get(image["list"], {}).get("max_unrefreshed")
    if limit is None:
        return image
    return snapshot.judge(document, options.name, utc_now(), max_age=timedelta(seconds=limit))
