# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instances through the module, on libvirt's test driver: what is made, what is refused, and what is left alone."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import struct
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement.records import stat_record

from .hypervisors import BINDING, BOOT_INFO, IMAGE, Node, actions, cached, record

pytestmark = pytest.mark.needs(BINDING, "qemu-img")

ISO = {"variables": {"AFS": "off"}, "scripts": {"prolog": {"content": "#!/bin/sh\n"}}}


def facts(path: Path) -> dict[str, t.Any]:
    told = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True)
    return t.cast("dict[str, t.Any]", json.loads(told.stdout))


def test_an_instance_is_planned_made_and_left_as_it_is(node: Node) -> None:
    options: dict[str, t.Any] = {"contexts": [{"iso": ISO}], "until": "2099-01-01T00:00:00Z", "author": "operator"}
    planned = node.done(check=True, **options)
    assert node.names() == set() and not node.records.exists() and not node.disks.exists()
    done = node.done(**options)
    assert actions(planned) == actions(done) == ["make_disk", "record", "create_context", "define", "start"]
    assert planned["diff"] == done["diff"] and planned["instances"] == done["instances"]
    assert (
        done["diff"]["before"]["worker"]["state"] == "absent" and done["diff"]["after"]["worker"]["state"] == "running"
    )
    (instance,) = done["instances"]
    assert node.domain().isActive() and node.domain().UUIDString() == instance["uuid"]
    again = node.done(**options)
    assert again["changed"] is False and again["diff"] == {
        "before": again["diff"]["after"],
        "after": again["diff"]["after"],
    }
    assert node.done(check=True, **options)["changed"] is False


def test_the_disk_is_an_overlay_on_the_untouched_file_of_the_cache(node: Node) -> None:
    before = stat_record(cached(node))
    node.done(disk={"size": "4 MiB"})
    overlay = node.disks / "worker.qcow2"
    told = facts(overlay)
    assert (told["backing-filename"], told["backing-filename-format"]) == (str(cached(node)), "raw")
    assert told["virtual-size"] == 4 * 1024 * 1024 and overlay.stat().st_mode & 0o777 == 0o600
    assert stat_record(cached(node)) == before


def test_libvirt_is_told_to_leave_the_cached_file_to_its_owner(node: Node) -> None:
    # The test driver labels by a model of its own; the real one is asked in the integration tests.
    xml = node.done(output="libvirt", connection=None)["instances"][0]["xml"]
    assert f'<source file="{cached(node)}">' in xml and '<seclabel model="dac" relabel="no" />' in xml


def test_the_record_says_what_was_made_of_what(own_node: Node) -> None:
    own_node.done(contexts=[{"iso": ISO}], author="operator", until="2099-01-01T00:00:00Z")
    told = record(own_node)
    assert (told["author"], told["until"], told["mode"]) == ("operator", "2099-01-01T00:00:00Z", "qemu")
    found = (own_node.disks / "worker.qcow2").stat()
    assert told["disk"] == {
        "path": str(own_node.disks / "worker.qcow2"),
        "kind": "overlay",
        "format": "qcow2",
        "backing": str(cached(own_node)),
        "device": found.st_dev,
        "inode": found.st_ino,
    }
    image, pki = told["image"], own_node.bench.pki
    assert (image["uuid"], image["endorser_dn"], image["endorser_ca"]) == (IMAGE, pki.endorser.dn, pki.endorser.ca)
    assert image["sha512"] == own_node.image()["sha512"]
    assert image["mtime_ns"] == cached(own_node).stat().st_mtime_ns and image["size"] == cached(own_node).stat().st_size
    assert told["contexts"] == [str(own_node.disks / "worker-context.iso")]
    assert told["made"] == [told["disk"]["path"], *told["contexts"]]


def test_absent_takes_away_what_was_made_and_nothing_else(node: Node, tmp_path: Path) -> None:
    mine = tmp_path / "mine.iso"
    mine.write_bytes(b"an iso")
    node.done(contexts=[{"iso": ISO}, {"path": str(mine)}])
    planned, done = node.done(check=True, state="absent"), node.done(state="absent")
    assert actions(planned) == actions(done) == ["stop", "undefine", "remove", "remove", "remove_record"]
    assert planned["diff"] == done["diff"]
    assert node.names() == set() and list(node.records.iterdir()) == list(node.disks.iterdir()) == []
    assert mine.exists() and cached(node).exists()
    assert node.done(state="absent")["changed"] is False


