# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A deadline and a minimum rate that hold whatever the other side does.

A socket's timeout starts anew with every octet, so a server that sends one octet now and then (of a TLS handshake, a
header, a chunk's size, a body) is never late. A watchdog's connection is cut from outside: the blocked read ends at
once, and `Watchdog.check` says why. One thread does so for all transfers of the process: it costs a third of the CPU
time of a short one to begin a thread and to wait for its end.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import typing as t

from ..errors import TransferError


class Watchdog:
    """Watches one transfer at a time; a context manager. `seconds` is the total deadline at the start.

    The transferring thread raises `received` as octets arrive, and sets `local` while it is busy with its own disk,
    so that a slow disk is not taken for a slow server.
    """

    def __init__(self, seconds: float, *, what: str) -> None:
        self.received = 0
        self.local = False
        self._what = what
        self._started = time.monotonic()
        self._seconds = seconds
        self._rate = 0
        self._window = 0.0
        self._window_end = float("inf")
        self._seen = 0
        self._reason: t.Optional[str] = None
        self._socket: t.Optional[socket.socket] = None

    def __enter__(self) -> Watchdog:
        _KEEPER.add(self)
        return self

    def __exit__(self, *_exception: object) -> None:
        _KEEPER.remove(self)
        self._release()

    def watch(self, connection: t.Union[socket.socket, t.Any]) -> None:
        """Make `connection` (anything with a ``fileno``) the one to cut. Raises ``timeout`` if it is too late already.

        The watchdog holds a duplicate of the descriptor: it works under TLS, which hides the socket, and after
        the HTTP library has closed its own.
        """
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
        with _KEEPER.lock:
            self._release()
            self._socket = duplicate
        self.check()

    def remaining(self) -> float:
        """Return the seconds left until the deadline; never negative."""
        return max(0.0, self._started + self._seconds - time.monotonic())

    def body(self, seconds: float, *, minimum_rate: int, window: float, started: t.Optional[float] = None) -> None:
        """The body begins: the deadline is now `seconds` after the start, and the rate is watched from here on.

        The start is that of the watchdog, or was `started` (monotonic clock), before earlier attempts.
        """
        with _KEEPER.lock:
            self._seconds = seconds
            self._started = self._started if started is None else started
            self._rate, self._window = minimum_rate, window
            self._seen = self.received
            self._window_end = time.monotonic() + window
            _KEEPER.heed(self.due())

    def check(self) -> None:
        """Raise `TransferError` ``timeout`` if the transfer was cut or its deadline has passed."""
        if self._reason is None and self.remaining() == 0:
            self._reason = self._late()
        if self._reason is not None:
            raise TransferError("timeout", self._reason, octets_received=self.received)

    def _late(self) -> str:
        return f"{self._what} took longer than {self._seconds:g} seconds"

    def due(self) -> float:
        """When to look at this transfer next, on the monotonic clock; infinite once it was cut. For the keeper."""
        return min(self._started + self._seconds, self._window_end) if self._reason is None else float("inf")

    def look(self, now: float) -> None:
        """Cut the connection if its time is over, or if it was too slow. For the keeper."""
        if now < self.due():
            return
        if now >= self._started + self._seconds:
            self._cut(self._late())
        else:
            self._judge_rate(now)

    def _judge_rate(self, now: float) -> None:
        if not self.local and self.received - self._seen < self._rate * self._window:
            self._cut(f"{self._what} came slower than {self._rate} octets a second for {self._window:g} seconds")
        self._seen = self.received
        self._window_end = now + self._window

    def _cut(self, reason: str) -> None:
        self._reason = reason
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Keeper:
    """The thread that looks at all watchdogs of the process when they are due; it begins with the first of them.

    `lock` guards the watchdogs' state: after `remove` nothing is cut any more.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._changed = threading.Condition(self.lock)
        self._watchdogs: set[Watchdog] = set()
        self._wake = float("inf")
        self._thread: t.Optional[threading.Thread] = None

    def add(self, watchdog: Watchdog) -> None:
        """Look after this one from now on."""
        with self.lock:
            if self._thread is None or not self._thread.is_alive():
                thread = threading.Thread(target=self._run, name="vmimages-watchdog", daemon=True)
                thread.start()
                self._thread = thread
            self._watchdogs.add(watchdog)
            self.heed(watchdog.due())

    def remove(self, watchdog: Watchdog) -> None:
        """Look after it no longer. The thread is not woken for that: it finds out when this one would have been due."""
        with self.lock:
            self._watchdogs.discard(watchdog)

    def heed(self, due: float) -> None:
        """Wake the thread if it would sleep longer than that; the caller has the lock."""
        if due < self._wake:
            self._wake = due
            self._changed.notify()

    def _run(self) -> None:
        with self.lock:
            while True:
                now = time.monotonic()
                for watchdog in self._watchdogs:
                    watchdog.look(now)
                self._wake = min((watchdog.due() for watchdog in self._watchdogs), default=float("inf"))
                pause = self._wake - time.monotonic()
                if pause > 0:
                    self._changed.wait(min(pause, threading.TIMEOUT_MAX))


_KEEPER = _Keeper()


def _after_fork() -> None:
    """A child process has neither its parent's threads nor its transfers."""
    global _KEEPER
    _KEEPER = _Keeper()


os.register_at_fork(after_in_child=_after_fork)
