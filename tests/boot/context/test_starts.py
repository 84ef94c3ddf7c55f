# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests with the role vmcontext start with a disk, with it in another place, with one that goes too far, with none.

Each start goes on where the one before left the image, as that of a site's machine does.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest

from .. import qemu
from . import guests


@dataclass(frozen=True)
class Started:
    """The console of a start, and what the image held afterwards."""

    console: str
    left: guests.Left


@dataclass(frozen=True)
class Machine:
    """A machine whose image stays what its starts made of it."""

    kind: str
    image: Path
    work: Path
    logs: Path

    def start(self, how: str, *attached: qemu.Disk, note: t.Any) -> Started:
        began = time.monotonic()
        disks = [qemu.Disk(self.image, writable=True), *attached]
        name = how.replace(",", "").replace(" ", "-")
        console = guests.start(disks, log=self.logs / f"{self.kind}-context-{name}.log")
        note(self.kind, f"QEMU, context: {how}", time.monotonic() - began, came="off again")
        return Started(console, guests.left(self.image, self.work / "mnt"))


@pytest.fixture(scope="module", params=["el5_like", "modern"])
def machine(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, run_playbook: t.Any, logs: Path
) -> Machine:
    kind = t.cast("str", request.param)
    work = tmp_path_factory.mktemp(f"context-{kind}")
    image = guests.made(kind, work, run_playbook)
    guests.install(image, work, run_playbook)
    return Machine(kind, image, work, logs)


def test_a_disk_is_used_once_wherever_it_is(machine: Machine, note: t.Any) -> None:
    """Variables, a file, prologue, epilogue, a payload that is not root's; then only what is for every start."""
    iso = guests.disk(machine.work / "one.iso", instance="one")
    first = machine.start("virtio disk", qemu.Disk(iso, readonly=True), note=note)
    assert guests.shortfall(first.console, device="/dev/vdb", instance="one", host="one.example.org") == []
    assert first.left.ran == ["prologue start one", "epilogue start one"]
    assert first.left.site == "of one\n" and not first.left.executed
    payload = (first.left.payload or "").splitlines()
    assert payload[0] == guests.USER and not any(line.startswith(("INSTANCE=", "CONTEXT_DIR=")) for line in payload)
    for message in ("The prologue (prolog.sh) DONE", "The epilogue (epilog.sh) DONE", "The payload was started"):
        assert message in first.left.log

    again = machine.start("CD-ROM, second start", qemu.Disk(iso, bus="ide", cdrom=True), note=note)
    assert "vmcontext: The context disk is /dev/sr0." in again.console
    assert "vmcontext: The prologue was done for the instance one." in again.console
    assert "vmcontext: The epilogue was done for the instance one." in again.console
    assert "@@ batch: start" in again.console and "@@ openafs-client: start" not in again.console
    assert "This machine shuts down in 1" in again.console and "payload was started" not in again.console
    assert again.left.ran == first.left.ran


def test_who_changes_a_protected_file_gets_no_payload(machine: Machine, note: t.Any) -> None:
    iso = guests.disk(machine.work / "two.iso", instance="two", spoils=True)
    done = machine.start("IDE disk, changes a protected file", qemu.Disk(iso, bus="ide"), note=note)
    assert "vmcontext: The context disk is /dev/sda." in done.console
    assert "vmcontext: The epilogue (epilog.sh) DONE" in done.console
    assert f"vmcontext: LIMITS: protected files are not those of the image: {guests.PROTECTED}" in done.console
    assert "vmcontext: LIMITS: payload and batch clients are not started." in done.console
    assert "payload was started" not in done.console and "@@ batch: start" not in done.console
    assert f"@@ runs: {guests.USER}" not in done.console
    assert done.left.ran[-2:] == ["prologue start two", "epilogue start two"] and done.left.site == "of two\n"


def test_without_a_disk_the_boot_goes_on(machine: Machine, note: t.Any) -> None:
    log = machine.logs / f"{machine.kind}-context-none.log"
    booted = qemu.boot([qemu.Disk(machine.image)], r"vmcontext: No context disk found\.", "login:", log=log)
    note(machine.kind, "QEMU, context: none", booted.seconds)
    assert "@@ prologue" not in booted.text and "@@ epilogue" not in booted.text
