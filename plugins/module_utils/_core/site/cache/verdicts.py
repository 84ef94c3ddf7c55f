# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``verdicts.json`` during a long run: never far behind the journal, and not written for every file."""

from __future__ import annotations

import contextlib
import time
import typing as t

from ...errors import VmimagesError
from ..judgement import snapshot

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

#: Seconds between two snapshots of a run.
INTERVAL: t.Final = 3.0

#: Writing takes longer the more images there are: at most this part of the time goes into it.
SHARE: t.Final = 0.1


class Verdicts:
    """Writes the snapshot when the journal has gone on since this run wrote it last."""

    def __init__(self, catalogue: Catalogue, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._catalogue = catalogue
        self._clock = clock
        self._head = catalogue.head()
        self._due = 0.0

    def write(self) -> None:
        """Write it now, if it is behind."""
        if self._is_behind():
            started = self._clock()
            snapshot.write(self._catalogue)
            self._head = self._catalogue.head()
            ended = self._clock()
            self._due = ended + max(INTERVAL, (ended - started) / SHARE)

    def keep(self) -> None:
        """Write it, if it is behind and time for it; where that fails, the end of the run tries again and tells."""
        if self.pause() == 0.0:
            with contextlib.suppress(VmimagesError):
                self.write()
                return
            self._due = self._clock() + INTERVAL

    def pause(self) -> float | None:
        """The seconds until `keep` has something to do; None while it has not."""
        return max(0.0, self._due - self._clock()) if self._is_behind() else None

    def finish(self) -> None:
        """Leave a snapshot that is not behind, whoever should have written it."""
        self.write()
        snapshot.ensure(self._catalogue)

    def _is_behind(self) -> bool:
        return self._catalogue.head() != self._head
