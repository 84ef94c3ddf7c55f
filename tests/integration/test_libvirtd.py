# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The libvirtd of the tests: guests run as its own user, hooks are asked, and nothing of it stays."""

from __future__ import annotations

import subprocess
import time
import typing as t
from pathlib import Path

import pytest

from .libvirtd import GUEST_USER, NEEDS, Libvirtd

pytestmark = pytest.mark.needs(*NEEDS)
DOMAIN: t.Final = (
    "<domain type='qemu'><name>idle</name><memory>16384</memory><os><type arch='x86_64'>hvm</type></os></domain>"
)


def _guests(server: Libvirtd) -> list[tuple[int, int]]:
    """Process and user numbers, as the host sees them."""
    asked = ["ps", "-C", "qemu-system-x86_64", "-o", "pid=,uid=,args="]
    lines = subprocess.run(asked, check=False, capture_output=True, text=True).stdout.splitlines()
    mine = [line.split() for line in lines if "guest=idle," in line]
    return [(int(line[0]), int(line[1])) for line in mine if Path(f"/proc/{line[0]}").exists()]


def test_a_guest_runs_is_kept_by_its_hook_and_ends_with_the_daemon(libvirtd: Libvirtd, tmp_path: Path) -> None:
    (tmp_path / "idle.xml").write_text(DOMAIN)
    libvirtd.virsh("create", tmp_path / "idle.xml")
    (guest,) = _guests(libvirtd)
    assert guest[1] == GUEST_USER
    (libvirtd.hooks / "qemu").write_text('#!/bin/sh\n[ "$2" != prepare ] || { echo no >&2; exit 1; }\n')
    (libvirtd.hooks / "qemu").chmod(0o755)
    libvirtd.stop()
    for _attempt in range(100):
        if not _guests(libvirtd):
            break
        time.sleep(0.05)
    assert not _guests(libvirtd)
    libvirtd.start()
    with pytest.raises(subprocess.CalledProcessError) as refused:
        libvirtd.virsh("create", tmp_path / "idle.xml")
    assert "Hook script execution failed" in refused.value.stderr
    (libvirtd.hooks / "qemu").unlink()
    libvirtd.stop()
    libvirtd.start()
