# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role multi_hypervisor on a real image: changed once, checked, and refused where a mode is out of reach."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import typing as t
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("root", "mkfs.ext4", "sfdisk", "mount", "fstrim", "lz4", "/dev/loop-control")

PLAYBOOK = "hepix.vmimages.build_image"
RECAP = re.compile(r"localhost +: +ok=\d+ +changed=(\d+) +unreachable=0 +failed=0")
START = 2048 * 512


@pytest.fixture
def image(systems: t.Any, tmp_path: Path) -> Path:
    """Ubuntu's layout on one partition, bound to one card, with drivers of every hypervisor in its kernel."""
    tree = systems.unpack("ubuntu", tmp_path / "content")
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(20 * 1024 * 1024)
    subprocess.run(["sfdisk", "-q", str(path)], input=b"label: dos\nstart=2048,type=83,bootable\n", check=True)
    options = ["-b", "4096", "-L", "cloudimg-rootfs", "-d", str(tree), "-E", f"offset={START}"]
    subprocess.run(["mkfs.ext4", "-q", "-F", *options, str(path), "4096"], check=True, capture_output=True)
    with path.open("r+b") as file:
        file.seek(384)
        file.write(b"GRUB ")
    return path


@pytest.fixture
def build(image: Path, run_playbook: t.Any, tmp_path: Path) -> t.Callable[..., subprocess.CompletedProcess[str]]:
    def build(*options: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        given = {
            "multi_hypervisor_image": str(image),
            "multi_hypervisor_mount": str(tmp_path / "mnt"),
            "hepix_vmimages_become": False,
            **{f"multi_hypervisor_{name}": value for name, value in variables.items()},
        }
        done = run_playbook(PLAYBOOK, "--diff", *options, "-e", json.dumps(given))
        assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()
        return t.cast("subprocess.CompletedProcess[str]", done)

    return build


def changed(done: subprocess.CompletedProcess[str]) -> int:
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout + done.stderr
    recap = RECAP.search(done.stdout)
    assert recap is not None
    return int(recap[1])


def sha512(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()


def test_an_image_is_changed_once_and_keeps_its_checksum_then(image: Path, build: t.Any, tmp_path: Path) -> None:
    before = sha512(image)
    planned = build("--check")
    assert changed(planned) == 1 and "console=hvc0" in planned.stdout
    assert sha512(image) == before
    done = build(backup_dir=str(tmp_path / "backups"), zero_free=True)
    assert changed(done) == 2
    after = sha512(image)
    assert after != before and after in done.stdout
    assert len(list((tmp_path / "backups").iterdir())) == 1
    assert changed(build(zero_free=True)) == 0
    assert sha512(image) == after
    assert b"52:54:00:12:34:56" not in image.read_bytes()


def test_a_mode_that_is_out_of_reach_fails_with_the_reason(image: Path, build: t.Any) -> None:
    with image.open("r+b") as file:
        file.seek(384)
        file.write(b"NONE ")
    refused = build(modes=["kvm"])
    assert refused.returncode != 0
    assert "kvm: A BIOS finds no GRUB in the first sector of the disk" in refused.stdout


def test_a_tree_that_is_mounted_already_is_changed_in_its_place(
    systems: t.Any, run_playbook: t.Any, tmp_path: Path
) -> None:
    tree = systems.unpack("ubuntu", tmp_path / "tree")
    given = json.dumps({"multi_hypervisor_root": str(tree), "hepix_vmimages_become": False})
    assert changed(run_playbook(PLAYBOOK, "-e", given)) == 1
    assert "console=hvc0" in (tree / "boot" / "grub" / "grub.cfg").read_text()


@pytest.mark.needs("qemu-img")
def test_a_source_is_converted_once_and_never_with_what_it_names(image: Path, build: t.Any, tmp_path: Path) -> None:
    source, raw = tmp_path / "disk.qcow2", tmp_path / "new.img"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(image), str(source)], check=True)
    assert changed(build(source=str(source), image=str(raw))) == 3
    assert raw.stat().st_size == image.stat().st_size and not raw.with_name("new.img.part").exists()
    other = tmp_path / "other.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", str(other)]
    subprocess.run(command, check=True)
    refused = build(source=str(other), image=str(tmp_path / "never.img"))
    assert refused.returncode != 0 and "names other files" in refused.stdout
    assert not (tmp_path / "never.img").exists()
