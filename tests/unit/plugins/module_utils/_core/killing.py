# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that is killed before one of its steps, for tests that try every one of them."""

from __future__ import annotations

import itertools
import os
import signal
import typing as t


def killed_before(step: int, work: t.Callable[[], object], *steps: tuple[t.Any, str]) -> bool:
    """Do the work in a child that is killed before its step number `step` (from 1 on); False when it has fewer.

    `steps`: the functions whose calls are steps, as (the module or class that has it, its name).
    """
    child = os.fork()
    if child == 0:
        status = 1
        try:
            counter = itertools.count(1)
            for owner, name in steps:
                setattr(owner, name, _counting(getattr(owner, name), counter, step))
            work()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _counting(call: t.Callable[..., t.Any], counter: t.Iterator[int], step: int) -> t.Callable[..., t.Any]:
    def counting(*arguments: t.Any, **options: t.Any) -> t.Any:
        if next(counter) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*arguments, **options)

    return counting
