# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Killed at any step: the old state or the new one, and the next run completes.

Each run happens in a forked child that counts its steps (every fsync, rename, write to the journal, commit of the
index) and kills itself with SIGKILL before the nth; n goes from the first step to the last.
"""

from __future__ import annotations

import itertools
import os
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import index

from ..killing import killed_before
from .conftest import IMAGE, IMAGE_2, LIST, World

STEPS = (
    *((os, name) for name in ("fsync", "replace", "rename", "pwrite", "unlink", "ftruncate")),
    (index, "set_head"),
)


def _snapshot(world: World) -> dict[str, t.Any]:
    """All that lies in the state directory, to be laid out again."""
    return {
        str(path.relative_to(world.state)): path.read_bytes() if path.is_file() else None
        for path in sorted(world.state.rglob("*"))
    }


def _lay_out(world: World, files: t.Mapping[str, t.Any]) -> None:
    for path in sorted(world.state.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    for name, octets in files.items():
        path = world.state / name
        if octets is None:
            path.mkdir()
        else:
            path.write_bytes(octets)


def _endorsed_only(world: World) -> None:
    """Nothing in `current` but octets that some list endorsed."""
    for octets in world.files("current"):
        assert octets in world.octets.values()


def _meaning(world: World) -> dict[str, list[tuple[t.Any, ...]]]:
    """The index without what differs from run to run: stat records and journal numbers."""
    rows = world.rows()
    return {
        "versions": [row[1:6] + row[8:9] for row in rows["versions"]],
        "rebaselines": [row[1:5] + row[6:] for row in rows["rebaselines"]],
        "images": [(*row[1:6], row[12] is None) for row in rows["images"]],
        "decisions": [row[:6] for row in rows["decisions"]],
        "files": [row[:6] for row in rows["files"]],
    }


@pytest.mark.parametrize("operation", ["subscribe", "refresh", "decide", "sync", "rebaseline", "go back"])
def test_a_kill_between_any_two_steps_leaves_the_old_state_or_the_new(world: World, operation: str) -> None:
    first, second = world.image(), world.image(IMAGE_2)
    runs: dict[str, t.Callable[[], t.Any]] = {
        "subscribe": lambda: world.subscribe(new_images="cache"),
        "refresh": world.refresh,
        "decide": lambda: world.decide("blacklist", IMAGE, reason="CVE"),
        "sync": world.sync,
        "rebaseline": lambda: world.rebaseline(lower),
        "go back": world.refresh,
    }
    lower = world.publish("1", [first, second])
    if operation == "subscribe":
        with world.open():
            pass
    else:
        world.subscribe(new_images="cache")
        world.sync()
        world.publish("2", [world.image(version="2")])
        if operation in ("sync", "rebaseline", "go back"):
            world.refresh()
        if operation == "go back":
            world.rebaseline(lower)
            world.serve(lower)
    start = _snapshot(world)
    before = _meaning(world)
    # Files that were laid out are new ones, which nobody verified: in this run as in those that are killed.
    _lay_out(world, start)
    runs[operation]()
    after = _meaning(world)
    assert after != before
    for step in itertools.count(1):
        _lay_out(world, start)
        killed = killed_before(step, runs[operation], *STEPS)
        _endorsed_only(world)
        found = _meaning(world)
        if operation != "sync":
            half = operation == "subscribe" and found == {**before, "versions": [], "images": []}
            assert found in (before, after) or half
        runs[operation]()
        assert _meaning(world) == after
        _endorsed_only(world)
        assert not list(world.state.rglob("*.part")) or operation in ("decide", "rebaseline")
        if not killed:
            break
    assert step > 5


def test_a_lost_decision_would_show(world: World) -> None:
    """What was acknowledged is there after a kill of the next writer, at any of its steps."""
    world.publish("1", [world.image()])
    world.subscribe()
    world.decide("approve", IMAGE, reason="tested")
    world.publish("2", [world.image(version="2")])
    for step in itertools.count(1):
        killed = killed_before(step, world.refresh, *STEPS)
        assert [row[4] for row in world.rows()["decisions"]] == ["tested"]
        if not killed:
            break
    assert (world.state / "messages" / LIST).is_dir()
    assert Path(world.state / "journal.jsonl").read_bytes().endswith(b"\n")
