# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one receiver is to be told, in which order, and what its failures mean for the rest.

Happenings come in the journal's order. One that failed waits for its next attempt; those of the same subject wait
behind it, since an image must not become available after it has expired; all others go on.
"""

from __future__ import annotations

import typing as t
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

from ...errors import VmimagesError
from ..store import journal
from ..store.journal import Head
from .cursor import Cursor, Waiting
from .environment import FRAME
from .happenings import Happening, happenings, matters
from .program import Ended
from .receivers import Attempt, Job, Receiver, Told

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

#: A receiver that fails so often in a row has a trouble of its own: it is left alone until the next run.
MAX_TIMEOUTS: t.Final = 2
MAX_FAILURES: t.Final = 20


@dataclass(frozen=True)
class Turn:
    """One thing to do now: a happening that waited (`again`) or comes from the journal, or a frame's event."""

    job: Job
    happening: Happening | None = None
    again: Waiting | None = None
    frame: str = ""


@dataclass
class Queue:
    """The happenings for one receiver in one run. `now` stands still for the run."""

    catalogue: Catalogue
    receiver: Receiver
    cursor: Cursor
    now: datetime
    opened: bool = False
    closed: bool = False
    _timeouts: int = 0
    _failures: int = 0
    _lines: deque[tuple[Head, list[Happening]]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        entries = journal.read(self.catalogue.state.journal, after=self.cursor.head)
        self._lines.extend((item.head, happenings(self.catalogue, item, self.receiver.kinds)) for item in entries)

    @property
    def given_up(self) -> bool:
        """Whether the receiver is left alone for the rest of the run."""
        return self._timeouts >= MAX_TIMEOUTS or self._failures >= MAX_FAILURES

    def turn(self) -> Turn | None:
        """What to do next; None when this run has nothing more for the receiver."""
        found = None if self.given_up else self._waiting() or self._from_journal()
        if found is None:
            if not self.opened or self.closed:
                return None
            self.closed = True
            return Turn(self.receiver.frame(FRAME[1]), frame=FRAME[1])
        if self.receiver.framed and not self.opened:
            self.opened = True
            return Turn(self.receiver.frame(FRAME[0]), frame=FRAME[0])
        happening, again = found
        return Turn(self._job(happening, again), happening, again)

    def settle(self, turn: Turn, told: t.Sequence[Told]) -> list[tuple[str, dict[str, t.Any]]]:
        """Take in how a turn ended: the cursor moves, a failure waits; returns what the journal is to say."""
        good = told[-1].ended.good
        timed_out = any(item.ended.timed_out for item in told)
        self._timeouts = self._timeouts + 1 if timed_out else 0
        if turn.happening is None:
            return self._records(told, None, Attempt(1, None))
        self._failures = 0 if good else self._failures + 1
        tried = (turn.again or Waiting(turn.happening)).failed(self.now)
        retry = not good and tried.attempts < self.receiver.attempts
        if turn.again is None:
            self.cursor.done += 1
            if retry:
                self.cursor.waiting.append(tried)
        else:
            place = self.cursor.waiting.index(turn.again)
            self.cursor.waiting[place : place + 1] = [tried] if retry else []
        return self._records(told, turn.happening, Attempt(tried.attempts, tried.not_before if retry else None))

    def _records(
        self, told: t.Sequence[Told], happening: Happening | None, attempt: Attempt
    ) -> list[tuple[str, dict[str, t.Any]]]:
        return [record for item in told for record in (self.receiver.record(item, happening, attempt),) if record]

    def _job(self, happening: Happening, again: Waiting | None) -> Job:
        """A happening that cannot even be described is a failure like any other."""
        try:
            return self.receiver.job(happening, again.attempts + 1 if again else 1)
        except VmimagesError as error:
            failed = Told(happening.kind, Ended(None, False, str(error), 0.0))
            return lambda stopped: [failed]

    def _waiting(self) -> tuple[Happening, Waiting | None] | None:
        behind: set[tuple[str, str]] = set()
        for item in list(self.cursor.waiting):
            subject = item.happening.subject
            if subject in behind:
                continue
            if not item.due(self.now):
                behind.add(subject)
            elif self._matters(item.happening):
                return item.happening, item
            else:
                self.cursor.waiting.remove(item)
        return None

    def _from_journal(self) -> tuple[Happening, Waiting | None] | None:
        behind = {item.happening.subject for item in self.cursor.waiting}
        while self._lines:
            head, found = self._lines[0]
            if self.cursor.done >= len(found):
                self._lines.popleft()
                self.cursor.head, self.cursor.done = head, 0
                continue
            happening = found[self.cursor.done]
            if happening.subject in behind:
                self.cursor.waiting.append(Waiting(happening))
            elif self._matters(happening):
                return happening, None
            self.cursor.done += 1
        return None

    def _matters(self, happening: Happening) -> bool:
        return matters(self.catalogue, happening, history=happening.sequence <= self.cursor.history)
