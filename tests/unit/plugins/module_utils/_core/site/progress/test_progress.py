# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is: in numbers, in words, in a file for others, and with a lease for whoever watches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress import file
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress.board import Board
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress.lease import Lease
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress.telling import telling
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress.words import sentence, time_text
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory

from ..conftest import IMAGE, World

ROW: t.Any = {"metadata": json.dumps({"dc:title": "worker"}), "image_id": IMAGE, "size": 10 * 1024**3}


def test_rate_and_time_left_are_those_of_the_last_seconds() -> None:
    clock = [0.0]
    board = Board(clock=lambda: clock[0])
    board.begin("a", "download", ROW)
    for second in range(40):
        clock[0] = float(second)
        board("a", 1024**3 + second * 100 * 1024**2 * (2 if second > 20 else 1), 10 * 1024**3)
    (step,) = board.steps()
    assert 190 * 1024**2 < step["rate"] < 280 * 1024**2
    assert sentence(step).startswith("worker (488dcdc4): downloading, 8.6 GiB of 10.0 GiB, 2")
    board.end("a")
    assert (board.steps(), board.ended) == ([], 1)


def test_what_is_resumed_says_nothing_of_the_rate() -> None:
    clock = [0.0]
    board = Board(clock=lambda: clock[0])
    board.begin("a", "download", ROW)
    board("a", 9 * 1024**3, 10 * 1024**3)
    clock[0] = 2.0
    board("a", 9 * 1024**3 + 2 * 1024**2, 10 * 1024**3)
    assert board.steps()[0]["rate"] == 1024**2


def test_words() -> None:
    assert [time_text(seconds) for seconds in (5, 119, 120, 7199, 7500)] == [
        "5 s",
        "119 s",
        "2 min",
        "119 min",
        "2 h 5 min",
    ]
    step = {"title": "", "image": IMAGE, "action": "derive", "done": 5, "total": 0, "rate": 0, "seconds_left": None}
    assert sentence(step) == "image (488dcdc4): making disks, 5 octets"


def test_the_file_is_there_for_the_run_and_tells_what_goes_on(world: World) -> None:
    image = world.image(octets=os.urandom(600_000))
    world.publish("1", [image])
    world.subscribe(new_images="cache")
    seen: list[t.Any] = []
    with world.open() as catalogue:
        from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.sync import sync

        look = (lambda board: seen.append(file.runs(catalogue.state))), 0.0
        with telling(catalogue.state, "sync", listeners=[look]) as board:
            sync(catalogue, progress=board)
        assert file.runs(catalogue.state) == []
        assert list(catalogue.state.progress.iterdir()) == []
    steps = [step for runs in seen for run in runs for step in run["steps"]]
    assert {(step["image"], step["action"], step["title"]) for step in steps} == {(IMAGE, "download", "SL5")}
    assert all(run["pid"] == os.getpid() and run["what"] == "sync" for runs in seen for run in runs)


def test_what_a_killed_run_left_is_passed_over_and_swept(tmp_path: Path) -> None:
    state = StateDirectory.at(tmp_path)
    with file.ProgressFile(state, "one", "sync") as made:
        document = json.loads(made.path.read_text())
        with subprocess.Popen([sys.executable, "-c", ""]) as dead:
            pass
        (state.progress / "dead.json").write_text(json.dumps({**document, "run": "dead", "pid": dead.pid}))
        (state.progress / "dead.lease").touch()
        (state.progress / "far.json").write_text(json.dumps({**document, "run": "far", "host": "far", "pid": 1}))
        (state.progress / "odd.json").write_text('{"format": 1, "steps": 3}')
        assert sorted(run["run"] for run in file.runs(state)) == ["far", "one"]
        with file.ProgressFile(state, "two", "sync"):
            assert sorted(path.name for path in state.progress.iterdir()) == [
                "far.json",
                "odd.json",
                "one.json",
                "two.json",
            ]


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "progress").write_text("in the way")
    with telling(StateDirectory.at(tmp_path), "sync") as board:
        board.begin("a", "read", ROW)


@pytest.mark.parametrize("name", ["../x", "", "A B", ".x"])
def test_a_watched_run_has_a_plain_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(VmimagesError) as found, telling(StateDirectory.at(tmp_path), "sync", run=name):
        pass
    assert found.value.code == "option_invalid"


@pytest.mark.parametrize("how", ["removed", "forgotten"])
def test_a_run_that_nobody_watches_any_more_is_interrupted(tmp_path: Path, how: str) -> None:
    path = tmp_path / "lease"
    with pytest.raises(VmimagesError) as found, Lease(path, 2.0):
        if how == "removed":
            path.unlink()
        threading.Event().wait(20)
    assert found.value.code == "interrupted"
    assert not path.exists()


def test_a_lease_that_is_touched_holds(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with Lease(path, 3.0):
        for _turn in range(16):
            time.sleep(0.25)
            path.touch()
    assert not path.exists()
