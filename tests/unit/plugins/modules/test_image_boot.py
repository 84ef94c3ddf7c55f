# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: planned, done, and nothing left to do."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("zstd", "lz4")


def test_a_system_that_lacks_only_configuration_is_made_bootable(bench: t.Any, systems: t.Any, tmp_path: Path) -> None:
    options = {"root": str(systems.unpack("ubuntu", tmp_path / "system")), "backup_dir": str(tmp_path / "backups")}
    planned = bench.done("image_boot", options, check=True)
    assert planned["changed"] is True and planned["backup"] is None
    done = bench.done("image_boot", options)
    assert done["actions"] == planned["actions"] and done["diff"] == planned["diff"]
    assert all(done["matrix"][mode]["ok"] for mode in done["wanted"])
    assert Path(done["backup"]).is_file()
    again = bench.done("image_boot", options)
    assert again["changed"] is False and again["actions"] == [] and again["backup"] is None


def test_check_mode_says_why_each_initrd_would_be_built(bench: t.Any, systems: t.Any, tmp_path: Path) -> None:
    result = bench.done("image_boot", {"root": str(systems.unpack("debian12", tmp_path / "system"))}, check=True)
    (build,) = result["builds"]
    assert build["command"] == ["update-initramfs", "-u", "-k", "6.1.0-18-amd64"]
    assert build["why"] == ["/boot/initrd.img-6.1.0-18-amd64 lacks virtio_net, xen_blkfront, xen_netfront."]


def test_what_no_plan_can_give_is_a_warning(bench: t.Any, systems: t.Any, tmp_path: Path) -> None:
    options = {"root": str(systems.unpack("el9", tmp_path / "system")), "build_initrds": False}
    result = bench.done("image_boot", options)
    assert [note["requirement"] for note in result["notes"]] == ["A11", "A09"]
    assert result.warnings == [f"{note['requirement']}: {note['text']}" for note in result["notes"]]


@pytest.mark.needs("root", "unshare")
def test_a_program_of_the_image_that_cannot_run_is_one_sentence(bench: t.Any, systems: t.Any, tmp_path: Path) -> None:
    system = systems.unpack("debian12", tmp_path / "system")
    loader = (system / "boot" / "grub" / "grub.cfg").read_bytes()
    for name in ("proc", "sys", "dev"):
        (system / name).mkdir()
    result = bench.run("image_boot", {"root": str(system)})
    assert result.failed and result["code"] == "guest_not_found"
    assert (system / "boot" / "grub" / "grub.cfg").read_bytes() == loader


def test_an_image_says_which_image_it_is(bench: t.Any, tmp_path: Path) -> None:
    (tmp_path / "system/etc").mkdir(parents=True)
    identity = {"uuid": "6ad3cb44-9b8e-4b3c-8a4f-0c4d9c2f8d11", "version": 1.4}
    options = {"root": str(tmp_path / "system"), "identity": identity, "modes": ["kvm"], "build_initrds": False}
    assert bench.done("image_boot", options)["actions"][0]["path"] == "/etc/hepix-image.json"
    said = json.loads((tmp_path / "system/etc/hepix-image.json").read_text())
    assert said == {"uuid": identity["uuid"], "version": "1.4"}
    assert bench.done("image_boot", options)["changed"] is False
