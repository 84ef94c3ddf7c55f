# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who else remembers the journal: what was seen of it once has to be in it still.

The chain tells of a line that was changed with lines after it. That the last lines were changed or cut off only those
can tell who have read them: the index, beside a new index the snapshot, and at least the archived messages.
"""

from __future__ import annotations

import json
from pathlib import Path

from ...transfer.atomic import storage_errors
from . import journal
from .state import StateDirectory


def missing(state: StateDirectory, head: journal.Head) -> str | None:
    """A sentence about what is no more in the journal, None if nothing is known to be missing.

    `head` is what the index has taken in; only beside a new index the others are asked.
    """
    if not journal.holds(state.journal, head):
        return f"Line {head.sequence} of {state.journal} is not the one that the index {state.index} has taken in."
    return missing_for_snapshot(state) or missing_for_messages(state) if head.sequence == 0 else None


def missing_for_snapshot(state: StateDirectory) -> str | None:
    """The same, by the head that the snapshot names, if there is a snapshot that names one."""
    seen = snapshot_head(state.snapshot)
    if seen is None or journal.holds(state.journal, seen):
        return None
    return f"Line {seen.sequence} of {state.journal} is not the one that {state.snapshot} was written after."


def missing_for_messages(state: StateDirectory) -> str | None:
    """The same, by the archive: all messages but a site's first come after a line."""
    if not is_empty(state.journal) or not state.holds_messages():
        return None
    return f"The journal {state.journal} has no line, but there are messages in {state.messages}."


def snapshot_head(path: Path) -> journal.Head | None:
    """The last line that the snapshot at `path` speaks of, None where it is missing, damaged or names none."""
    try:
        found = json.loads(path.read_bytes())["journal"]
        return journal.Head(int(found["sequence"]), str(found["digest"]), int(found["start"]), int(found["size"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_empty(path: Path) -> bool:
    """Whether the file at `path` is missing or has no octets."""
    with storage_errors(path, reading=True):
        try:
            return path.stat().st_size == 0
        except FileNotFoundError:
            return True
