# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One thread watches every transfer of a process, and none of them suffers from another."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.watchdog import Watchdog


@pytest.fixture
def stack() -> t.Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def watched(stack: contextlib.ExitStack, seconds: float) -> tuple[Watchdog, socket.socket, socket.socket]:
    """A watchdog, the connection that it watches, and the other end of that."""
    ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
    ours.settimeout(30)
    watchdog = stack.enter_context(Watchdog(seconds, what="The test"))
    watchdog.watch(ours)
    return watchdog, ours, theirs


def cut(connection: socket.socket) -> bool:
    """Whether a blocked read ends before a patient watchdog would end it."""
    return connection.recv(1) == b""


def test_one_thread_watches_all_transfers(stack: contextlib.ExitStack) -> None:
    for _turn in range(50):
        watched(stack, 60)
    assert sum(thread.name == "vmimages-watchdog" for thread in threading.enumerate()) == 1


def test_a_transfer_is_cut_at_its_own_time_whoever_began_before(stack: contextlib.ExitStack) -> None:
    patient, far, _theirs = watched(stack, 60)
    hasty, near, _theirs = watched(stack, 0.2)
    assert cut(near)
    with pytest.raises(TransferError, match="longer than"):
        hasty.check()
    patient.check()
    far.settimeout(0.1)
    with pytest.raises(TimeoutError):
        far.recv(1)


def test_the_rate_of_one_transfer_says_nothing_of_another(stack: contextlib.ExitStack) -> None:
    slow, starved, _theirs = watched(stack, 60)
    fast, fed, _theirs = watched(stack, 60)
    slow.body(60, minimum_rate=1000, window=0.2)
    fast.body(60, minimum_rate=1000, window=0.2)
    fast.received += 100_000_000
    assert cut(starved)
    with pytest.raises(TransferError, match="slower than"):
        slow.check()
    fast.check()
    assert fed.fileno() >= 0


def test_after_its_end_a_transfer_is_not_cut(stack: contextlib.ExitStack) -> None:
    ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
    with Watchdog(0.2, what="The test") as watchdog:
        watchdog.watch(ours)
    # Another one lets the thread look at the time when the first would have been due.
    _other, connection, _theirs = watched(stack, 0.4)
    assert cut(connection)
    theirs.sendall(b"next")
    assert ours.recv(4) == b"next"


def test_a_child_process_has_a_watchdog_of_its_own(stack: contextlib.ExitStack) -> None:
    watched(stack, 60)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with contextlib.ExitStack() as own:
                _watchdog, connection, _theirs = watched(own, 0.2)
                code = 0 if cut(connection) else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
