# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A dispatcher that is killed at any step: no event is lost, and at most the one of that moment is told twice."""

from __future__ import annotations

import itertools
import os
import shutil
from collections import Counter
from pathlib import Path

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.events import program
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot

from ...killing import killed_before
from ..conftest import IMAGE
from .conftest import Stage, events_of

STEPS = (
    *((os, name) for name in ("fsync", "replace", "rename", "pwrite", "unlink")),
    (program.Ended, "__init__"),
    (snapshot, "write"),
)


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
        killed = killed_before(step, stage.dispatch, *STEPS)
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
