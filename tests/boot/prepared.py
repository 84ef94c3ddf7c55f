# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image taken through the role multi_hypervisor as a user does it, twice, with its boot facts before and after."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from . import images
from .prediction import MODES, boot_facts

_RECAP: t.Final = re.compile(r"localhost +: +ok=\d+ +changed=(\d+) +unreachable=0 +failed=0")


@dataclass(frozen=True)
class Run:
    """One run of the playbook; `sha512` is the image's afterwards."""

    said: str
    changed: int
    seconds: float
    sha512: str


@dataclass(frozen=True)
class Prepared:
    """`source` is the image as it was found, `image` the same after the role; neither is to be written to."""

    source: Path
    image: Path
    before: dict[str, t.Any]
    after: dict[str, t.Any]
    first: Run
    second: Run


def prepare(source: Path, directory: Path, run_playbook: t.Callable[..., subprocess.CompletedProcess[str]]) -> Prepared:
    """Take a copy of the image through the role, in `directory`."""
    mount = directory / "mnt"
    image = images.copy(source, directory / "disk.img")
    before = boot_facts(source, mount)
    given = {
        "multi_hypervisor_image": str(image),
        "multi_hypervisor_mount": str(mount),
        "multi_hypervisor_modes": list(MODES),
        "hepix_vmimages_become": False,
    }

    def run() -> Run:
        began = time.monotonic()
        done = run_playbook("hepix.vmimages.build_image", "-e", json.dumps(given), timeout=900)
        seconds = time.monotonic() - began
        recap = _RECAP.search(done.stdout)
        assert done.returncode == 0 and recap is not None, done.stdout + done.stderr
        with image.open("rb") as file:
            digest = hashlib.sha512()
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        return Run(done.stdout + done.stderr, int(recap[1]), seconds, digest.hexdigest())

    first = run()
    after = boot_facts(image, mount)
    return Prepared(source, image, before, after, first, run())