def test_a_changed_description_waits_for_a_restart_unless_it_may_have_one(node: Node) -> None:
    node.done()
    planned, done = node.done(check=True, memory="128 MiB"), node.done(memory="128 MiB")
    assert actions(planned) == actions(done) == ["redefine"] and planned["diff"] == done["diff"]
    assert done["instances"][0]["restart_needed"] is True and "started again" in done.warnings[0]
    assert done["diff"]["after"]["worker"]["domain"] == {"memory": 128 * 1024 * 1024}
    assert node.done(memory="128 MiB")["changed"] is False
    done = node.done(memory="96 MiB", restart_when_changed=True)
    assert actions(done) == ["redefine", "restart"] and done["instances"][0]["restart_needed"] is False
    assert node.domain().maxMemory() == 96 * 1024 and done.warnings == []


def test_it_is_stopped_started_and_restarted(node: Node) -> None:
    assert actions(node.done(started=False)) == ["make_disk", "record", "define"]
    assert node.done(started=False)["instances"][0]["state"] == "stopped" and not node.domain().isActive()
    assert actions(node.done()) == ["start"]
    assert actions(node.done(state="restarted")) == ["restart"] and node.domain().isActive()
    assert actions(node.done(started=False)) == ["stop"] and not node.domain().isActive()
    assert actions(node.done(autostart=True)) == ["autostart", "start"] and node.domain().autostart()
    assert node.done(autostart=True)["changed"] is False


def test_a_changed_context_replaces_the_disk(node: Node) -> None:
    node.done(contexts=[{"iso": ISO}])
    other = {**ISO, "variables": {"AFS": "on"}}
    done = node.done(contexts=[{"iso": other}])
    assert actions(done) == ["replace_context"] and done["instances"][0]["restart_needed"] is True
    shown = done["diff"]["after"]["worker"]["contexts"][str(node.disks / "worker-context.iso")]
    assert shown["variables"]["AFS"] == "on"


@pytest.mark.parametrize("decision", ["blacklist", "clear"])
def test_what_the_verdict_refuses_is_not_started(own_node: Node, decision: str) -> None:
    own_node.bench.decide(decision)
    result = own_node.run()
    code = {"blacklist": "blacklisted", "clear": "not_approved"}[decision]
    assert result.failed and result["code"] == code and result["failures"][0]["name"] == "worker"
    assert own_node.names() == set() and not own_node.disks.exists() and not own_node.records.exists()


def test_a_cached_file_that_was_changed_is_refused(own_node: Node) -> None:
    path = cached(own_node)
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.write(b"not")
    assert own_node.run()["code"] == "file_changed"


def _rewrite_verdicts(node: Node, change: t.Callable[[bytes], bytes]) -> None:
    """What whoever owns the state can make of the snapshot."""
    path = node.state_dir / "verdicts.json"
    (name,) = (sheet["file"] for sheet in json.loads(path.read_text())["sheets"].values())
    octets = change((node.state_dir / "verdicts" / name).read_bytes())
    renamed = f"{name.rpartition('-')[0]}-{hashlib.sha256(octets).hexdigest()[:32]}.jsonl"
    (node.state_dir / "verdicts" / renamed).write_bytes(octets)
    path.write_text(path.read_text().replace(name, renamed))


def test_octets_are_compared_where_they_are_not_believed(own_node: Node) -> None:
    """A disk that changes octets by itself leaves size and times as they were: here it is the digest that differs."""
    assert own_node.done(verify="sha512", check=True)["changed"] is True
    digest = own_node.image()["sha512"].encode()
    _rewrite_verdicts(own_node, lambda octets: octets.replace(digest, b"0" * 128))
    assert own_node.run(verify="sha512")["code"] == "file_changed"
    assert own_node.run(disk={"method": "copy"})["code"] == "checksum_mismatch"
    assert list(own_node.disks.iterdir()) == list(own_node.records.iterdir()) == []


def test_the_snapshot_names_no_file_outside_of_the_cache(own_node: Node) -> None:
    """It belongs to the service's user, who may not read all that root reads."""
    path, secret = cached(own_node), own_node.bench.work / "secret"
    before = path.stat().st_ctime_ns
    path.rename(secret)
    changes = {str(path): str(secret), str(before): str(secret.stat().st_ctime_ns)}

    def change(octets: bytes) -> bytes:
        for old, new in changes.items():
            assert old.encode() in octets
            octets = octets.replace(old.encode(), new.encode())
        return octets

    _rewrite_verdicts(own_node, change)
    assert own_node.run()["code"] == "file_unknown" and not own_node.disks.exists()


