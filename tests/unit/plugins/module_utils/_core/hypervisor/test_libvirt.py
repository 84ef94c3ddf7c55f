# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The domains pass libvirt's own schema, and mean the same after libvirt took them and told them again."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import HypervisorError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.compare import differences, provenance_of
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.libvirt import domain_xml
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.machine import MODES

from .conftest import OPTIONS, Make

NOPROBE: t.Final = {"kvm": {"ide_noprobe": True}, "xen_hvm": {"ide_noprobe": True}}
OVERLAY: t.Final = {
    "path": "/dev/vg/worker-17",
    "format": "qcow2",
    "backing": {"path": "/srv/images/worker.img", "format": "raw"},
}
VARIANTS: t.Final[dict[str, dict[str, t.Any]]] = {
    "plain": {},
    "bare": {"contexts": None, "networks": None, "vnc": None},
    "full": {
        "disk": OVERLAY,
        "contexts": [{"path": "/srv/c1.iso"}, {"path": "/srv/c2.iso"}, {"path": "/srv/c3.iso"}],
        "networks": [{"source": "br0"}, {"type": "network", "source": "default", "mac": "02:00:00:00:00:01"}],
        "vnc": {"listen": "::1"},
        "console_log": "/var/log/instances/worker-17.log",
    },
    "noprobe": {"facts": NOPROBE},
    "block": {"disk": {"path": "/dev/vg/worker-17"}, "console_log": "/var/log/worker-17.log"},
    "user": {"networks": [{"type": "user"}]},
}
CASES: t.Final = [pytest.param(mode, variant, id=f"{mode}-{variant}") for mode in MODES for variant in VARIANTS]


@pytest.fixture
def validate(tmp_path: Path) -> t.Callable[[str], str]:
    def run(domain: str) -> str:
        path = tmp_path / "domain.xml"
        path.write_text(domain, encoding="utf-8")
        done = subprocess.run(
            ["virt-xml-validate", str(path), "domain"], capture_output=True, text=True, timeout=30, check=False
        )
        return "" if done.returncode == 0 else done.stderr + done.stdout

    return run


@pytest.mark.needs("virt-xml-validate", "/usr/share/libvirt/schemas/domain.rng")
@pytest.mark.parametrize(("mode", "variant"), CASES)
def test_libvirts_schema_accepts_every_mode(
    make: Make, validate: t.Callable[[str], str], mode: str, variant: str
) -> None:
    assert validate(domain_xml(make(mode, **VARIANTS[variant]))) == ""


@pytest.mark.needs("virt-xml-validate", "/usr/share/libvirt/schemas/domain.rng")
def test_the_schema_would_refuse_the_books_boot_loader(make: Make, validate: t.Callable[[str], str]) -> None:
    book = domain_xml(make("kvm")).replace("<os>", "<os><bootloader>/usr/bin/pygrub</bootloader>")
    assert "fails to validate" in validate(book)


