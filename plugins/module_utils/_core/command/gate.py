# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages verdict``: the gate before a machine starts. It reads the snapshot only, and needs no library."""

from __future__ import annotations

import typing as t
from datetime import timedelta

from ..errors import REMEDIES
from ..site.judgement import snapshot
from ..site.store.state import StateDirectory
from ..times import utc_now
from .output import emit, emit_json, printable

if t.TYPE_CHECKING:
    import argparse


def verdict(options: argparse.Namespace) -> int:
    """0 and the path of the image if it may run; 1 and the reasons if it may not."""
    document = snapshot.load(StateDirectory.at(options.state_dir, index=options.index))
    image = judge(document, options.name, max_age=options.max_age)
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


def judge(document: t.Mapping[str, t.Any], name: str, *, max_age: timedelta | None) -> dict[str, t.Any]:
    """The image with its verdict; the snapshot may be as old as `max_age`, or as its list's max_unrefreshed allows."""
    now = utc_now()
    image = snapshot.judge(document, name, now, max_age=max_age)
    limit = document["lists"].get(image["list"], {}).get("max_unrefreshed")
    if limit is None:
        return image
    return snapshot.judge(document, name, now, max_age=timedelta(seconds=limit))
