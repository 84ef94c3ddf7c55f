# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of every format, made by qemu-img itself, and what is known of them."""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError

#: 3 MiB with data at the beginning and in the middle, and nothing elsewhere.
DISK: t.Final = (os.urandom(70_000).ljust(1024 * 1024, b"\0") + os.urandom(300_000)).ljust(3 * 1024 * 1024, b"\0")
DRIVERS: t.Final = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc"}


def qemu_img(*arguments: str | Path) -> str:
    """Run qemu-img; its output."""
    done = subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True, text=True, timeout=60)
    return done.stdout


def make(directory: Path, kind: str, *options: str) -> Path:
    """The disk in this format."""
    raw, path = directory / "disk.raw", directory / f"disk.{kind}"
    raw.write_bytes(DISK)
    if kind != "raw":
        options = options or (("-o", "force_size=on") if kind == "vhd" else ())
        qemu_img("convert", "-f", "raw", "-O", DRIVERS[kind], *options, raw, path)
    return path


def content(path: Path, kind: str) -> bytes:
    """What a guest sees of a disk."""
    raw = path.with_name("seen.raw")
    qemu_img("convert", "-f", DRIVERS[kind], "-O", "raw", path, raw)
    return raw.read_bytes()


def code_of(call: t.Callable[[], t.Any]) -> str:
    """The code of the refusal that a call must end in."""
    with pytest.raises(VmimagesError) as caught:
        call()
    return caught.value.code
