# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which address is asked next, when, and when to give up."""

from __future__ import annotations

import random
import time
import typing as t

from ...errors import TransferError
from ..policy import Policy

#: Refusals of this machine, which no other address mends.
_OURS: t.Final = frozenset({"disk_full", "not_writable", "transfer_busy", "internal_error", "library_missing"})
#: Refusals that may be over in a moment.
_PASSING: t.Final = frozenset({"unreachable", "timeout"})
_PASSING_STATUSES: t.Final = frozenset({408, 425, 429, 500, 502, 503, 504})

_LONGEST_PAUSE: t.Final = 60.0
_LONGEST_WISH: t.Final = 600


class Attempts:
    """Goes through `addresses` in their order, again and again, without those that have failed for good.

    After each round that brought nothing there is a pause, twice as long as the last one and with some jitter; after
    `Policy.retries` of those, or when the transfer's time is over, it is given up. `started` is of the monotonic clock.
    """

    def __init__(self, addresses: t.Sequence[str], policy: Policy, *, started: float) -> None:
        self._addresses = list(dict.fromkeys(addresses))
        self._policy = policy
        self._started = started
        self._position = 0
        self._pauses = 0
        self._progressed = False
        self._wish = 0
        self._failures: list[TransferError] = []

    @property
    def address(self) -> str:
        """The address to ask now."""
        return self._addresses[self._position]

    def failed(self, error: TransferError, *, progressed: bool) -> float:
        """The present address has failed, after octets came or not; the seconds to wait before the next one.

        Raises `error`, or the one that tells more, when there is no next one.
        """
        if error.code in _OURS:
            raise error
        self._progressed = self._progressed or progressed
        self._failures = [*self._failures[-9:], error]
        if is_passing(error):
            self._wish = max(self._wish, min(error.context.get("retry_after", 0), _LONGEST_WISH))
            self._position += 1
        else:
            del self._addresses[self._position]
        if not self._addresses:
            raise self._last()
        pause = self._pause() if self._position >= len(self._addresses) else 0.0
        if time.monotonic() + pause >= self._started + self._policy.total_timeout:
            raise self._last()
        return pause

    def _pause(self) -> float:
        """A round is over: how long to wait before the next one."""
        if self._progressed and self._policy.retries:
            self._pauses = 0
        elif self._pauses >= self._policy.retries:
            raise self._last()
        wish, self._wish = self._wish, 0
        self._position, self._progressed = 0, False
        pause = min(self._policy.retry_pause * 2.0**self._pauses, _LONGEST_PAUSE)
        self._pauses += 1
        return max(float(wish), pause * random.uniform(0.5, 1.0))

    def _last(self) -> TransferError:
        """The last failure; if there were others, they are told with it."""
        last = self._failures[-1]
        if len(self._failures) > 1:
            last.context["failures"] = [{"code": error.code, "detail": error.detail} for error in self._failures]
        return last


def is_passing(error: TransferError) -> bool:
    """Whether the same request may succeed a little later."""
    return error.code in _PASSING or error.context.get("status") in _PASSING_STATUSES


def wait(seconds: float, heartbeat: t.Callable[[], None]) -> None:
    """Wait, with a `heartbeat` every second; what it raises ends the wait."""
    end = time.monotonic() + seconds
    while True:
        heartbeat()
        left = end - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, 1.0))
