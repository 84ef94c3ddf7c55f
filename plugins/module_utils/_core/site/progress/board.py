# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is: what it works on at the moment, how fast that goes, and how long it will take."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import typing as t
from collections import deque
from dataclasses import dataclass, field

from ..cache.watch import Watch

#: Seconds over which a rate is taken.
_WINDOW: t.Final = 10.0

#: Told that something has changed, now and then and from any thread.
Listener = t.Callable[["Board"], None]


@dataclass
class _Step:
    """`done` of `total` octets (0: nobody knows)."""

    name: str
    action: str
    image: str
    title: str
    total: int
    done: int = 0
    samples: deque[tuple[float, int]] = field(default_factory=deque)

    def reached(self, done: int, total: int, now: float) -> None:
        # What an earlier run has brought is there at once, and says nothing of the rate.
        if not self.samples:
            self.samples.append((now, done))
        self.done, self.total = done, total or self.total
        if now - self.samples[-1][0] >= 0.5:
            self.samples.append((now, done))
            while now - self.samples[0][0] > _WINDOW:
                self.samples.popleft()

    def as_dict(self, now: float) -> dict[str, t.Any]:
        rate = 0.0
        if self.samples and now > self.samples[0][0]:
            rate = max(0, self.done - self.samples[0][1]) / (now - self.samples[0][0])
        left = (self.total - self.done) / rate if rate and self.total else None
        return {
            "name": self.name,
            "action": self.action,
            "image": self.image,
            "title": self.title,
            "done": self.done,
            "total": self.total,
            "rate": round(rate),
            "seconds_left": None if left is None else round(left),
        }


@dataclass
class _Listening:
    """Who listens, how often, and when that was last."""

    listener: Listener
    interval: float
    told: float = float("-inf")


class Board(Watch):
    """Collects what a run tells; `listeners` hear of it at most once in `interval` seconds each."""

    def __init__(self, *listeners: tuple[Listener, float], clock: t.Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._steps: dict[str, _Step] = {}
        self._ended = 0
        self._listeners = [_Listening(listener, interval) for listener, interval in listeners]

    @property
    def ended(self) -> int:
        """How many steps are behind."""
        return self._ended

    def steps(self) -> list[dict[str, t.Any]]:
        """What goes on at the moment, the longest first; each has these keys:

        name, action, image, title, done, total, rate (octets a second), seconds_left (None: nobody knows).
        """
        with self._lock:
            return [step.as_dict(self._clock()) for step in self._steps.values()]

    def begin(self, name: str, action: str, row: sqlite3.Row) -> None:
        title = str(json.loads(row["metadata"]).get("dc:title", ""))
        total = 0 if action == "derive" else row["size"]
        with self._lock:
            self._steps[name] = _Step(name, action, row["image_id"], title, total)
        self._tell()

    def __call__(self, name: str, done: int, total: int) -> None:
        with self._lock:
            step = self._steps.get(name)
            if step is not None:
                step.reached(done, total, self._clock())
        self._tell()

    def end(self, name: str) -> None:
        with self._lock:
            self._ended += self._steps.pop(name, None) is not None
        self._tell(now=True)

    def _tell(self, *, now: bool = False) -> None:
        at = self._clock()
        for one in self._listeners:
            with self._lock:
                due = now or at - one.told >= one.interval
                if due:
                    one.told = at
            if due:
                one.listener(self)
