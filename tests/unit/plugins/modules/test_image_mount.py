# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: an image up and down, and one sentence for what cannot be."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("root", "mkfs.ext4", "mount", "/dev/loop-control")


@pytest.fixture
def options(tmp_path: Path) -> t.Iterator[dict[str, t.Any]]:
    tree = tmp_path / "content"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc" / "fstab").write_text("LABEL=root / ext4\nLABEL=elsewhere /data ext4\n")
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(8 * 1024 * 1024)
    command = ["mkfs.ext4", "-q", "-F", "-L", "root", "-d", str(tree), str(image)]
    subprocess.run(command, check=True, capture_output=True)
    yield {"image": str(image), "path": str(tmp_path / "mnt")}
    subprocess.run(["umount", str(tmp_path / "mnt")], check=False, capture_output=True)


def test_an_image_is_mounted_and_taken_down(bench: t.Any, options: dict[str, t.Any]) -> None:
    planned = bench.done("image_mount", options, check=True)
    assert planned["changed"] is True and planned["mounts"] == []
    done = bench.done("image_mount", options)
    assert done["changed"] is True and done["diff"] == planned["diff"] and done["actions"] == planned["actions"]
    assert [mount["label"] for mount in done["mounts"]] == ["root"]
    assert done.warnings == ["LABEL=elsewhere, which belongs at /data, is not in the image."]
    assert bench.done("image_mount", options)["changed"] is False
    down = {"path": options["path"], "state": "absent"}
    assert bench.done("image_mount", down)["changed"] is True
    assert bench.done("image_mount", down)["changed"] is False


def test_what_cannot_be_is_one_sentence(bench: t.Any, options: dict[str, t.Any]) -> None:
    result = bench.run("image_mount", {**options, "image": "/nothing/here"})
    assert result.failed and result["code"] == "image_missing"
    assert result["msg"].startswith("/nothing/here cannot be read: no such file or directory. Name the file")
    assert bench.run("image_mount", {"path": options["path"]}).failed


@pytest.mark.needs("qemu-img")
def test_an_image_in_another_format_is_read(bench: t.Any, options: dict[str, t.Any], tmp_path: Path) -> None:
    qcow2 = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "-f", "raw", options["image"], str(qcow2)], check=True)
    given = {**options, "image": str(qcow2), "format": "qcow2", "scratch_dir": str(tmp_path)}
    assert bench.run("image_mount", {**given, "format": "raw"})["code"] == "image_format_unsupported"
    assert bench.done("image_mount", given, check=True)["layout"] is None
    assert [mount["label"] for mount in bench.done("image_mount", given)["mounts"]] == ["root"]
    assert bench.done("image_mount", given)["changed"] is False
    assert bench.done("image_mount", {"path": options["path"], "state": "absent"})["image"] == str(qcow2)
    assert list(tmp_path.glob("hepix-vmimages.*")) == []