def test_old_verdicts_are_not_believed(node: Node) -> None:
    assert node.run(max_age="0s")["code"] == "snapshot_stale"
    assert node.run(state_dir=str(node.records))["code"] == "snapshot_missing"


def test_a_mode_in_which_the_image_does_not_boot_is_refused_with_the_reason(node: Node) -> None:
    reasons = [{"requirement": "A09", "text": "There is no virtio_blk."}]
    matrix = {**BOOT_INFO["matrix"], "kvm": {**BOOT_INFO["matrix"]["kvm"], "ok": False, "reasons": reasons}}
    result = node.run(boot_info={"matrix": matrix})
    assert result["code"] == "mode_not_bootable" and "There is no virtio_blk." in result["msg"]
    assert node.run(boot_info={})["code"] == "boot_facts_missing"


def test_of_a_hook_that_refuses_its_own_words_are_told(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt = sys.modules["libvirt"]
    said = "Hook script execution failed: internal error: Child process (LC_ALL=C PATH=/bin /etc/libvirt/hooks/qemu"
    said += " worker prepare begin -) unexpected exit status 1: vmimages: worker may not start: disk_foreign: so\n"

    def refuse(_domain: t.Any) -> None:
        error = libvirt.libvirtError("refused")
        error.err = (libvirt.VIR_ERR_HOOK_SCRIPT_FAILED, 0, said, 2)
        raise error

    monkeypatch.setattr(libvirt.virDomain, "create", refuse)
    result = node.run()
    assert result["code"] == "start_refused"
    assert result["msg"].startswith("worker is not started: vmimages: worker may not start: disk_foreign: so. ")
    node.done(state="absent")


def test_one_refusal_does_not_undo_the_others(node: Node) -> None:
    items = [{"name": "first"}, {"name": "second", "image": "nobody's"}, {"name": "third", "memory": "32 MiB"}]
    result = node.run(name=None, instances=items)
    assert result.failed and result["code"] == "unknown_image" and result["changed"] is True
    assert [one["code"] for one in result["instances"]] == [None, "unknown_image", None]
    assert [one["name"] for one in result["failures"]] == ["second"]
    assert node.names() == {"first", "third"} and node.domain("third").maxMemory() == 32 * 1024
    again = node.run(name=None, instances=items)
    assert again.failed and again["changed"] is False


def test_common_suboptions_of_the_disk_hold_for_every_item(node: Node) -> None:
    items = [{"name": "first", "disk": {"path": str(node.disks / "one.img")}}, {"name": "second"}]
    done = node.done(name=None, instances=items, disk={"method": "copy"})
    assert [one["disk"] for one in done["instances"]] == [str(node.disks / "one.img"), str(node.disks / "second.img")]
    assert (node.disks / "one.img").read_bytes() == cached(node).read_bytes()


def test_an_instance_of_another_version_is_made_anew_only_when_told(own_node: Node) -> None:
    own_node.done()
    own_node.bench.publish(own_node.bench.image(octets=b"image v2" * 131072, format="raw", version="2.0"))
    own_node.bench.done("imagelist_subscribe", own_node.bench.subscription(refresh="always"))
    own_node.bench.cache()
    overlay = own_node.disks / "worker.qcow2"
    before = overlay.stat().st_ino
    result = own_node.run()
    assert result["code"] == "instance_outdated" and "2.0" in result["msg"] and overlay.stat().st_ino == before
    planned, done = own_node.done(check=True, rebuild=True), own_node.done(rebuild=True)
    assert actions(planned) == actions(done) == ["make_disk", "stop", "remove", "record", "redefine", "start"]
    assert facts(overlay)["backing-filename"] == str(cached(own_node))
    assert own_node.done(rebuild=True)["changed"] is False


def test_a_machine_goes_on_where_no_other_disk_can_be_made_for_it(node: Node) -> None:
    node.done()
    overlay = node.disks / "worker.qcow2"
    before = overlay.stat().st_ino
    result = node.run(rebuild=True, disk={"path": str(node.bench.work / "missing" / "worker.qcow2")})
    assert result["code"] == "convert_failed", result["msg"]
    assert node.domain().isActive() and overlay.stat().st_ino == before
    assert node.done()["changed"] is False


def test_what_came_to_be_where_a_disk_was_is_not_taken_away(node: Node) -> None:
    node.done()
    moved = node.disks / "moved.qcow2"
    node.done(rebuild=True, disk={"path": str(moved)})
    node.done(name="second", disk={"path": str(node.disks / "worker.qcow2")})
    node.done(state="absent")
    assert (node.disks / "worker.qcow2").exists() and not moved.exists()


def test_what_others_made_is_neither_changed_nor_removed(node: Node) -> None:
    node.driver.defineXML("<domain type='test'><name>worker</name><memory>1</memory><os><type>hvm</type></os></domain>")
    for state in ("present", "absent"):
        assert node.run(state=state)["code"] == "instance_foreign"
    assert node.run(name="test", state="absent")["code"] == "instance_foreign"
    node.domain().undefine()
    node.disks.mkdir()
    (node.disks / "worker.qcow2").write_text("somebody's")
    assert node.run()["code"] == "file_foreign"
    assert (node.disks / "worker.qcow2").read_text() == "somebody's" and not node.records.exists()


def test_a_disk_that_was_exchanged_is_left_where_it_is(node: Node) -> None:
    node.done()
    overlay = node.disks / "worker.qcow2"
    overlay.rename(node.disks / "moved")
    overlay.write_text("somebody's")
    assert node.run()["code"] == "file_foreign"
    done = node.done(state="absent")
    assert "is not the disk that was made for it" in done.warnings[0] and overlay.read_text() == "somebody's"


def test_a_disk_is_known_again_when_its_file_system_got_another_number(node: Node) -> None:
    node.done()
    (path,) = node.records.iterdir()
    document = record(node)
    document["disk"]["device"] += 1
    path.write_text(json.dumps(document))
    assert node.done()["instances"][0]["code"] is None
    assert not node.done(state="absent").warnings and list(node.disks.iterdir()) == []


def test_a_domain_with_the_uuid_of_another_instance_takes_nothing_of_it_away(node: Node) -> None:
    node.done()
    uuid = node.domain().UUIDString()
    node.domain().destroy()
    node.domain().undefine()
    node.driver.defineXML(
        f"<domain type='test'><name>other</name><uuid>{uuid}</uuid><memory>1</memory><os><type>hvm</type></os></domain>"
    )
    for state in ("absent", "present"):
        assert node.run(name="other", state=state)["code"] == "instance_foreign"
    assert (node.disks / "worker.qcow2").exists() and list(node.records.iterdir())
    node.driver.lookupByName("other").undefine()


def test_what_an_ended_call_left_is_taken_up_again(node: Node) -> None:
    assert node.run(contexts=[{"iso": ISO, "path": str(node.bench.work / "missing" / "x.iso")}])["code"] == "not_found"
    assert record(node)["made"][0] == str(node.disks / "worker.qcow2")
    done = node.done(contexts=[{"iso": ISO}])
    assert actions(done) == ["record", "create_context", "define", "start"]


def test_a_time_that_is_over_starts_nothing(node: Node) -> None:
    assert node.run(until="2020-01-01T00:00:00Z")["code"] == "ttl_over"
    done = node.done(ttl_hours=1)
    assert node.done(ttl_hours=1)["changed"] is False
    longer = node.done(ttl_hours=2)
    assert actions(longer) == ["record"] and longer["instances"][0]["until"] > done["instances"][0]["until"]


def test_a_disk_grows_and_never_shrinks(node: Node) -> None:
    node.done(started=False)
    assert node.run(started=False, disk={"size": "4 KiB"})["code"] == "machine_invalid"
    done = node.done(started=False, disk={"size": "8 MiB"})
    assert actions(done) == ["grow_disk"] and facts(node.disks / "worker.qcow2")["virtual-size"] == 8 * 1024 * 1024
    assert node.done(started=False, disk={"size": "8 MiB"})["changed"] is False


@pytest.fixture
def device(tmp_path: Path) -> t.Iterator[Path]:
    """A block device of two megabytes."""
    backing = tmp_path / "device.img"
    backing.write_bytes(bytes(2 * 1024 * 1024))
    name = subprocess.run(
        ["losetup", "--find", "--show", backing], check=True, capture_output=True, text=True
    ).stdout.strip()
    yield Path(name)
    subprocess.run(["losetup", "--detach", name], check=True)


@pytest.mark.needs("root", "losetup", "/dev/loop-control")
def test_a_block_device_gets_the_octets_and_keeps_what_it_had_from_others(node: Node, device: Path) -> None:
    disk = {"method": "device", "path": str(device)}
    assert actions(node.done(disk=disk)) == ["make_disk", "record", "define", "start"]
    assert device.read_bytes()[: 1024 * 1024] == cached(node).read_bytes()
    assert node.done(disk=disk)["changed"] is False
    told = record(node)
    assert (told["disk"]["kind"], told["disk"]["device"]) == ("device", device.stat().st_rdev) and told["made"] == []
    node.done(state="absent")
    assert node.run(disk=disk)["code"] == node.run(disk=disk, check=True)["code"] == "device_in_use"
    assert node.done(disk={**disk, "overwrite": True})["changed"] is True


@pytest.mark.needs("root", "losetup", "/dev/loop-control")
def test_a_device_is_named_as_it_is_after_the_next_start_of_the_host(own_node: Node, device: Path) -> None:
    disk = {"method": "device", "path": str(device)}
    link = Path(f"/dev/disk/by-id/vmimages-test-{os.getpid()}")
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(device)
    try:
        refused = own_node.run(disk=disk)
        assert refused["code"] == "machine_invalid" and f"{link} is always this one" in refused["msg"]
        own_node.done(disk={**disk, "path": str(link)})
        assert record(own_node)["disk"]["path"] == str(link)
        own_node.done(state="absent")
    finally:
        link.unlink()
    # Where there is no other name it is told; and what lies there by then is never taken for the instance's own.
    done = own_node.done(disk={**disk, "overwrite": True})
    assert any("may be another disk after the next start" in sentence for sentence in done.warnings)
    own_node.bench.publish(own_node.bench.image(octets=b"image v2" * 131072, format="raw", version="2.0"))
    own_node.bench.done("imagelist_subscribe", own_node.bench.subscription(refresh="always"))
    own_node.bench.cache()
    assert own_node.run(disk=disk, rebuild=True)["code"] == "device_in_use"
    own_node.done(state="absent")


@pytest.mark.needs("root", "losetup", "/dev/loop-control")
def test_a_device_that_is_too_small_is_left_alone(node: Node, tmp_path: Path, device: Path) -> None:
    with (tmp_path / "device.img").open("r+b") as stream:
        stream.truncate(512 * 1024)
    subprocess.run(["losetup", "--set-capacity", device], check=True)
    assert node.run(disk={"method": "device", "path": str(device)})["code"] == "device_too_small"
    assert not any(device.read_bytes())


BAD_INPUT: t.Final[list[tuple[dict[str, t.Any], str]]] = [
    ({"name": "17"}, "machine_invalid"),
    ({"name": "../worker"}, "machine_invalid"),
    ({"image": None}, "machine_invalid"),
    ({"uuid": "worker"}, "machine_invalid"),
    ({"memory": "much"}, "machine_invalid"),
    ({"stop_timeout": "soon"}, "machine_invalid"),
    ({"until": "tomorrow"}, "machine_invalid"),
    ({"ttl_hours": 0}, "machine_invalid"),
    ({"directory": "here"}, "machine_invalid"),
    ({"disk": {"path": "/dev/vda"}}, "machine_invalid"),
    ({"disk": {"method": "device"}}, "machine_invalid"),
    ({"disk": {"method": "device", "path": "/dev/null"}}, "machine_invalid"),
    ({"disk": {"owner": "nobody-of-that-name"}}, "machine_invalid"),
    ({"disk": {"mode": "rw"}}, "machine_invalid"),
    ({"disk": {"format": "qcow2"}}, "not_derived"),
    ({"contexts": [{}]}, "machine_invalid"),
    ({"contexts": [{"path": "/no/such.iso"}]}, "not_found"),
    ({"contexts": [{"iso": {"no_such": 1}}]}, "option_invalid"),
    ({"contexts": [{"iso": {"variables": {"PATH": "/"}}}]}, "variable_forbidden"),
    ({"connection": "qemu+unix:///system?socket=/no/such"}, "hypervisor_unreachable"),
    ({"name": None, "instances": [{"name": "a"}, {"name": "a"}]}, "machine_invalid"),
    ({"name": None, "instances": [{"memory": "1 GiB"}]}, "machine_invalid"),
    ({"state": "restarted", "output": "xl"}, "machine_invalid"),
    ({"output": "xl"}, "output_unsupported"),
    ({"output": "opennebula"}, "machine_invalid"),
]


def test_bad_input_is_one_sentence_and_changes_nothing(node: Node) -> None:
    for options, code in BAD_INPUT:
        result = node.run(**options)
        assert result.failed and (options, result["code"]) == (options, code) and "\n" not in result["msg"]
    assert node.names() == set() and not node.records.exists() and not node.disks.exists()


# for managers that start machines themselves


def test_a_configuration_for_xl_comes_with_disk_and_record(node: Node) -> None:
    dest = node.bench.work / "worker.cfg"
    options: dict[str, t.Any] = {"output": "xl", "mode": "xen_para", "dest": str(dest), "disk": {"method": "copy"}}
    planned, done = node.done(check=True, **options), node.done(**options)
    assert actions(planned) == actions(done) == ["make_disk", "record", "write"] and planned["diff"] == done["diff"]
    assert dest.read_text() == done["instances"][0]["configuration"] and f"# image: {IMAGE}" in dest.read_text()
    assert record(node)["connection"] is None and record(node)["disk"]["kind"] == "copy"
    assert node.done(**options)["changed"] is False
    assert actions(node.done(state="absent", output="xl", dest=str(dest))) == ["remove", "remove", "remove_record"]
    assert not dest.exists() and list(node.disks.iterdir()) == []


def test_a_template_for_opennebula_is_written_after_the_same_verdict(own_node: Node) -> None:
    dest = own_node.bench.work / "worker.one"
    options: dict[str, t.Any] = {
        "output": "opennebula",
        "dest": str(dest),
        "opennebula": {"image": "sl5", "context": {"AFS": "off"}},
    }
    assert actions(own_node.done(**options)) == ["write"] and f'HEPIX_IMAGE = "{IMAGE}"' in dest.read_text()
    assert (
        own_node.done(**options)["changed"] is False and not own_node.records.exists() and not own_node.disks.exists()
    )
    assert actions(own_node.done(state="absent", **options)) == ["remove"] and not dest.exists()
    dest.write_text("somebody's")
    assert own_node.run(**options)["code"] == own_node.run(state="absent", **options)["code"] == "file_foreign"
    dest.unlink()
    own_node.bench.decide("blacklist")
    assert own_node.run(**options)["code"] == "blacklisted" and not dest.exists()


@pytest.mark.needs("root", "mkfs.ext4", "sfdisk", "mount", "/dev/loop-control")
def test_how_an_image_boots_is_read_from_the_image_itself(bench: t.Any, systems: t.Any, tmp_path: Path) -> None:
    tree, disk = systems.unpack("debian12", tmp_path / "tree"), tmp_path / "debian.img"
    disk.write_bytes(bytes(20 * 1024 * 1024))
    subprocess.run(["sfdisk", "-q", disk], input=b"label: dos\nstart=2048,type=83,bootable\n", check=True)
    options = ["-L", "rootfs", "-d", tree, "-E", f"offset={2048 * 512}"]
    subprocess.run(["mkfs.ext4", "-q", "-F", *options, disk, "16m"], check=True, capture_output=True)
    octets = disk.read_bytes()
    with_grub = octets[:300] + b"GRUB " + octets[305:]
    other = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"
    bench.publish(bench.image(octets=with_grub, format="raw"), bench.image(other, octets=octets, format="raw"))
    bench.subscribe(new_images="cache")
    assert not bench.cache(formats=["qcow2"]).failed
    own_node = Node(bench, None, bench.state_dir)
    before = stat_record(cached(own_node))
    assert own_node.done(output="libvirt", boot_info=None)["changed"] is True
    with _read_by_a_guest(cached(own_node)):
        assert own_node.done(output="libvirt", boot_info=None)["changed"] is False
    assert own_node.done(output="libvirt", boot_info=None, name="third", disk={"format": "qcow2"})["changed"] is True
    refused = own_node.run(output="libvirt", boot_info=None, name="other", image=other)
    assert refused["code"] == "mode_not_bootable" and "finds no GRUB in the first sector" in refused["msg"]
    assert stat_record(cached(own_node)) == before
    assert str(bench.state_dir) not in Path("/proc/self/mountinfo").read_text()


@contextlib.contextmanager
def _read_by_a_guest(path: Path) -> t.Iterator[None]:
    """The locks of a qemu that has the file below an overlay: it reads, and others may do all but write and resize."""
    with path.open("rb") as file:
        for octet in (100, 201, 203):
            # F_OFD_SETLK
            fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, octet, 1, 0))
        yield
