# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans for small systems of every layout: what is written, what a second run finds, and what hostile ones are refused.

``guest_systems/<name>.plan`` holds the plan for each system, looked at by a person.
"""

from __future__ import annotations

import os
import re
import tarfile
import typing as t
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.carry_out import make_bootable
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.wishes import Wishes
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
NAMES = ("el5", "el6", "el7", "el8", "el9", "debian12", "ubuntu")

pytestmark = pytest.mark.needs("zstd", "lz4", "mkfs.ext4", "sfdisk")


@pytest.fixture
def image(disk: t.Any, make_volume: t.Any) -> Path:
    """The disk that EL7 lies on: /boot has a label, the root has none but its UUID."""
    uuid = "7f1e2f6e-0000-4000-8000-000000000002"
    path = t.cast(Path, disk(make_volume(label="boot"), make_volume(label="", uuid=uuid), active=1))
    with path.open("r+b") as file:
        file.seek(384)
        file.write(b"GRUB ")
    return path


@pytest.fixture
def run(systems: t.Any, image: Path, tmp_path: Path) -> t.Callable[..., t.Any]:
    """`run("el5", modes=...)` unpacks the system, once, and makes it bootable."""

    def run(name: str, *, check: bool = False, **wishes: t.Any) -> t.Any:
        directory = tmp_path / name
        if not directory.exists():
            systems.unpack(name, directory)
        builder = wishes.pop("build", systems.build)
        more = {"backup_dir": wishes.pop("backup_dir", None), "image": str(image) if name == "el7" else None}
        with Root(directory) as root:
            return make_bootable(root, Wishes(**wishes), check=check, now=NOW, build=builder, **more)

    return run


def snapshot(directory: Path) -> dict[str, t.Any]:
    found = {}
    for path in sorted(directory.rglob("*")):
        content = str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(directory))] = (path.lstat().st_mode, content)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_the_plan_is_the_one_that_a_person_has_read(systems: t.Any, run: t.Any, name: str) -> None:
    outcome = run(name)
    found = systems.render(outcome.before, outcome.after, outcome.data["notes"])
    assert found == (systems.HERE / f"{name}.plan").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_second_run_plans_nothing(run: t.Any, tmp_path: Path, name: str) -> None:
    assert run(name).changed
    before = snapshot(tmp_path / name)
    again = run(name)
    assert (again.changed, again.after, again.actions) == (False, {}, ())
    assert snapshot(tmp_path / name) == before


@pytest.mark.parametrize("name", NAMES)
def test_check_mode_changes_nothing_and_foretells_the_run(
    run: t.Any, systems: t.Any, tmp_path: Path, name: str
) -> None:
    systems.unpack(name, tmp_path / name)
    before = snapshot(tmp_path / name)
    planned = run(name, check=True)
    assert snapshot(tmp_path / name) == before
    done = run(name)
    assert (planned.before, planned.after, planned.actions) == (done.before, done.after, done.actions)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("el5", {"kvm": 0, "xen_hvm": 0, "xen_para": 1}),
        ("el6", {"kvm": 0, "xen_hvm": 0, "xen_para": 0}),
        ("el7", {"kvm": 0, "xen_hvm": 0, "xen_para": 0}),
        ("el8", {"kvm": 0, "xen_hvm": 0, "xen_para": 0, "xen_pvh": 0}),
        ("el9", {"kvm": 0, "xen_hvm": 0}),
        ("debian12", {"kvm": 0, "xen_hvm": 0, "xen_para": 0, "xen_pvh": 0}),
        ("ubuntu", {"kvm": 0, "xen_hvm": 0, "xen_para": 0, "xen_pvh": 0}),
    ],
)
def test_afterwards_the_matrix_has_nothing_against_it(run: t.Any, name: str, wanted: dict[str, int]) -> None:
    matrix = run(name).data["matrix"]
    assert {mode: verdict["entry"] for mode, verdict in matrix.items() if verdict["ok"]} == wanted
    assert [verdict["warnings"] for mode, verdict in matrix.items() if mode in wanted] == [[]] * len(wanted)


def test_what_nobody_asked_to_change_stays_octet_for_octet(run: t.Any, systems: t.Any, tmp_path: Path) -> None:
    for name in NAMES:
        systems.unpack(name, tmp_path / name)
        before = snapshot(tmp_path / name)
        outcome = run(name)
        after = snapshot(tmp_path / name)
        touched = {path.lstrip("/") for path in outcome.after}
        changed = {path for path in {*before, *after} if before.get(path) != after.get(path)}
        directories = {path for path in changed if after.get(path, (0, b""))[1] is None}
        assert changed - directories == touched


class TestWishes:
    def test_only_kvm_leaves_xen_alone(self, run: t.Any, tmp_path: Path) -> None:
        outcome = run("el5", modes=("kvm",))
        text = (tmp_path / "el5" / "boot" / "grub" / "grub.conf").read_text()
        assert "ide0=noprobe" not in text and "xen.gz" in text
        assert text.index("2.6.18-164.2.1.el5)") < text.index("el5xen)")
        assert [build["path"] for build in outcome.data["builds"]] == ["/boot/initrd-paravirt.img"]
        assert "xen-vbd" not in outcome.data["builds"][0]["command"][-3]

    @pytest.mark.parametrize(("ttys", "count"), [("keep_first", 5), ("none", 6), ("all", 0)])
    def test_virtual_terminals_are_kept_as_wished(self, run: t.Any, tmp_path: Path, ttys: str, count: int) -> None:
        run("el5", inittab_ttys=ttys)
        text = (tmp_path / "el5" / "etc" / "inittab").read_text()
        assert len(re.findall("^#[1-6]:2345:", text, re.MULTILINE)) == count

    def test_a_guard_keeps_init_from_complaining(self, run: t.Any, tmp_path: Path) -> None:
        run("el5", console_guard=True)
        assert "co:2345:respawn:/sbin/hepix-console xvc0\n" in (tmp_path / "el5" / "etc" / "inittab").read_text()
        assert (tmp_path / "el5" / "sbin" / "hepix-console").stat().st_mode & 0o777 == 0o755
        assert not run("el5", console_guard=True).changed

    def test_selinux_and_firewall_are_as_wished(self, run: t.Any, tmp_path: Path) -> None:
        run("el5", selinux="disabled", firewall="off")
        assert "SELINUX=disabled\n" in (tmp_path / "el5" / "etc" / "selinux" / "config").read_text()
        assert not (tmp_path / "el5" / ".autorelabel").exists()

    def test_a_kernel_that_is_not_there_is_noted(self, run: t.Any) -> None:
        outcome = run("debian12", kernel="6.9")
        assert "Kernel 6.9 is not in /boot; those that are: 6.1.0-18-amd64." in outcome.warnings[0]
        assert outcome.data["builds"] == []

    def test_without_leave_to_build_the_entries_wait(self, run: t.Any, tmp_path: Path, systems: t.Any) -> None:
        systems.unpack("el5", tmp_path / "el5")
        before = (tmp_path / "el5" / "boot" / "grub" / "grub.conf").read_text()
        outcome = run("el5", build=None)
        assert outcome.changed and len(outcome.data["builds"]) == 2
        assert (tmp_path / "el5" / "boot" / "grub" / "grub.conf").read_text() == before
        assert sum("has to be built" in warning for warning in outcome.warnings) == 2
        assert not run("el5", build=None).changed


class TestFailures:
    def test_a_build_that_fails_leaves_the_boot_loader_as_it_was(
        self, run: t.Any, tmp_path: Path, systems: t.Any
    ) -> None:
        def fails(_root: t.Any, _argv: t.Any) -> None:
            raise GuestError("guest_command_failed", "It failed")

        systems.unpack("el5", tmp_path / "el5")
        before = (tmp_path / "el5" / "boot" / "grub" / "grub.conf").read_bytes()
        with pytest.raises(GuestError):
            run("el5", build=fails)
        assert (tmp_path / "el5" / "boot" / "grub" / "grub.conf").read_bytes() == before
        assert run("el5").changed and not run("el5").changed

    def test_a_build_that_lacks_what_was_asked_for_is_not_believed(self, run: t.Any) -> None:
        with pytest.raises(GuestError) as caught:
            run("debian12", build=lambda _root, _argv: None)
        assert caught.value.code == "initrd_incomplete"

    def test_what_is_changed_is_kept_outside(self, run: t.Any, systems: t.Any, tmp_path: Path) -> None:
        original = systems.unpack("el5", tmp_path / "original")
        outcome = run("el5", backup_dir=str(tmp_path / "backups"))
        with tarfile.open(outcome.data["backup"]) as archive:
            kept = archive.extractfile("boot/grub/grub.conf")
            assert kept is not None and kept.read() == (original / "boot" / "grub" / "grub.conf").read_bytes()
        with pytest.raises(GuestError) as caught:
            run("el6", backup_dir=str(tmp_path / "el6" / "root"))
        assert caught.value.code == "backup_inside"


class TestSecrets:
    def test_lines_that_stay_are_never_shown(self, run: t.Any, systems: t.Any, tmp_path: Path) -> None:
        systems.unpack("el9", tmp_path / "el9")
        path = tmp_path / "el9" / "etc" / "NetworkManager" / "system-connections" / "ens3.nmconnection"
        path.write_text(path.read_text() + "\n[wifi-security]\npsk=very secret\n")
        path.chmod(0o600)
        outcome = run("el9")
        assert "very secret" not in repr(outcome)
        assert "very secret" in path.read_text() and path.stat().st_mode & 0o777 == 0o600


class TestHostileSystems:
    @pytest.mark.parametrize("path", ["boot/grub/grub.conf", "etc/inittab", "etc/fstab", "etc/securetty"])
    @pytest.mark.parametrize("kind", ["large", "pipe", "loop"])
    def test_one_that_cannot_be_read_is_not_changed(
        self, run: t.Any, systems: t.Any, tmp_path: Path, path: str, kind: str
    ) -> None:
        target = systems.unpack("el5", tmp_path / "el5") / path
        target.unlink()
        if kind == "large":
            with target.open("wb") as file:
                file.truncate(50_000_000)
        elif kind == "pipe":
            os.mkfifo(target)
        else:
            target.symlink_to(target.name)
        before = sorted((str(item), item.lstat().st_mtime_ns) for item in (tmp_path / "el5").rglob("*"))
        with pytest.raises(GuestError) as caught:
            run("el5")
        assert caught.value.code in ("guest_too_large", "guest_not_a_file", "guest_path_loop")
        assert sorted((str(item), item.lstat().st_mtime_ns) for item in (tmp_path / "el5").rglob("*")) == before

    def test_links_out_of_the_system_change_nothing_outside(self, run: t.Any, systems: t.Any, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "securetty").write_text("the builder's\n")
        system = systems.unpack("el5", tmp_path / "el5")
        (system / "etc" / "securetty").unlink()
        (system / "etc" / "securetty").symlink_to(outside / "securetty")
        (system / "etc" / "sysconfig" / "mkinitrd").symlink_to("../../../outside")
        run("el5")
        assert (system / "outside" / "hepix").is_file()
        assert {path.name: path.read_text() for path in outside.iterdir()} == {"securetty": "the builder's\n"}
