# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One raw file in the layout of EL5: built on KVM, taken through the role, and booted by every hypervisor."""

from __future__ import annotations

import copy
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import images, prediction, qemu, xen
from .conftest import Note
from .context import guests
from .prepared import Prepared

LOGIN: t.Final = "el5-like login:"
#: What the initramfs says when no driver shows it the root.
GAVE_UP: t.Final = r"Gave up waiting for root"
GUESTS: t.Final = {"pv": "xen_para", "pvh": "xen_pvh", "hvm": "xen_hvm"}
CONTEXT: t.Final = "context.iso"


def test_as_it_was_found_it_boots_under_kvm_alone(el5_like: Prepared) -> None:
    matrix = el5_like.before["matrix"]
    assert [mode for mode in prediction.MODES if matrix[mode]["ok"]] == ["kvm"]
    for mode in ("xen_hvm", "xen_para", "xen_pvh"):
        assert ["lacks xen_blkfront" in reason["text"] for reason in matrix[mode]["reasons"]] == [True]


def test_the_role_makes_it_boot_everywhere_and_then_changes_nothing(el5_like: Prepared, note: Note) -> None:
    note("el5_like", "role", el5_like.first.seconds, came="changed")
    note("el5_like", "role, second run", el5_like.second.seconds, came="nothing to change")
    assert el5_like.first.changed == 1
    assert all(el5_like.after["matrix"][mode]["ok"] for mode in prediction.MODES)
    assert el5_like.second.changed == 0
    assert el5_like.second.sha512 == el5_like.first.sha512


@pytest.mark.parametrize("bus", ["virtio", "ide"])
def test_it_boots_under_qemu(el5_like: Prepared, logs: Path, note: Note, bus: str) -> None:
    booted = qemu.boot([qemu.Disk(el5_like.image, bus=bus)], LOGIN, log=logs / f"el5_like-{bus}.log")
    note("el5_like", f"QEMU {bus}", booted.seconds, predicted="boots" if bus == "virtio" else "")
    assert "service kudzu" not in booted.text and "service cups" not in booted.text


@pytest.fixture(scope="module")
def configurations(el5_like: Prepared) -> dict[str, str]:
    """The collection's files for xl, and one for the image as it was found, which the collection refuses to write."""
    facts = el5_like.after
    written = {}
    for name, mode in GUESTS.items():
        written[name] = prediction.configuration(
            facts, mode, name=name, disk="after.img", contexts=[f"{name}-{CONTEXT}"]
        )
        written[f"{name}-context"] = prediction.configuration(
            facts, mode, name=f"{name}-context", disk="after.img", contexts=[CONTEXT, f"second-{CONTEXT}"]
        )
    as_if = copy.deepcopy(el5_like.before)
    as_if["matrix"]["xen_para"]["ok"] = True
    written["before"] = prediction.configuration(as_if, "xen_para", name="before", disk="before.img")
    return written


@pytest.fixture(scope="module")
def contextualised(el5_like: Prepared, tmp_path_factory: pytest.TempPathFactory, run_playbook: t.Any) -> Path:
    """The image with the role vmcontext, for guests that write to it."""
    work = tmp_path_factory.mktemp("contextualised")
    image = images.copy(el5_like.image, work / "disk.img")
    guests.install(image, work, run_playbook)
    return image


@pytest.fixture(scope="module")
def host(
    el5_like: Prepared, contextualised: Path, configurations: dict[str, str], dom0_files: Path, logs: Path
) -> Iterator[xen.Dom0]:
    disks = [
        qemu.Disk(contextualised, serial="after.img", writable=True),
        qemu.Disk(el5_like.source, serial="before.img"),
    ]
    for name in GUESTS:
        iso = guests.disk(contextualised.with_name(f"{name}-{CONTEXT}"), instance=name, stays=True)
        disks.append(qemu.Disk(iso, serial=iso.name, readonly=True))
    with xen.dom0(dom0_files, configurations, disks, log=logs / "el5_like-xen.log") as host:
        yield host


def test_xl_accepts_every_file(host: xen.Dom0, configurations: dict[str, str]) -> None:
    for name in configurations:
        tried = host.dry_run(name)
        assert tried.accepted, f"{name}: {tried.said}"
        assert "warning" not in tried.said.lower() and "deprecated" not in tried.said.lower(), f"{name}: {tried.said}"


@pytest.mark.parametrize("name", list(GUESTS))
def test_it_boots_under_xen_with_its_context_disk(
    host: xen.Dom0, el5_like: Prepared, contextualised: Path, note: Note, name: str
) -> None:
    assert el5_like.after["matrix"][GUESTS[name]]["ok"]
    booted = host.boot(name, LOGIN, guests.DONE)
    note("el5_like", f"Xen {name.upper()}", booted.seconds, predicted="boots", came="login, context done")
    # As prediction.configuration attaches it: a disk, and a CD-ROM where the hardware is emulated.
    device = "/dev/sr0" if name == "hvm" else "/dev/xvdb"
    assert guests.shortfall(booted.text, device=device, instance=name, host="el5-like") == []
    noted = guests.peek(contextualised, "/var/log/ran").splitlines()
    assert noted[-2:] == [f"prologue start {name}", f"epilogue start {name}"]
    assert guests.peek(contextualised, "/etc/site/site.conf") == f"of {name}\n"
    assert guests.peek(contextualised, f"/home/{guests.USER}/payload").startswith(f"{guests.USER}\n")
    assert "service kudzu" not in booted.text


def test_without_the_drivers_of_xen_it_fails_as_predicted(host: xen.Dom0, el5_like: Prepared, note: Note) -> None:
    assert not el5_like.before["matrix"]["xen_para"]["ok"]
    booted = host.boot("before", GAVE_UP, r"LABEL=/ does not exist")
    note("el5_like", "Xen PV before the role", booted.seconds, predicted="no xen_blkfront", came="no root")
    assert "login:" not in booted.text
