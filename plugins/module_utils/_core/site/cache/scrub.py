# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files at rest are read again now and then: a stat record does not tell of a bit that the disk has lost."""

from __future__ import annotations

import threading
import time
import typing as t
from datetime import timedelta

from ...times import from_text

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

#: How often files are read where nobody says anything.
INTERVAL: t.Final = timedelta(days=30)


def due(catalogue: Catalogue, interval: timedelta) -> set[str]:
    """The names of the files in `current` and `derived` that were last read `interval` ago, or longer."""
    limit = catalogue.now() - interval
    rows = catalogue.rows(
        "SELECT name, scrubs.at FROM (SELECT name FROM files WHERE state = 'current' UNION SELECT name FROM derived) "
        "LEFT JOIN scrubs USING (name)"
    )
    return {row["name"] for row in rows if row["at"] is None or from_text(row["at"]) <= limit}


class Pace:
    """Keeps several readers together at no more than `rate` octets a second; None: as fast as they can."""

    def __init__(
        self,
        rate: t.Optional[int],
        clock: t.Callable[[], float] = time.monotonic,
        sleep: t.Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at = clock()

    def took(self, octets: int) -> None:
        """So many octets were read: wait for as long as they may take."""
        if not self._rate:
            return
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now - 1.0) + octets / self._rate
            pause = self._free_at - now
        if pause > 0:
            self._sleep(pause)
