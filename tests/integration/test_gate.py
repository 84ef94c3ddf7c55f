# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate as libvirt's hook, in a real libvirtd: what may start starts, everything else is refused with its reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import typing as t
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.durations import parse_duration
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.gate import ending, settings
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.gate.virsh import Virsh
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.instances import records
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import decisions
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory

from ..unit.plugins.module_utils._core.site.conftest import LIST, World
from . import hook
from .libvirtd import GUEST_USER, NEEDS, PYTHON, Libvirtd, serve

pytestmark = pytest.mark.needs(*NEEDS, "qemu-img")

APPROVED = "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
OTHER = "588dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
HELLO = "an endorsed system has started"


def bootable(text: str = HELLO) -> bytes:
    """A disk whose first sector writes a text to the serial line, and then sleeps."""
    say = b"".join(b"\xb0" + bytes([octet]) + b"\xee" for octet in f"{text}\r\n".encode())
    return (b"\xba\xf8\x03" + say + b"\xf4\xeb\xfd").ljust(510, b"\0") + b"\x55\xaa" + os.urandom(1024 * 1024 - 512)


@dataclass
class Node:
    """A host with libvirtd and the hook, and its site."""

    libvirtd: Libvirtd
    world: World
    environment: Path

    @property
    def directory(self) -> Path:
        return self.libvirtd.directory

    @property
    def records(self) -> Path:
        return self.directory / "records"

    def protect(self, how: str) -> None:
        """Make the state read-only (``ro``) for libvirtd, as systemd's ReadOnlyPaths does, or not (``rw``)."""
        enter = ["nsenter", "--mount", "--target", str(self.libvirtd.inside)]
        state = str(self.world.state)
        if subprocess.run([*enter, "mountpoint", "-q", state], check=False, timeout=20).returncode:
            subprocess.run([*enter, "mount", "--bind", state, state], check=True, timeout=20)
        subprocess.run([*enter, "mount", "-o", f"remount,bind,{how}", state], check=True, timeout=20)

    def path(self, image: str = APPROVED) -> Path:
        return Path(self.world.verdict(image)["path"])

    def overlay(self, on: Path) -> Path:
        path = self.directory / f"{uuid.uuid4()}.qcow2"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(on), "-F", "raw", str(path)]
        subprocess.run(command, check=True, timeout=60)
        return path

    def domain(self, disk: Path, *, kind: str = "qcow2", more: str = "", identity: str = "") -> Path:
        """The file with a domain's XML."""
        identity = identity or str(uuid.uuid4())
        path = self.directory / f"{identity}.xml"
        path.write_text(
            f"""<domain type='qemu'><name>gate-{identity}</name><uuid>{identity}</uuid>
            <metadata><hepix:instance xmlns:hepix='tag:hepix.org,2026:vmimages:instance'>
              <hepix:uuid>{APPROVED}</hepix:uuid></hepix:instance></metadata>
            <memory unit='MiB'>16</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os>
            <devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
              <disk type='file' device='disk'><driver name='qemu' type='{kind}'/><source file='{disk}'/>{more}
                <target dev='vda' bus='virtio'/></disk>
              <serial type='file'><source path='{path.with_suffix(".log")}'/></serial>
              <controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
        )
        return path

    def start(self, domain: Path) -> str:
        """Start the domain, see that it runs, and end it; why it was refused, or nothing."""
        try:
            self.libvirtd.virsh("create", domain)
        except subprocess.CalledProcessError as error:
            return t.cast(str, error.stderr)
        try:
            self.libvirtd.console(domain.with_suffix(".log"), HELLO)
        finally:
            self.libvirtd.virsh("destroy", f"gate-{domain.stem}")
        return ""

    def record(self, domain: Path, disk: Path, image: str = APPROVED) -> None:
        (of,) = snapshot.load(StateDirectory.at(self.world.state)).find("identifier", image)
        found = disk.stat()
        made = records.DiskRecord(str(disk), "copy", "raw", None, found.st_dev, found.st_ino)
        end = self.world.now + timedelta(days=1)
        of_image = records.ImageRecord(
            image, of["version"], of["sha512"], 1, of["list"], "1", "/CN=E", "/CN=CA", end, str(self.path(image)), 1
        )
        name = f"gate-{domain.stem}"
        records.write(
            self.records,
            records.Record(domain.stem, name, None, "qemu", self.world.now, None, "root", made, of_image),
        )


@pytest.fixture(scope="module")
def node(
    demo_ca: t.Any, demo_server: t.Any, _pki_template: Path, now: datetime, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    place = tmp_path_factory.mktemp("gate")
    shutil.copytree(_pki_template, place / "pki", symlinks=True)
    (place / "web").mkdir()
    with serve() as libvirtd, demo_server.serve(place / "web") as server:
        world = World(demo_ca.DemoCA(place / "pki", now), place / "web", server.uri, libvirtd.directory / "state", now)
        images = [world.image(name, octets=bootable()) for name in (APPROVED, OTHER)]
        world.publish("1", [{**image, "hv:format": "raw"} for image in images])
        world.subscribe(new_images="cache")
        world.sync()
        libvirtd.stop()
        environment = hook.install(libvirtd, place, world.state, libvirtd.directory / "records")
        libvirtd.start()
        node = Node(libvirtd, world, environment)
        node.protect("ro")
        yield node


@pytest.fixture
def domain(node: Node) -> Path:
    """A domain on an overlay of the approved image."""
    return node.domain(node.overlay(node.path()))


def test_an_overlay_on_an_approved_image_starts_and_leaves_the_image_as_it_is(node: Node, domain: Path) -> None:
    before = node.path().stat()
    assert node.start(domain) == ""
    assert node.start(node.domain(node.overlay(node.path()))) == ""
    after = node.path().stat()
    assert (after.st_uid, after.st_ctime_ns) == (before.st_uid, before.st_ctime_ns)


def test_an_image_that_nobody_approved_does_not_start(node: Node) -> None:
    foreign = node.directory / "foreign.img"
    foreign.write_bytes(bootable())
    for domain in (node.domain(foreign, kind="raw"), node.domain(node.overlay(foreign))):
        said = node.start(domain)
        assert f"gate-{domain.stem} may not start: disk_foreign: Disk vda: {foreign}" in said


def test_a_copy_starts_by_its_record_and_not_by_its_metadata(node: Node) -> None:
    disk = node.directory / "copy.img"
    shutil.copy(node.path(), disk)
    domain = node.domain(disk, kind="raw")
    assert "disk_foreign" in node.start(domain)
    node.record(domain, disk)
    assert node.start(domain) == ""
    # The guest's user owns it now, as libvirt has it; and the guest may write what it likes.
    with disk.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"written by the guest")
    assert node.start(domain) == ""
    assert "disk_foreign" in node.start(node.domain(disk, kind="raw"))


def test_another_chain_in_the_domain_does_not_start(node: Node) -> None:
    foreign = node.directory / "other.img"
    foreign.write_bytes(bootable())
    store = f"<backingStore type='file'><format type='raw'/><source file='{foreign}'/><backingStore/></backingStore>"
    assert "chain_refused" in node.start(node.domain(node.overlay(node.path()), more=store))
    right = store.replace(str(foreign), str(node.path()))
    assert node.start(node.domain(node.overlay(node.path()), more=right)) == ""


def test_what_was_saved_is_not_restored_after_a_blacklist(node: Node, domain: Path) -> None:
    name, saved = f"gate-{domain.stem}", node.directory / "saved"
    node.libvirtd.virsh("create", domain)
    node.libvirtd.console(domain.with_suffix(".log"), HELLO)
    node.libvirtd.virsh("save", name, saved)
    node.world.decide("blacklist", APPROVED)
    try:
        with pytest.raises(subprocess.CalledProcessError) as refused:
            node.libvirtd.virsh("restore", saved)
        assert f"{name} may not start: blacklisted" in refused.value.stderr
        assert "blacklisted" in node.start(domain)
    finally:
        node.world.decide("clear", APPROVED)
    node.libvirtd.virsh("restore", saved)
    node.libvirtd.virsh("destroy", name)


def test_a_modified_and_a_withdrawn_image_do_not_start(node: Node) -> None:
    domain = node.domain(node.overlay(node.path(OTHER)))
    assert node.start(domain) == ""
    file = node.path(OTHER)
    with file.open("r+b") as stream:
        stream.seek(4096)
        stream.write(b"modified")
    assert "file_changed" in node.start(domain)
    node.world.publish("2", [{**node.world.image(APPROVED, octets=node.path().read_bytes()), "hv:format": "raw"}])
    node.world.refresh()
    assert "withdrawn" in node.start(domain)
    node.world.sync()
    assert "withdrawn" in node.start(domain)


@dataclass
class Running:
    """Machines that run, and what ends them."""

    node: Node

    def names(self) -> list[str]:
        return self.node.libvirtd.virsh("list", "--name").split()

    def end(self, grace: str = "1h", **chosen: t.Any) -> dict[str, ending.Machine]:
        """By name, what became of the machines."""
        site = settings.Settings(
            state_dir=self.node.world.state, records_dir=self.node.records, names=chosen.pop("exempt", ())
        )
        now = self.node.world.now + chosen.pop("later", timedelta(0))
        dry = chosen.pop("dry", False)
        ender = ending.Ender(
            Virsh(self.node.libvirtd.uri),
            site,
            ending.Chosen(**(chosen or {"expired": True})),
            parse_duration(grace),
            self.node.directory / "ending",
        )
        return {machine.name: machine for machine in ender.end(now, dry=dry)}


@pytest.fixture
def running(node: Node) -> Iterator[Running]:
    """What runs at the end of a test ends with it."""
    yield Running(node)
    for name in node.libvirtd.virsh("list", "--name").split():
        node.libvirtd.virsh("destroy", name)


def test_a_running_machine_is_asked_and_then_ended_when_its_image_is_blacklisted(
    node: Node, domain: Path, running: Running
) -> None:
    name = f"gate-{domain.stem}"
    node.libvirtd.virsh("create", domain)
    assert {one.action for one in running.end().values()} == {None}
    node.world.decide("blacklist", APPROVED)
    try:
        assert (running.end(dry=True)[name].action, running.end(exempt=("gate-*",))[name].action) == ("shutdown", None)
        asked = running.end()[name]
        assert (asked.code, asked.action, asked.images) == ("blacklisted", "shutdown", (APPROVED,))
        # The boot sector does not listen: it goes on until its grace is over.
        assert running.end(later=timedelta(minutes=59))[name].action == "wait"
        assert running.names() == [name]
        assert running.end(later=timedelta(minutes=61))[name].action == "destroy"
        assert running.names() == []
    finally:
        node.world.decide("clear", APPROVED)
    assert running.end() == {}


def test_a_machine_that_was_good_again_gets_its_grace_anew(node: Node, domain: Path, running: Running) -> None:
    name = f"gate-{domain.stem}"
    node.libvirtd.virsh("create", domain)
    actions = []
    try:
        for decision, minutes in (("blacklist", 0), ("clear", 5), ("blacklist", 90), ("blacklist", 100)):
            node.world.decide(decision, APPROVED)
            actions.append(running.end(later=timedelta(minutes=minutes))[name].action)
        assert actions == ["shutdown", None, "shutdown", "wait"]
        # What an administrator has chosen is not forgotten by the timer's run.
        node.world.decide("clear", APPROVED)
        assert running.end(later=timedelta(minutes=101))[name].action is None
        chosen: dict[str, t.Any] = {"images": frozenset({APPROVED})}
        for minutes, action in ((110, "shutdown"), (111, None), (171, "destroy")):
            told = running.end(later=timedelta(minutes=minutes), **(chosen if action else {}))
            assert told[name].action == action
    finally:
        node.world.decide("clear", APPROVED)


def test_machines_of_an_image_a_list_or_an_endorser_end_at_once(node: Node, running: Running) -> None:
    endorser = node.world.pki.endorser
    for chosen in (
        {"images": frozenset({APPROVED})},
        {"lists": frozenset({LIST})},
        {"endorsers": frozenset({(endorser.dn, endorser.ca)})},
    ):
        domain = node.domain(node.overlay(node.path()))
        node.libvirtd.virsh("create", domain)
        assert running.end("0s", images=frozenset({OTHER}))[f"gate-{domain.stem}"].action is None
        assert running.end("0s", exempt=("gate-*",), **chosen)[f"gate-{domain.stem}"].code == "chosen"
        assert running.names() == []


def test_what_is_not_known_ends_nothing(node: Node, domain: Path, running: Running) -> None:
    node.libvirtd.virsh("create", domain)
    (machine,) = running.end("0s", expired=True, later=timedelta(days=90)).values()
    assert (machine.code, machine.action) == ("snapshot_stale", None)
    assert running.names() == [f"gate-{domain.stem}"]


@pytest.fixture
def play(node: Node, run_playbook: t.Any) -> t.Callable[..., str]:
    """Run a playbook of the collection on this node; what it said, without its colours."""

    def run(name: str, *options: str, **variables: t.Any) -> str:
        given = {
            "hepix_vmimages_hosts": "localhost",
            "hepix_vmimages_become": False,
            "hepix_vmimages_connection": node.libvirtd.uri,
            "hepix_vmimages_gate": str(node.environment.parent / "gate.json"),
            "hepix_vmimages_command": [str(node.environment / "bin/python3"), "-I", "-m", "vmimages.main"],
            "hepix_vmimages_state_dir": str(node.world.state),
            **variables,
        }
        done = run_playbook(f"hepix.vmimages.{name}", *options, "-e", json.dumps(given))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "[WARNING]" not in done.stdout + done.stderr
        return t.cast(str, done.stdout)

    return run


def test_blacklisting_ends_a_running_machine_by_the_playbook(
    node: Node, domain: Path, running: Running, play: t.Callable[..., str]
) -> None:
    node.libvirtd.virsh("create", domain)
    node.world.decide("blacklist", APPROVED)
    try:
        assert f"({domain.stem}): blacklisted: shutdown" in play("expire_instances", "--check")
        assert running.names() == [f"gate-{domain.stem}"]
        told = play("expire_instances", hepix_vmimages_grace="2s")
        assert f"({domain.stem}): blacklisted: shutdown" in told and "changed=1" in told
        assert running.names() == []
    finally:
        node.world.decide("clear", APPROVED)


def test_an_incident_ends_every_machine_of_an_endorser(
    node: Node, domain: Path, running: Running, play: t.Callable[..., str]
) -> None:
    node.libvirtd.virsh("create", domain)
    pair = {"dn": node.world.pki.endorser.dn, "ca": node.world.pki.endorser.ca}
    try:
        told = play("stop_instances", hepix_vmimages_endorsers=[pair], hepix_vmimages_reason="ticket 4711")
        assert f"({domain.stem}): chosen: destroy" in told
        assert running.names() == []
        assert "blacklisted" in node.start(domain)
    finally:
        with node.world.open() as catalogue:
            decisions.decide(catalogue, decision="clear", endorsers=[pair])


def test_what_image_instance_makes_passes_and_ends_with_its_image(
    node: Node, running: Running, run_playbook: t.Any, tmp_path: Path
) -> None:
    row = {"ok": True, "entry": 0, "root_by": "label", "ide_noprobe": False, "console": "ttyS0", "disk": "vda"}
    iso = node.directory / "context.iso"
    iso.write_bytes(b"\0" * 32769 + b"CD001" + b"\0" * 4096)
    (tmp_path / "hosts").write_text(f"localhost ansible_connection=local ansible_python_interpreter={PYTHON}\n")
    task = {
        "name": "Make an overlay and a copy",
        "hepix.vmimages.image_instance": {
            "image": APPROVED,
            "mode": "qemu",
            "memory": "64 MiB",
            "connection": node.libvirtd.uri,
            "boot_info": {"matrix": {"kvm": row}},
            "state_dir": str(node.world.state),
            "records_dir": str(node.records),
            "directory": str(node.directory / "made"),
            "contexts": [{"path": str(iso)}],
            "instances": [{"name": "overlay"}, {"name": "copy", "disk": {"method": "copy"}}],
        },
    }
    playbook = tmp_path / "instances.yml"
    play = {"name": "Instances", "hosts": "localhost", "gather_facts": False, "tasks": [task]}
    playbook.write_text(json.dumps([play]))
    done = run_playbook(playbook, "-i", tmp_path / "hosts")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(running.names()) == ["copy", "overlay"]
    node.libvirtd.virsh("destroy", "copy")
    node.libvirtd.virsh("start", "copy")
    node.world.decide("blacklist", APPROVED)
    try:
        assert {one.code for one in running.end("0s").values()} == {"blacklisted"}
        for name in ("copy", "overlay"):
            with pytest.raises(subprocess.CalledProcessError) as refused:
                node.libvirtd.virsh("start", name)
            assert f"{name} may not start: blacklisted" in refused.value.stderr
    finally:
        node.world.decide("clear", APPROVED)


def test_without_a_read_only_cache_libvirt_gives_the_image_away_and_the_gate_notices(node: Node) -> None:
    node.protect("rw")
    try:
        store = (
            f"<backingStore type='file'><format type='raw'/><source file='{node.path()}'>"
            "<seclabel model='dac' relabel='no'/></source><backingStore/></backingStore>"
        )
        assert node.start(node.domain(node.overlay(node.path()), more=store)) == ""
        assert node.path().stat().st_uid == 0
        domain = node.domain(node.overlay(node.path()))
        assert node.start(domain) == ""
        assert node.path().stat().st_uid == GUEST_USER
        assert "file_changed" in node.start(domain)
    finally:
        node.protect("ro")
        os.chown(node.path(), 0, 0)
        node.world.sync(verify=True)
    assert node.start(domain) == ""


def test_a_hook_without_its_gate_refuses_and_lets_everything_else_pass(node: Node, tmp_path: Path) -> None:
    installed = tmp_path / "hook"
    installed.write_text(hook.rendered(tmp_path / "nowhere", tmp_path))
    installed.chmod(0o755)

    def call(*operation: str) -> int:
        done = subprocess.run([installed, "a-domain", *operation, "-"], check=False, capture_output=True, timeout=20)
        assert done.stdout == b""
        return done.returncode

    for operation in ("prepare", "migrate", "restore"):
        assert call(operation, "begin") != 0
    for operation in ("start", "started", "stopped", "release", "reconnect", "attach"):
        assert call(operation, "begin") == 0
    assert call("prepare", "end") == 0


def test_a_machine_of_a_replaced_version_runs_on_unless_told(node: Node, domain: Path, running: Running) -> None:
    node.libvirtd.virsh("create", domain)
    name = f"gate-{domain.stem}"
    newer = node.world.image(APPROVED, version="2", octets=bootable())
    node.world.publish("3", [{**newer, "hv:format": "raw"}])
    node.world.refresh()
    node.world.sync()
    (machine,) = running.end("0s").values()
    assert (machine.code, machine.action, running.names()) == ("withdrawn", None, [name])
    assert running.end("0s", expired=True, replaced=True)[name].action == "destroy"
    assert running.names() == []
    assert "withdrawn" in node.start(domain)
    assert node.start(node.domain(node.overlay(node.path()))) == ""
