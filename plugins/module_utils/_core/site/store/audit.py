# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit: the whole chain of the journal and every archived message, read and compared; nothing is changed."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...errors import SiteError
from . import archive, index, journal, witness
from .state import StateDirectory


@dataclass(frozen=True)
class Audit:
    """Good lines and good messages, archived messages that no line names (a crash leaves them), and what is wrong."""

    lines: int
    messages: int
    unnamed: int
    problems: tuple[SiteError, ...]

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON."""
        return {
            "lines": self.lines,
            "messages": self.messages,
            "unnamed": self.unnamed,
            "problems": [problem.as_dict() for problem in self.problems],
        }


def audit(state: StateDirectory) -> Audit:
    """Read all of `state` that the chain covers; ``state_missing``, TransferError ``not_readable``.

    What the index and the snapshot remember is asked for first: the journal may only have grown since.
    """
    if not state.exists() and not state.holds_messages():
        raise SiteError("state_missing", f"There is no site state at {state.path}.", path=str(state.path))
    head = index.peek(state.index)
    reasons = [
        witness.missing(state, head) if head else None,
        witness.missing_for_snapshot(state),
        witness.missing_for_messages(state),
    ]
    problems = [
        SiteError("journal_damaged", reason, path=str(state.journal)) for reason in dict.fromkeys(reasons) if reason
    ]
    lines = messages = 0
    named: set[str] = set()
    for found in journal.examine(state.journal):
        if isinstance(found, SiteError):
            problems.append(found)
            continue
        lines += 1
        if found.event != "accepted":
            continue
        name, digest = found.data.get("message"), found.data.get("message_sha256")
        try:
            archive.load(state.messages, str(name), str(digest))
            messages += 1
        except SiteError as error:
            problems.append(error)
        named.add(str(name))
    kept = (path.relative_to(state.messages).as_posix() for path in state.messages.glob("*/*.smime"))
    return Audit(lines, messages, sum(name not in named for name in kept), tuple(problems))
