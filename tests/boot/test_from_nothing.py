# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image that the role builds of Debian's packages: it is bootable in every mode, and boots."""

from __future__ import annotations

import json
import time
import typing as t
from pathlib import Path

import pytest

from . import prediction, qemu
from .conftest import Note


@pytest.fixture(scope="module")
def built(run_playbook: t.Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    directory = tmp_path_factory.mktemp("nothing")
    image = directory / "worker.img"
    given = {
        "multi_hypervisor_image": str(image),
        "multi_hypervisor_mount": str(directory / "mnt"),
        "multi_hypervisor_modes": list(prediction.MODES),
        "multi_hypervisor_debian": {"size": "1600M", "swap_size": "64M", "kernel": "linux-image-cloud-amd64"},
        "hepix_vmimages_become": False,
    }
    began = time.monotonic()
    planned = run_playbook("hepix.vmimages.build_image", "--check", "-e", json.dumps(given))
    assert planned.returncode == 0 and "is not there yet" in planned.stdout, planned.stdout
    assert list(directory.iterdir()) == []
    done = run_playbook("hepix.vmimages.build_image", "-e", json.dumps(given), timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in directory.iterdir()] == ["worker.img"]
    return image, time.monotonic() - began


def test_it_boots(built: tuple[Path, float], tmp_path: Path, logs: Path, note: Note) -> None:
    image, seconds = built
    note("nothing", "role", seconds, came="built")
    matrix = prediction.boot_facts(image, tmp_path / "mnt")["matrix"]
    assert all(matrix[mode]["ok"] for mode in prediction.MODES), matrix
    booted = qemu.boot([qemu.Disk(image)], "localhost login:", log=logs / "nothing-virtio.log")
    note("nothing", "QEMU virtio", booted.seconds, predicted="boots")
