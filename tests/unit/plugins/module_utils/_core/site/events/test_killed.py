# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dispatcher that is killed at any step: no event is lost, and at most the one of that moment is told twice."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import typing as t
from collections import Counter
from pathlib import Path

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.events import program
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot

from ..conftest import IMAGE
from .conftest import Stage, events_of

STEPS = ("fsync", "replace", "rename", "pwrite", "unlink")


def _killed(step: int, run: t.Callable[[], t.Any]) -> bool:
    """Run in a child that is killed before its step number `step`, or after its handler; whether it was."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            counter = itertools.count(1)

            def counting(function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
                def wrapper(*arguments: t.Any, **options: t.Any) -> t.Any:
                    if next(counter) == step:
                        os.kill(os.getpid(), signal.SIGKILL)
                    return function(*arguments, **options)

                return wrapper

            for name in STEPS:
                setattr(os, name, counting(getattr(os, name)))
            program.Ended.__init__ = counting(program.Ended.__init__)  # type: ignore[method-assign]
            snapshot.write = counting(snapshot.write)
            run()
            status = 0
        finally:
            os._exit(status)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def test_a_kill_between_any_two_steps_repeats_one_event_at_most(stage: Stage, tmp_path: Path) -> None:
    world = stage.world
    log = stage.logging("log")
    world.publish("1", [world.image()])
    world.subscribe(new_images="cache")
    world.sync()
    wanted = [f"SubscriptionImageNew {IMAGE}", f"AvailablePrefix {IMAGE}", f"AvailablePostfix {IMAGE}"]
    start = tmp_path / "start"
    shutil.copytree(world.state, start)
    repeated = 0
    for step in itertools.count(1):
        shutil.rmtree(world.state)
        shutil.copytree(start, world.state)
        # A copy has another inode; what is told does not depend on it.
        log.unlink(missing_ok=True)
        killed = _killed(step, stage.dispatch)
        stage.dispatch()
        told = Counter(events_of(log))
        assert set(told) == set(wanted)
        twice = [name for name in wanted if told[name] > 1]
        assert all(told[name] <= 2 for name in wanted)
        assert twice in ([], wanted[:1], wanted[1:], wanted[1:2])
        repeated += bool(twice)
        assert {item["event"] for item in stage.journal("handled")} >= {name.split()[0] for name in wanted}
        assert not stage.dispatch().changed
        if not killed:
            break
    assert step > 20 and repeated