@pytest.mark.needs("virsh")
@pytest.mark.parametrize(("mode", "variant"), CASES)
def test_what_libvirt_makes_of_a_domain_is_the_same_machine(
    make: Make, tmp_path: Path, mode: str, variant: str
) -> None:
    wanted = domain_xml(make(mode, **VARIANTS[variant]))
    path = tmp_path / "domain.xml"
    path.write_text(wanted, encoding="utf-8")
    done = subprocess.run(
        ["virsh", "-q", "-c", "test:///default", f"define {path}; dumpxml --inactive worker-17"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    told = done.stdout[done.stdout.index("<domain") :]
    assert told != wanted
    assert differences(wanted, told) == ()


@pytest.mark.parametrize(("mode", "driver"), [("kvm", "qemu"), ("xen_hvm", "phy"), ("xen_para", "phy")])
def test_xen_serves_block_devices_itself(make: Make, mode: str, driver: str) -> None:
    domain = domain_xml(make(mode, disk={"path": "/dev/vg/worker-17"}, contexts=None))
    assert f'<driver name="{driver}" type="raw" />' in domain
    assert '<source dev="/dev/vg/worker-17" />' in domain


def test_the_same_machine_is_the_same_text(make: Make) -> None:
    assert [domain_xml(make(mode)) for mode in MODES] == [domain_xml(make(mode)) for mode in MODES]


CHANGES: t.Final[dict[str, tuple[dict[str, t.Any], set[str]]]] = {
    "memory": ({"memory": "3 GiB"}, {"memory"}),
    "cpus": ({"cpus": 3}, {"cpus"}),
    "cpu": ({"cpu": "host-passthrough"}, {"cpu"}),
    "board": ({"machine": "q35"}, {"machine"}),
    "disk": ({"disk": {"path": "/srv/other.img"}}, {"disk vda path"}),
    "log": ({"console_log": "/var/log/x.log"}, {"logs"}),
    "screen": ({"vnc": {"listen": "0.0.0.0"}}, {"screens"}),
    "no screen": ({"vnc": None}, {"screens"}),
    "card": ({"networks": [{"source": "br1"}]}, {"network 0 source"}),
    "address": ({"networks": [{"source": "br0", "mac": "02:00:00:00:00:01"}]}, {"network 0 mac"}),
    "version": ({"image": {**OPTIONS["image"], "version": "5.4-1.8"}}, {"image version"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_is_told(make: Make, change: str) -> None:
    options, expected = CHANGES[change]
    assert {one.what for one in differences(domain_xml(make("kvm", **options)), domain_xml(make("kvm")))} == expected


def test_a_disk_that_nobody_wanted_is_told(make: Make) -> None:
    found = differences(domain_xml(make("kvm", contexts=None)), domain_xml(make("kvm")))
    assert {one.what for one in found} >= {"disk vdb path"}


@pytest.mark.parametrize(
    ("before", "addition", "what"),
    [
        ("</devices>", "<hostdev mode='subsystem' type='pci'/>", "hostdev"),
        ("</devices>", "<filesystem type='mount'><source dir='/'/><target dir='host'/></filesystem>", "filesystem"),
        ("</devices>", "<sound model='ich6'><rom file='/tmp/boot.rom'/></sound>", "rom"),
        ("</devices>", "<redirdev bus='usb' type='spicevmc'/>", "redirdev"),
        ("</devices>", "<memory model='nvdimm'/>", "memory"),
        ("</os>", "<kernel>/srv/vmlinuz</kernel>", "kernel"),
        ("</os>", "<nvram>/tmp/vars</nvram>", "nvram"),
        ("</os>", "<bootmenu enable='yes'/>", "bootmenu"),
        ("</domain>", "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'/>", "commandline"),
    ],
)
def test_a_way_past_the_image_is_told(make: Make, before: str, addition: str, what: str) -> None:
    wanted = domain_xml(make("kvm"))
    found = differences(wanted, wanted.replace(before, addition + before))
    assert [(one.what, one.wanted, one.found) for one in found] == [("extras", [], [what])]


def test_another_order_of_the_start_is_told(make: Make) -> None:
    wanted = domain_xml(make("kvm"))
    found = differences(wanted, wanted.replace('<boot dev="hd" />', '<boot dev="network" /><boot dev="hd" />'))
    assert [(one.what, one.wanted, one.found) for one in found] == [("boot", "hd", "network hd")]


def test_however_many_layers_there_are_they_are_told(make: Make) -> None:
    wanted = domain_xml(make("kvm", disk=OVERLAY))
    layer = '<backingStore type="file"><format type="raw"/><source file="/srv/x"/>'
    deep = wanted.replace("<backingStore />", layer * 20_000 + "</backingStore>" * 20_000)
    (found,) = differences(wanted, deep)
    assert (found.what, len(found.found)) == ("disk vda backing", 20_001)


def test_another_master_below_the_overlay_is_told(make: Make) -> None:
    other = {**OVERLAY, "backing": {"path": "/srv/images/other.img"}}
    found = differences(domain_xml(make("kvm", disk=OVERLAY)), domain_xml(make("kvm", disk=other)))
    assert [one.as_dict() for one in found] == [
        {"what": "disk vda backing", "wanted": ["raw /srv/images/worker.img"], "found": ["raw /srv/images/other.img"]}
    ]


def test_what_was_left_to_the_hypervisor_may_be_anything(make: Make) -> None:
    wanted = domain_xml(make("xen_para"))
    assert differences(wanted, wanted.replace("</interface>", '<model type="netfront"/></interface>')) == ()
    wanted = domain_xml(make("kvm"))
    assert [one.what for one in differences(wanted, wanted.replace('model type="virtio"', 'model type="e1000"'))] == [
        "network 0 model"
    ]


def test_another_entry_for_pygrub_is_told(make: Make) -> None:
    found = differences(domain_xml(make("xen_para", facts={"xen_para": {"entry": 3}})), domain_xml(make("xen_para")))
    assert [(one.what, one.wanted, one.found) for one in found] == [("bootloader arguments", "--entry=3", "--entry=1")]


def test_the_metadata_tells_where_the_image_is_from(make: Make) -> None:
    image = OPTIONS["image"]
    assert provenance_of(domain_xml(make("kvm"))) == {
        "image": image["uuid"],
        "version": image["version"],
        "sha512": image["sha512"],
        "list": image["list"],
        "list_version": image["list_version"],
        "endorser_dn": image["endorser"]["dn"],
        "endorser_ca": image["endorser"]["ca"],
        "expires": image["expires"],
    }
    assert provenance_of("<domain><metadata/></domain>") is None


@pytest.mark.parametrize("text", ["", "<domain>", "<network/>", '<!DOCTYPE d [<!ENTITY a "b">]><domain>&a;</domain>'])
def test_what_is_no_domain_is_refused(text: str) -> None:
    with pytest.raises(HypervisorError) as refused:
        provenance_of(text)
    assert refused.value.code == "domain_unreadable"


@pytest.mark.needs("virt-xml-validate", "/usr/share/libvirt/schemas/domain.rng")
def test_libvirt_is_told_to_leave_the_image_below_an_overlay_to_its_owner(
    make: Make, validate: t.Callable[[str], str]
) -> None:
    told = domain_xml(make("kvm", disk=OVERLAY), labels=("dac", "selinux"))
    assert validate(told) == ""
    disk = ElementTree.fromstring(told).find("devices/disk")
    assert disk is not None and disk.find("source/seclabel") is None
    labels = disk.findall("backingStore/source/seclabel")
    assert [(label.get("model"), label.get("relabel")) for label in labels] == [("dac", "no"), ("selinux", "no")]
    assert "seclabel" not in domain_xml(make("kvm", disk=OVERLAY), labels=())
    assert differences(told, domain_xml(make("kvm", disk=OVERLAY), labels=())) == ()
