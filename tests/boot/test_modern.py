# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian 12 as somebody made it on KVM, with its root by the name of KVM's disk: taken through the role, and booted."""

from __future__ import annotations

import typing as t
from pathlib import Path

from . import prediction, qemu, xen
from .conftest import Note
from .prepared import Prepared

LOGIN: t.Final = "modern login:"


def test_as_it_was_found_it_boots_under_kvm_alone(modern: Prepared) -> None:
    matrix = modern.before["matrix"]
    assert [mode for mode in prediction.MODES if matrix[mode]["ok"]] == ["kvm"]
    assert "/dev/vda1" in matrix["xen_para"]["reasons"][0]["text"]


def test_the_role_makes_it_boot_everywhere_and_then_changes_nothing(modern: Prepared, note: Note) -> None:
    note("modern", "role", modern.first.seconds, came="changed")
    note("modern", "role, second run", modern.second.seconds, came="nothing to change")
    assert modern.first.changed == 1
    assert all(modern.after["matrix"][mode]["ok"] for mode in prediction.MODES)
    assert modern.second.changed == 0
    assert modern.second.sha512 == modern.first.sha512


def test_it_boots_under_qemu(modern: Prepared, logs: Path, note: Note) -> None:
    booted = qemu.boot([qemu.Disk(modern.image)], LOGIN, log=logs / "modern-virtio.log")
    note("modern", "QEMU virtio", booted.seconds, predicted="boots")


def test_it_boots_under_xen(modern: Prepared, dom0_files: Path, logs: Path, note: Note) -> None:
    text = prediction.configuration(modern.after, "xen_para", name="pv", disk="modern.img")
    disks = [qemu.Disk(modern.image, serial="modern.img")]
    with xen.dom0(dom0_files, {"pv": text}, disks, log=logs / "modern-xen.log") as host:
        booted = host.boot("pv", LOGIN)
    note("modern", "Xen PV", booted.seconds, predicted="boots")
