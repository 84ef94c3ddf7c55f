# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a domain may start from: each rule of the gate, on real files and a real site's snapshot."""

from __future__ import annotations

import json
import os
import shutil
import typing as t
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import HypervisorError

from .conftest import (
    APPROVED,
    BLACKLISTED,
    ISO,
    QCOW2,
    REPLACED,
    UUID,
    WITHDRAWN,
    Site,
    disk_xml,
    domain_xml,
    qemu_img,
)

pytestmark = pytest.mark.needs("qemu-img")


def test_an_overlay_on_an_approved_image_may_start(site: Site) -> None:
    answer = site.ask(domain_xml(disk_xml(site.overlay(site.files[APPROVED]))))
    assert answer.passes and answer.allowed
    assert [finding.image["identifier"] for finding in answer.findings if finding.image] == [APPROVED]
    higher = site.overlay("overlay.qcow2", "qcow2", "higher.qcow2")
    assert site.codes(domain_xml(disk_xml(higher))) == []


def test_an_overlay_on_a_qcow2_image_and_a_link_to_the_cache_are_followed(site: Site) -> None:
    (site.directory / "images").symlink_to(site.files[QCOW2].parent)
    overlay = site.overlay(f"images/{site.files[QCOW2].name}", "qcow2")
    assert site.codes(domain_xml(disk_xml(overlay))) == []
    raw = site.overlay(site.files[QCOW2], "raw", "raw.qcow2")
    assert site.codes(domain_xml(disk_xml(raw))) == ["format_mismatch"]


@pytest.mark.parametrize(
    ("image", "code"), [(BLACKLISTED, "blacklisted"), (WITHDRAWN, "withdrawn"), (REPLACED, "withdrawn")]
)
def test_the_verdict_on_the_image_is_the_refusal(site: Site, image: str, code: str) -> None:
    answer = site.ask(domain_xml(disk_xml(site.overlay(site.files[image]))))
    assert not answer.passes
    assert [error.code for error in answer.errors] == [code]
    assert answer.errors[0].detail.startswith("Disk vda: ")
    moved = site.files[image].parents[1] / "expired" / site.files[image].name
    assert site.codes(domain_xml(disk_xml(site.overlay(moved, name="other.qcow2")))) == [code]


def test_a_file_that_nobody_endorsed_is_refused(site: Site) -> None:
    foreign = site.directory / "foreign.img"
    foreign.write_bytes(b"\0" * 4096)
    assert site.codes(domain_xml(disk_xml(foreign, "raw"))) == ["disk_foreign"]
    assert site.codes(domain_xml(disk_xml(site.overlay(foreign)))) == ["disk_foreign"]
    assert site.codes(domain_xml(disk_xml(site.directory / "nowhere", "raw"))) == ["not_found"]
    stranger = site.files[APPROVED].with_name("stranger.img")
    stranger.write_bytes(b"\0" * 4096)
    try:
        assert site.codes(domain_xml(disk_xml(site.overlay(stranger, name="s.qcow2")))) == ["file_unknown"]
    finally:
        stranger.unlink()


