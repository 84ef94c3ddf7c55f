# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages verdict --at``: what the gate would have said at an earlier time. It opens no gate."""

from __future__ import annotations

import contextlib
import typing as t

from ..site.history import verdicts
from ..site.judgement import asked
from ..times import utc_now
from .line.catalogue import ask, state_of
from .line.output import emit, emit_holders, emit_json, emit_notes, printable
from .line.values import moment

if t.TYPE_CHECKING:
    import argparse

    from ..site.store.catalogue import Catalogue

NOT_ALLOWED: t.Final = 1


def verdict(options: argparse.Namespace) -> int:
    """1, whatever the answer is: nobody may start an image by it."""
    when = moment(options.at, "--at")
    kind = asked.TAG if options.tag else asked.kind_of(options.name)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(asked.candidate(options.name, read=options.hash)) if kind == asked.PATH else None

        def judge(source: Catalogue | None) -> dict[str, t.Any]:
            now = source.now() if source else utc_now()
            return verdicts.judge(state_of(options), options.name, when, now=now, kind=kind, file=file, source=source)

        image = ask(options, judge) or judge(None)
    if options.json:
        emit_json(image)
        return NOT_ALLOWED
    found = image["verdict"]
    answer = "would have been allowed" if found["would_have_been_allowed"] else "would not have been allowed"
    emit(f"{printable(options.name)} {answer} at {image['as_of']}: {found['code']}")
    emit(*(f"  {printable(reason['text'])}" for reason in found["reasons"]))
    emit(f"  This is an audit, by {image['basis']['journal_line']} journal lines; it authorises nothing.")
    emit_notes(*filter(None, (image["basis"]["doubt"], *image["basis"]["notes"])))
    emit_holders(image)
    return NOT_ALLOWED
