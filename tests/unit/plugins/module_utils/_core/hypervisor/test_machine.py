# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot boot, cannot be seen by the guest, or would be read as something else, is refused with its reason."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import HypervisorError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.devices import attachments
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.machine import (
    MODES,
    boot_of,
    doubts,
)

from .conftest import OPTIONS, Make, matrix

NOPROBE: t.Final = {"kvm": {"ide_noprobe": True}, "xen_hvm": {"ide_noprobe": True}}


def placed(make: Make, mode: str, **options: t.Any) -> list[str]:
    return [one.target + (":cdrom" if one.is_cdrom else "") for one in attachments(make(mode, **options))]


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_that_the_matrix_denies_is_refused_with_every_reason(mode: str) -> None:
    row = "kvm" if mode == "qemu" else mode
    reasons = [{"requirement": "A12", "text": "xennet is missing."}, {"requirement": "A02", "text": "No root."}]
    with pytest.raises(HypervisorError) as refused:
        boot_of(matrix(**{row: {"ok": False, "reasons": reasons}}), mode)
    assert refused.value.code == "mode_not_bootable"
    assert "A12: xennet is missing. A02: No root." in refused.value.detail
    assert refused.value.context["reasons"] == reasons


@pytest.mark.parametrize(
    "facts",
    [{}, {"matrix": None}, {"matrix": {}}, {"matrix": {"kvm": {"ok": "yes"}}}, {"matrix": {"kvm": {"ok": True}}}],
)
def test_without_facts_nothing_is_guessed(facts: dict[str, t.Any]) -> None:
    with pytest.raises(HypervisorError) as refused:
        boot_of(facts, "kvm")
    assert refused.value.code == "boot_facts_missing"


ISO: t.Final = [{"path": f"/srv/{number}.iso"} for number in range(3)]
CDROM: t.Final = [{**one, "attach": "cdrom"} for one in ISO]
PLACES: t.Final[list[tuple[str, dict[str, t.Any], list[str]]]] = [
    ("kvm", {"contexts": ISO}, ["vda", "vdb", "vdc", "vdd"]),
    ("kvm", {"contexts": CDROM[:2]}, ["vda", "hdc:cdrom", "hdd:cdrom"]),
    ("kvm", {"contexts": CDROM[:2], "machine": "q35", "facts": NOPROBE}, ["vda", "sda:cdrom", "sdb:cdrom"]),
    ("kvm", {"contexts": ISO[:1], "disk": {"path": "/a", "target": "sda"}}, ["sda", "vda"]),
    ("qemu", {"contexts": ISO[:1], "facts": NOPROBE}, ["vda", "vdb"]),
    ("xen_hvm", {"contexts": ISO}, ["xvda", "hdc:cdrom", "hdd:cdrom", "xvde"]),
    ("xen_hvm", {"contexts": ISO[:2], "facts": NOPROBE}, ["xvda", "xvde", "xvdf"]),
    ("xen_hvm", {"contexts": ISO[:1], "disk": {"path": "/a", "target": "hda"}}, ["hda", "hdc:cdrom"]),
    ("xen_para", {"contexts": ISO, "facts": NOPROBE}, ["xvda", "xvdb", "xvdc", "xvdd"]),
    ("xen_pvh", {"contexts": ISO[:1]}, ["xvda", "xvdb"]),
]


@pytest.mark.parametrize(("mode", "options", "expected"), PLACES)
def test_disks_are_where_the_guest_finds_them(
    make: Make, mode: str, options: dict[str, t.Any], expected: list[str]
) -> None:
    assert placed(make, mode, **options) == expected


def on(target: str) -> dict[str, str]:
    return {"path": "/srv/x.img", "target": target}


BY_DEVICE: t.Final = {"kvm": {"root_by": "device"}}
MISPLACED: t.Final[list[tuple[str, dict[str, t.Any], str]]] = [
    ("kvm", {"disk": on("hda"), "facts": NOPROBE}, "ide0=noprobe"),
    ("xen_hvm", {"disk": on("hda"), "facts": NOPROBE}, "ide0=noprobe"),
    ("kvm", {"contexts": CDROM[:1], "facts": NOPROBE}, "ide0=noprobe"),
    ("xen_hvm", {"contexts": CDROM[:1], "facts": NOPROBE}, "ide0=noprobe"),
    ("kvm", {"contexts": CDROM}, "two CD-ROM drives"),
    ("xen_hvm", {"contexts": CDROM}, "two CD-ROM drives"),
    ("kvm", {"disk": on("hda"), "machine": "q35"}, "no IDE"),
    ("kvm", {"disk": on("xvda")}, "no such disk"),
    ("xen_hvm", {"disk": on("vda")}, "no such disk"),
    ("xen_para", {"disk": on("hda")}, "no such disk"),
    ("xen_pvh", {"contexts": CDROM[:1]}, "no CD-ROM"),
    ("kvm", {"disk": on("sda"), "facts": BY_DEVICE}, "its root on vda"),
    ("kvm", {"contexts": [{"path": f"/srv/{number}.iso"} for number in range(26)]}, "no more names"),
]


@pytest.mark.parametrize(("mode", "options", "why"), MISPLACED)
def test_a_place_that_the_guest_cannot_use_is_refused(
    make: Make, mode: str, options: dict[str, t.Any], why: str
) -> None:
    with pytest.raises(HypervisorError) as refused:
        attachments(make(mode, **options))
    assert refused.value.code == "disk_place_refused"
    assert why in refused.value.detail