def test_an_image_that_was_touched_is_refused(site: Site) -> None:
    xml = domain_xml(disk_xml(site.overlay(site.files[APPROVED])))
    before = site.files[APPROVED].stat()
    os.utime(site.files[APPROVED], ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    try:
        assert site.codes(xml) == ["file_changed"]
    finally:
        site.world.sync(verify=True)
    assert site.codes(xml) == []


def test_the_image_itself_is_never_written_by_a_guest(site: Site) -> None:
    path = site.files[APPROVED]
    assert site.codes(domain_xml(disk_xml(path, "raw"))) == ["disk_writable"]
    assert site.codes(domain_xml(disk_xml(path, "raw", more="<readonly/>"))) == []
    assert site.codes(domain_xml(disk_xml(path, "raw", more="<transient/>"))) == []


def test_a_copy_needs_its_record(site: Site) -> None:
    copy = site.copy()
    xml = domain_xml(
        disk_xml(copy, "raw"),
        head="<metadata><hepix:instance xmlns:hepix='tag:hepix.org,2026:vmimages:instance'>"
        f"<hepix:uuid>{APPROVED}</hepix:uuid></hepix:instance></metadata>",
    )
    assert site.codes(xml) == ["disk_foreign"]
    site.record(copy)
    assert site.codes(xml) == []
    copy.write_bytes(b"what the guest has written")
    assert site.codes(xml) == []


def test_a_record_speaks_of_one_disk_of_one_domain_in_one_format(site: Site) -> None:
    copy, other = site.copy(), site.copy(name="other.img")
    site.record(copy)
    assert site.codes(domain_xml(disk_xml(other, "raw"))) == ["record_differs"]
    assert site.codes(domain_xml(disk_xml(copy, "raw")).replace(UUID, UUID[::-1])) == ["disk_foreign"]
    qemu_img("create", "-q", "-f", "qcow2", site.directory / "guest.qcow2", "1M")
    copy.write_bytes((site.directory / "guest.qcow2").read_bytes())
    assert site.codes(domain_xml(disk_xml(copy, "qcow2"))) == ["record_differs"]
    other.replace(copy)
    assert site.codes(domain_xml(disk_xml(copy, "raw"))) == ["record_differs"]


def test_the_record_of_an_overlay_does_not_make_it_a_copy(site: Site) -> None:
    overlay = site.overlay(site.files[APPROVED])
    site.record(overlay, kind="overlay")
    assert site.codes(domain_xml(disk_xml(overlay)), overlays="record") == []
    qemu_img("rebase", "-q", "-u", "-b", "", overlay)
    assert site.codes(domain_xml(disk_xml(overlay))) == ["record_differs"]


def test_overlays_need_a_record_where_the_site_wants_it(site: Site) -> None:
    xml = domain_xml(disk_xml(site.overlay(site.files[APPROVED])))
    assert site.codes(xml, overlays="record") == ["disk_foreign"]
    copy = site.copy()
    site.record(copy)
    xml = domain_xml(disk_xml(site.overlay(copy, name="on_a_copy.qcow2")))
    assert site.codes(xml) == []
    assert site.codes(xml, overlays="record") == ["record_differs"]


def test_the_end_of_an_instances_time_is_dodged_by_another_uuid_unless_overlays_need_a_record(site: Site) -> None:
    overlay = site.overlay(site.files[APPROVED])
    site.record(overlay, kind="overlay", until=site.world.now)
    xml = domain_xml(disk_xml(overlay))
    assert site.codes(xml) == ["ttl_over"]
    other = xml.replace(UUID, UUID[::-1])
    assert site.codes(other) == []
    assert site.codes(other, overlays="record") == ["disk_foreign"]


@pytest.mark.parametrize(("image", "code"), [(BLACKLISTED, "blacklisted"), (REPLACED, "withdrawn")])
def test_a_copy_of_what_may_not_run_may_not_start(site: Site, image: str, code: str) -> None:
    copy = site.directory / "copy.img"
    copy.write_bytes(b"a copy")
    record = site.record(copy, image)
    if image == REPLACED:
        site.record(copy, image, image=replace(record.image, sha512="0" * 128, version="1"))
    assert site.codes(domain_xml(disk_xml(copy, "raw"))) == [code]


def test_a_record_that_others_may_write_is_refused(site: Site) -> None:
    copy = site.copy()
    site.record(copy)
    (site.settings.records_dir / f"{UUID}.json").chmod(0o666)
    assert site.codes(domain_xml(disk_xml(copy, "raw"))) == ["record_unsafe"]
    assert site.codes(domain_xml(disk_xml(site.overlay(site.files[APPROVED])))) == ["record_unsafe"]


def test_an_instance_ends_with_its_time(site: Site) -> None:
    overlay = site.overlay(site.files[APPROVED])
    site.record(overlay, kind="overlay", until=site.world.now + timedelta(hours=1))
    xml = domain_xml(disk_xml(overlay))
    assert site.codes(xml) == []
    assert site.codes(xml, now=site.world.now + timedelta(hours=1)) == ["ttl_over"]


def test_verdicts_that_are_too_old_forbid_everything(site: Site, tmp_path: Path) -> None:
    xml = domain_xml(disk_xml(site.overlay(site.files[APPROVED])))
    later = site.world.now + timedelta(hours=2)
    assert site.codes(xml, now=later) == []
    assert site.codes(xml, now=later, max_age=timedelta(hours=1)) == ["snapshot_stale"]
    assert site.codes(xml, now=site.world.now + timedelta(days=90)) == ["snapshot_stale"]
    assert site.codes(xml, state_dir=tmp_path / "nowhere") == ["snapshot_missing"]


def test_a_context_iso_passes_by_its_record_or_its_directory(site: Site) -> None:
    overlay, iso = site.overlay(site.files[APPROVED]), site.directory / "context.iso"
    iso.write_bytes(ISO)
    cdrom = disk_xml(iso, "raw", device="cdrom", target="hdc")
    xml = domain_xml(disk_xml(overlay), cdrom)
    assert site.codes(xml) == ["disk_foreign"]
    assert site.codes(xml, iso_directories=(site.directory,)) == []
    site.record(overlay, kind="overlay", contexts=(str(iso),))
    assert site.codes(xml) == []
    writable = disk_xml(iso, "raw", target="vdb")
    assert site.codes(domain_xml(disk_xml(overlay), writable)) == ["record_differs"]
    assert site.codes(domain_xml(cdrom), iso_directories=(site.directory,)) == ["no_image_disk"]
    iso.write_bytes(b"\0" * len(ISO))
    assert site.codes(xml, iso_directories=(site.directory,)) == ["record_differs"]


def test_an_empty_drive_is_nothing(site: Site) -> None:
    drive = "<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk>"
    assert site.codes(domain_xml(disk_xml(site.overlay(site.files[APPROVED])), drive)) == []
    assert site.codes(domain_xml(drive)) == ["no_image_disk"]


UNSEEN: t.Final = [
    ("network_disks", "<disk type='network'><source protocol='rbd' name='p/i'/><target dev='vdb'/></disk>"),
    ("other_disks", "<disk type='volume'><source pool='p' volume='v'/><target dev='vdb'/></disk>"),
    ("other_disks", "<disk type='file'><source file='/x'><slices/></source><target dev='vdb'/></disk>"),
    ("other_disks", "<disk type='file'><source file='/x' fdgroup='given'/><target dev='vdb'/></disk>"),
    (
        "other_disks",
        "<disk type='file'><source file='/x'/><target dev='vdb'/><backenddomain name='storage'/></disk>",
    ),
    ("other_disks", "<memory model='nvdimm'><source><path>/tmp/disk</path></source></memory>"),
    ("devices", "<hostdev mode='subsystem' type='pci'/>"),
    ("devices", "<filesystem type='mount'><source dir='/'/><target dir='root'/></filesystem>"),
    ("devices", "<interface type='hostdev' managed='yes'/>"),
    ("firmware", "<interface type='user'><rom file='/tmp/boot.rom'/></interface>"),
    ("commandline", "<emulator>/tmp/qemu-system-x86_64</emulator>"),
    ("commandline", "<emulator>/usr/bin/../../tmp/qemu</emulator>"),
    ("commandline", "<emulator>/usr/bin/env</emulator>"),
]


@pytest.mark.parametrize(("kind", "device"), UNSEEN)
def test_what_the_gate_cannot_see_is_refused_unless_allowed(site: Site, kind: str, device: str) -> None:
    xml = domain_xml(disk_xml(site.overlay(site.files[APPROVED])), devices=device)
    assert site.codes(xml) == ["disk_unseen"]
    assert site.codes(xml, allow=frozenset({kind})) == []


_FW_CFG: t.Final = "<sysinfo type='fwcfg'><entry name='opt/io.systemd.credentials/x'>y</entry></sysinfo>"
_SMBIOS: t.Final = "<sysinfo type='smbios'>{}</sysinfo>"
_SERIAL: t.Final = "<system><entry name='serial'>{}</entry></system>"


@pytest.mark.parametrize(
    ("kind", "head", "code"),
    [
        ("kernel", "<os><type>hvm</type><kernel>/boot/vmlinuz</kernel></os>", "disk_unseen"),
        ("kernel", "<bootloader>/tmp/pygrub</bootloader>", "disk_unseen"),
        ("kernel", "<bootloader>/usr/lib/xen/bin/xenpvnetboot</bootloader>", "disk_unseen"),
        (
            "kernel",
            "<bootloader>/usr/bin/pygrub</bootloader><bootloader_args>--entry=1 /tmp/x</bootloader_args>",
            "disk_unseen",
        ),
        ("firmware", "<os><type>hvm</type><loader>/tmp/bios.bin</loader></os>", "disk_unseen"),
        ("firmware", "<os><type>hvm</type><nvram template='/tmp/vars'/></os>", "disk_unseen"),
        ("firmware", "<os><type>hvm</type><nvram>/tmp/vars</nvram></os>", "disk_unseen"),
        ("firmware", "<os><nvram>/tmp/vars<source file='/var/lib/libvirt/a.fd'/></nvram></os>", "disk_unseen"),
        ("firmware", "<os><varstore template='/usr/share/v.json' path='/tmp/v.json'/></os>", "disk_unseen"),
        ("firmware", "<os><type>hvm</type><acpi><table type='slic'>/tmp/slic</table></acpi></os>", "disk_unseen"),
        ("firmware", f"<os/>{_FW_CFG}", "disk_unseen"),
        (
            "firmware",
            f"<os/>{_SMBIOS.format('<oemStrings><entry>io.systemd.credential:x=y</entry></oemStrings>')}",
            "disk_unseen",
        ),
        ("firmware", f"<os/>{_SMBIOS.format(_SERIAL.format('ds=nocloud;s=http://192.0.2.1/'))}", "disk_unseen"),
        ("boot", "<os><type>hvm</type><bootmenu enable='yes'/></os>", "disk_unseen"),
        ("commandline", "<q:commandline xmlns:q='http://libvirt.org/schemas/domain/qemu/1.0'/>", "disk_unseen"),
        ("boot", "<os><type>hvm</type><boot dev='network'/><boot dev='hd'/></os>", "no_image_disk"),
    ],
)
def test_ways_past_the_disks_are_refused_unless_allowed(site: Site, kind: str, head: str, code: str) -> None:
    xml = domain_xml(disk_xml(site.overlay(site.files[APPROVED])), head=head)
    assert site.codes(xml) == [code]
    assert site.codes(xml, allow=frozenset({kind})) == []


def test_what_hosts_have_by_themselves_may_be_used(site: Site) -> None:
    head = (
        "<bootloader>/usr/lib/xen-4.17/bin/pygrub</bootloader><bootloader_args>--entry=1</bootloader_args>"
        "<os><type>hvm</type><loader>/usr/share/OVMF/OVMF_CODE.fd</loader><bootmenu enable='no'/>"
        "<nvram template='/usr/share/OVMF/OVMF_VARS.fd'>/var/lib/libvirt/qemu/nvram/a.fd</nvram></os>"
        f"{_SMBIOS.format(_SERIAL.format('0b7e'))}"
    )
    disk = disk_xml(site.overlay(site.files[APPROVED]))
    for emulator in ("/usr/bin/kvm", "/usr/libexec/qemu-kvm", "/usr/lib/xen-4.17/bin/qemu-system-i386"):
        devices = f"<emulator>{emulator}</emulator><interface type='user'><rom bar='off'/></interface>"
        assert site.codes(domain_xml(disk, head=head, devices=devices)) == []


@pytest.mark.parametrize(
    ("given", "instead"),
    [
        ("<target ", "<source file='/tmp/other'/><target "),
        ("<source ", "<x:source xmlns:x='urn:x' file='/tmp/other'/><source "),
        ("<devices>", "<os><kernel/></os><os/><devices>"),
        ("<devices>", "<os><loader>/usr/share/a</loader><loader>/tmp/a</loader></os><devices>"),
        ("<domain ", "<?xml version='1.0' encoding='UTF-7'?><domain "),
        ("worker-17", "\udcff"),
    ],
)
def test_xml_that_programs_read_differently_is_refused(site: Site, given: str, instead: str) -> None:
    xml = domain_xml(disk_xml(site.overlay(site.files[APPROVED])))
    with pytest.raises(HypervisorError) as caught:
        site.ask(xml.replace(given, instead, 1))
    assert caught.value.code == "domain_unreadable"


def test_the_name_that_belongs_to_the_type_of_a_disk_counts(site: Site) -> None:
    approved = site.overlay(site.files[APPROVED])
    both = disk_xml(approved).replace("type='file'", "type='block'").replace("<source ", "<source dev='/nowhere' ")
    assert site.codes(domain_xml(both)) == ["not_found"]


def test_the_first_disk_must_be_the_image(site: Site) -> None:
    iso = site.directory / "installer.iso"
    iso.write_bytes(ISO)
    image = disk_xml(site.overlay(site.files[APPROVED]), target="vdb")
    before = disk_xml(iso, "raw", more="<readonly/>")
    assert site.codes(domain_xml(before, image), iso_directories=(site.directory,)) == ["no_image_disk"]
    # libvirt sorts the disks of a bus by their names.
    assert site.codes(domain_xml(image, before), iso_directories=(site.directory,)) == ["no_image_disk"]
    ordered = disk_xml(iso, "raw", device="cdrom", target="hdc", more="<boot order='1'/>")
    assert site.codes(domain_xml(image, ordered), iso_directories=(site.directory,)) == ["no_image_disk"]


def test_the_bootloader_of_xen_is_shown_the_first_disk_whatever_it_is(site: Site) -> None:
    iso = site.directory / "installer.iso"
    iso.write_bytes(ISO)
    image = disk_xml(site.overlay(site.files[APPROVED]))
    cdrom = disk_xml(iso, "raw", device="cdrom", target="hdc").replace("'virtio'", "'ide'")
    head = "<bootloader>/usr/bin/pygrub</bootloader>"
    assert site.codes(domain_xml(image, cdrom, head=head), iso_directories=(site.directory,)) == []
    assert site.codes(domain_xml(cdrom, image, head=head), iso_directories=(site.directory,)) == ["no_image_disk"]
    assert site.codes(domain_xml(cdrom, image), iso_directories=(site.directory,)) == []


def test_all_disks_must_pass(site: Site) -> None:
    foreign = site.directory / "foreign.img"
    foreign.write_bytes(b"\0" * 4096)
    xml = domain_xml(disk_xml(site.overlay(site.files[APPROVED])), disk_xml(foreign, "raw", target="vdb"))
    assert site.codes(xml) == ["disk_foreign"]


CHAINS: t.Final = ["json:{}", "nbd:localhost:10809", "file:/etc/passwd", "/dev/null", "/etc/pass\nwd"]


@pytest.mark.parametrize("name", CHAINS)
def test_what_is_no_plain_file_below_is_refused(site: Site, name: str) -> None:
    path = site.overlay("/" + "x" * (len(name) - 1))
    path.write_bytes(path.read_bytes().replace(b"/" + b"x" * (len(name) - 1), name.encode()))
    assert site.codes(domain_xml(disk_xml(path))) == ["chain_refused"]


def test_a_way_back_after_a_link_is_followed_as_the_system_does(site: Site) -> None:
    """QEMU opens the name as it stands there: the other file, and not what the name is without the link."""
    shown, meant = site.directory / "shown", site.directory / "meant"
    (meant / "deep").mkdir(parents=True)
    shown.mkdir()
    (meant / "image").write_bytes(b"\0" * 4096)
    (shown / "image").symlink_to(site.files[APPROVED])
    (shown / "link").symlink_to(meant / "deep")
    for name in (f"{shown}/link/../image", "shown/link/../image"):
        assert site.codes(domain_xml(disk_xml(site.overlay(name)))) == ["disk_foreign"]


def test_a_chain_without_an_end_is_refused(site: Site) -> None:
    site.overlay(site.directory / "b.qcow2", "qcow2", "a.qcow2")
    loop = site.overlay(site.directory / "a.qcow2", "qcow2", "b.qcow2")
    assert site.codes(domain_xml(disk_xml(loop))) == ["chain_refused"]
    below = site.files[APPROVED]
    for number in range(17):
        below = site.overlay(below, "qcow2" if number else "raw", f"{number}.qcow2")
    answer = site.ask(domain_xml(disk_xml(below)))
    assert "more than 16" in answer.errors[0].detail


def test_a_format_that_is_not_told_is_not_guessed(site: Site) -> None:
    path = site.overlay(site.files[APPROVED])
    octets = path.read_bytes()
    at = octets.index(b"\xe2\x79\x2a\xca")
    path.write_bytes(octets[:at] + b"\x12\x34\x56\x78" + octets[at + 4 :])
    assert site.codes(domain_xml(disk_xml(path))) == ["chain_refused"]


def test_a_format_behind_the_name_of_the_backing_file_is_none(site: Site) -> None:
    """A name of four characters that would be read as an extension, with a format after it."""
    site.overlay(site.files[APPROVED], name="abcd")
    path = site.overlay("abcd", "qcow2", "hidden.qcow2")
    octets = path.read_bytes()
    head = octets[:8] + (112).to_bytes(8, "big") + octets[16:112]
    behind = b"abcd" + bytes(4) + b"\xe2\x79\x2a\xca" + (5).to_bytes(4, "big") + b"qcow2" + bytes(11)
    path.write_bytes((head + behind).ljust(512, b"\0") + octets[512:])
    assert int.from_bytes(head[100:104], "big") == 112
    told = json.loads(qemu_img("info", "-U", "--output=json", path))
    assert told["backing-filename"] == "abcd" and "backing-filename-format" not in told
    assert site.codes(domain_xml(disk_xml(path))) == ["chain_refused"]


def test_a_domain_that_says_otherwise_than_the_header_is_refused(site: Site) -> None:
    path, foreign = site.overlay(site.files[APPROVED]), site.directory / "foreign.img"
    foreign.write_bytes(b"\0" * 4096)

    def stated(store: str) -> list[str]:
        return site.codes(domain_xml(disk_xml(path, more=store)))

    layer = "<backingStore type='file'><format type='{}'/><source file='{}'/>{}</backingStore>"
    assert stated(layer.format("raw", site.files[APPROVED], "<backingStore/>")) == []
    assert stated(layer.format("raw", foreign, "<backingStore/>")) == ["chain_refused"]
    assert stated(layer.format("qcow2", site.files[APPROVED], "<backingStore/>")) == ["chain_refused"]
    assert stated("<backingStore/>") == ["chain_refused"]
    deeper = layer.format("raw", foreign, "")
    assert stated(layer.format("raw", site.files[APPROVED], deeper)) == ["chain_refused"]
    network = "<backingStore type='network'><format type='raw'/><source protocol='nbd' name='x'/></backingStore>"
    assert stated(network) == ["chain_refused"]


def test_a_guest_cannot_make_its_raw_disk_an_overlay(site: Site) -> None:
    overlay = site.overlay(site.files[APPROVED])
    assert site.codes(domain_xml(disk_xml(overlay, "raw"))) == ["disk_foreign"]


def test_a_data_file_beside_the_overlay_is_refused(site: Site) -> None:
    path = site.directory / "external.qcow2"
    options = f"data_file={site.directory / 'data.raw'},data_file_raw=on"
    qemu_img("create", "-q", "-f", "qcow2", "-o", options, path, "1M")
    assert site.codes(domain_xml(disk_xml(path))) == ["external_file"]


def test_a_pipe_or_a_directory_is_no_disk(site: Site) -> None:
    os.mkfifo(site.directory / "pipe")
    for name in ("pipe", "."):
        assert site.codes(domain_xml(disk_xml(site.directory / name, "raw"))) == ["chain_refused"]


def test_the_allow_list_lets_other_domains_start(site: Site) -> None:
    xml = domain_xml(disk_xml("/nowhere", "raw"), name="infra-dns")
    assert site.ask(xml, names=("infra-*",)).exempt
    assert site.ask(xml, uuids=(UUID.upper(),)).passes
    assert not site.ask(xml, names=("infra",), uuids=("0*",)).passes


def test_a_policy_that_warns_lets_start_and_tells(site: Site) -> None:
    answer = site.ask(domain_xml(disk_xml("/nowhere", "raw")), policy="warn")
    assert answer.passes and not answer.allowed
    assert json.loads(json.dumps(answer.as_dict()))["errors"][0]["code"] == "not_found"


def test_the_directory_of_the_cache_counts_and_not_its_name(site: Site) -> None:
    link = site.directory / "cache"
    link.symlink_to(site.world.state / "cache")
    assert site.codes(domain_xml(disk_xml(site.overlay(link / "current" / site.files[APPROVED].name)))) == []
    twin = site.directory / site.files[APPROVED].name
    shutil.copy2(site.files[APPROVED], twin)
    assert site.codes(domain_xml(disk_xml(site.overlay(twin, name="twin.qcow2")))) == ["disk_foreign"]
