# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages verdict``: the gate before a machine starts. It needs no library while the certification path stands."""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

from ..errors import REMEDIES, SiteError
from ..site import queries
from ..site.judgement import asked, recorded, snapshot
from ..site.judgement.records import stat_record
from ..times import utc_now
from .line.catalogue import ask, state_of
from .line.output import emit, emit_holders, emit_json, printable

if t.TYPE_CHECKING:
    import argparse

    from ..site.judgement.asked import Candidate


#: What keeps a reader from the catalogue while the snapshot may be good.
def verdict(options: argparse.Namespace) -> int:
    """0 and the path of the image if it may run; 1 and the reasons if it may not, or for an audit."""
    if options.at is not None:
        from . import audited

        return audited.verdict(options)
    kind = asked.TAG if options.tag else asked.kind_of(options.name)
    with contextlib.ExitStack() as stack:
        # Before the state's owner takes over: the file may be readable for whoever asks alone.
        file = stack.enter_context(asked.candidate(options.name, read=options.hash)) if kind == asked.PATH else None
        image = ask(options, lambda catalogue: queries.judge(catalogue, options.name, kind=kind, file=file))
        image = image or _recorded(options, kind, file)
    judged = image["verdict"]
    if options.format is not None and judged["allowed"]:
        judged = image["verdict"] = {**judged, "path": _in_format(image, options.format)}
    if options.json:
        emit_json(image)
        return 0 if judged["allowed"] else 1
    if judged["allowed"]:
        emit(judged["path"])
    else:
        emit(f"{printable(options.name)} may not run: {judged['code']}")
        emit(*(f"  {printable(reason['text'])}" for reason in judged["reasons"]))
        emit(f"  {REMEDIES.get(judged['code'], '')}".rstrip())
    emit_holders(image)
    return 0 if judged["allowed"] else 1


def _in_format(image: t.Mapping[str, t.Any], wanted: str) -> str:
    """The file of an image that may run, in this format; SiteError ``not_derived`` where there is none."""
    found = image.get("formats", {}).get(wanted)
    if found is None or stat_record(Path(found["path"])) != found["stat"]:
        raise SiteError("not_derived", f"Image {image['identifier']} is not in the cache as {wanted}.", format=wanted)
    return str(found["path"])


def _recorded(options: argparse.Namespace, kind: str, file: Candidate | None) -> dict[str, t.Any]:
    """The snapshot's verdict; it may be as old as ``--max-age``, and as its list's max_unrefreshed allows."""
    found = snapshot.load(state_of(options))
    image = recorded.judge(found, options.name, utc_now(), kind=kind, file=file, max_age=options.max_age)
    return {**image, "formats": found.formats(image)}