def image(**changes: t.Any) -> dict[str, t.Any]:
    return {"image": {**OPTIONS["image"], **changes}}


INVALID: t.Final[list[tuple[dict[str, t.Any], str]]] = [
    *(({"name": name}, "name") for name in (
        "", "-x", "a b", 'a"', "a\n", "a/b", "../a", "17", "Domain-0", "a" * 64, "wörker", None, 7,
        "5f2c1a9e-7d1b-4c55-9d3e-0a1b2c3d4e5f", "<x>", "$(id)",
    )),
    *(({"disk": {"path": path}}, "disk.path") for path in (
        "x.img", "/", "/srv/../etc/shadow", "/srv/a\"b", "/srv/a'b", "/srv/a\\b", "/srv/a\nb", "/srv/é", "/srv/",
        "/srv/a ", None,
    )),
    ({"disk": {"path": "/a", "format": "vmdk"}}, "disk.format"),
    ({"disk": {"path": "/a", "backing": {"path": "/b"}}}, "disk.backing"),
    ({"disk": {"path": "/a", "format": "qcow2", "backing": {"path": "/a"}}}, "disk"),
    ({"disk": {"path": "/a", "format": "qcow2", "backing": {"path": "/b", "probe": True}}}, "disk.backing.probe"),
    ({"disk": {"path": "/a", "target": "vdb"}}, "disk.target"),
    ({"disk": "/a"}, "disk"),
    ({"contexts": [{"path": "/srv/instances/worker-17.img"}]}, "disk"),
    ({"contexts": [{"path": "/c", "attach": "floppy"}]}, "contexts[0].attach"),
    ({"contexts": {"path": "/c"}}, "contexts"),
    ({"uuid": "5F2C1A9E-7D1B-4C55-9D3E-0A1B2C3D4E5F"}, "uuid"),
    ({"memory": "2.5 kB"}, "memory"),
    ({"memory": 1}, "memory"),
    ({"memory": None}, "memory"),
    ({"cpus": 0}, "cpus"),
    ({"cpus": True}, "cpus"),
    ({"networks": [{"source": "br0,script=/tmp/x"}]}, "networks[0].source"),
    ({"networks": [{"source": "br0", "mac": "01:00:00:00:00:01"}]}, "networks[0].mac"),
    ({"networks": [{"source": "br0", "mac": "02:00:00:00:00:01"}] * 2}, "networks"),
    ({"vnc": {"listen": "localhost"}}, "vnc.listen"),
    ({"vnc": {"listen": "fe80::1%eth0"}}, "vnc.listen"),
    ({"console_log": "log"}, "console_log"),
    ({"bootloader": "pygrub"}, "bootloader"),
    ({"mode": "bhyve"}, "mode"),
    ({"colour": "red"}, "colour"),
    (image(uuid="worker"), "image.uuid"),
    (image(sha512="ab"), "image.sha512"),
    (image(version="1\n2"), "image.version"),
    (image(expires="tomorrow"), "image.expires"),
    (image(endorser={"dn": "/CN=x\x00", "ca": "/CN=y"}), "image.endorser.dn"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "where"), INVALID)
def test_what_could_be_read_as_something_else_is_refused(make: Make, options: dict[str, t.Any], where: str) -> None:
    with pytest.raises(HypervisorError) as refused:
        make(options.pop("mode", "kvm") if "mode" in options else "kvm", **options)
    assert refused.value.code == "machine_invalid"
    assert refused.value.context["option"] == where


def test_addresses_are_the_machines_own_and_stay(make: Make) -> None:
    two = [{"source": "br0"}, {"source": "br1"}]
    macs = [card.mac for card in make("kvm", networks=two).networks]
    assert macs == [card.mac for card in make("kvm", networks=two).networks]
    assert len(set(macs)) == 2
    assert all(mac.startswith("52:54:00:") for mac in macs)
    assert make("xen_para").networks[0].mac.startswith("00:16:3e:")


def test_a_screen_is_on_loopback_and_only_when_asked_for(make: Make) -> None:
    assert make("kvm").vnc == "127.0.0.1"
    assert make("kvm", vnc=None).vnc is None


OVERLAY: t.Final = {"path": "/srv/x.qcow2", "format": "qcow2", "backing": {"path": "/srv/m.img"}}
DOUBTFUL: t.Final[list[tuple[str, dict[str, t.Any], str]]] = [
    ("xen_para", {"console_log": "/l"}, "xenconsoled"),
    ("kvm", {"console_log": "/l", "facts": {"kvm": {"console": "tty1"}}}, "writes to tty1"),
    ("xen_pvh", {"disk": OVERLAY}, "pygrub"),
    ("kvm", {"vnc": {"listen": "0.0.0.0"}}, "without a password"),
]


@pytest.mark.parametrize(("mode", "options", "why"), DOUBTFUL)
def test_what_may_surprise_is_told(make: Make, mode: str, options: dict[str, t.Any], why: str) -> None:
    (told,) = doubts(make(mode, **options))
    assert why in told


@pytest.mark.parametrize("mode", ["kvm", "qemu", "xen_hvm"])
def test_an_ordinary_machine_raises_no_doubt(make: Make, mode: str) -> None:
    assert doubts(make(mode, disk=OVERLAY, console_log="/l", vnc={"listen": "::1"})) == ()
