# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several calls on one instance: at the same time, or after one that was killed."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import signal
import time
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.instances import records, turns, volumes

from .hypervisors import BINDING, Node, actions, record

pytestmark = pytest.mark.needs(BINDING, "qemu-img")


def _in_a_process(call: t.Callable[[], t.Any]) -> multiprocessing.Process:
    """A call of its own, which may be killed."""
    process = multiprocessing.get_context("fork").Process(target=call)
    process.start()
    return t.cast("multiprocessing.Process", process)


def test_of_two_calls_at_once_one_makes_the_instance_and_the_other_finds_it(node: Node) -> None:
    queue = multiprocessing.get_context("fork").Queue()

    def call() -> None:
        result = node.run(output="libvirt")
        queue.put((result["changed"], result.failed))

    with turns.turn(node.records, "worker"):
        calls = [_in_a_process(call) for _number in range(2)]
        for one in calls:
            # Each has seen that there is nothing yet.
            _until_it_waits(one)
        assert not node.disks.exists()
    assert sorted(queue.get(timeout=60) for _one in calls) == [(False, False), (True, False)]
    for one in calls:
        one.join(60)
    assert record(node)["disk"]["inode"] == (node.disks / "worker.qcow2").stat().st_ino


def _until_it_waits(process: multiprocessing.Process) -> None:
    for _turn in range(600):
        with contextlib.suppress(OSError):
            if any(".worker.lock" in str(found.readlink()) for found in Path(f"/proc/{process.pid}/fd").iterdir()):
                return
        time.sleep(0.1)
    raise AssertionError("it does not wait")


def test_a_call_that_goes_on_for_too_long_is_not_waited_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.1)
    with turns.turn(node.records, "worker"):
        assert node.run()["code"] == "instance_busy"
        assert node.done(name="other")["changed"] is node.done(check=True)["changed"] is True
    assert node.done()["changed"] is True


@pytest.mark.parametrize("at", [(volumes, "place"), (records, "write"), (volumes, "_hand_over")])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_a_killed_call_left_is_swept(node: Node, at: tuple[t.Any, str], state: str) -> None:
    def call() -> None:
        setattr(*at, lambda *_arguments: os.kill(os.getpid(), signal.SIGKILL))
        node.run(disk={"method": "copy"}, output="libvirt")

    _in_a_process(call).join(60)
    (left,) = node.disks.iterdir()
    other = left.with_name(left.name.replace("worker", "worker-1"))
    other.write_text("another one's")
    told = actions(node.done(disk={"method": "copy"}, output="libvirt", state=state))
    assert told.count("remove") == 1 and not left.exists() and other.exists()
    assert [path.suffix for path in node.records.iterdir()] == ([".json"] if state == "present" else [])
    assert node.done(disk={"method": "copy"}, output="libvirt", state=state)["changed"] is False


def test_a_file_that_comes_to_be_where_the_disk_belongs_stays(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    make, path = volumes.make, node.disks / "worker.qcow2"

    def slow(*arguments: t.Any) -> None:
        make(*arguments)
        path.write_text("somebody's")

    monkeypatch.setattr(volumes, "make", slow)
    assert node.run()["code"] == "file_foreign" and path.read_text() == "somebody's"
    assert list(node.disks.iterdir()) == [path] and list(node.records.iterdir()) == []


def test_a_file_system_without_links_takes_disks(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_names: t.Any) -> None:
        raise PermissionError(errno.EPERM, "as FAT says")

    monkeypatch.setattr(os, "link", refuse)
    assert actions(node.done()) == ["make_disk", "record", "define", "start"]
    assert [path.name for path in node.disks.iterdir()] == ["worker.qcow2"]
