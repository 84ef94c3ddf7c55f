# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Initrds of every kind and compression, and initrds that mean harm."""

from __future__ import annotations

import gzip
import subprocess
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.initrd.contents import Initrd, read_initrd
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

KINDS = ("none", "gzip", "xz", "lzma", "bzip2", "zstd", "lz4")
MODULES = ("virtio_ring", "virtio_pci", "virtio-blk", "xen-blkfront")


def read(directory: Path, octets: bytes) -> Initrd:
    (directory / "initrd").write_bytes(octets)
    with Root(directory) as root:
        return read_initrd(root, "/initrd")


def refusal(directory: Path, octets: bytes) -> str:
    with pytest.raises(GuestError) as caught:
        read(directory, octets)
    return caught.value.code


@pytest.mark.needs("zstd", "lz4")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tool", ["dracut", "initramfs-tools", "mkinitrd"])
def test_the_modules_of_an_initrd_are_read(systems: t.Any, tmp_path: Path, kind: str, tool: str) -> None:
    found = read(tmp_path, systems.initrd(kind, "6.1.0-18-amd64", tool, MODULES))
    assert found.modules == {"virtio_ring", "virtio_pci", "virtio_blk", "xen_blkfront"}
    assert found.compression == (("none", kind) if tool == "dracut" else (kind,))
    assert found.tool == tool
    assert found.kernels == (() if tool == "mkinitrd" else ("6.1.0-18-amd64",))
    assert found.order == (("virtio_ring", "virtio_pci", "virtio_blk", "xen_blkfront") if tool == "mkinitrd" else ())


@pytest.mark.needs("cpio", "gzip")
def test_an_archive_of_cpio_itself_is_read(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "lib" / "modules" / "5.10" / "kernel").mkdir(parents=True)
    (tree / "lib" / "modules" / "5.10" / "kernel" / "xen-netfront.ko.xz").write_bytes(b"x" * 5000)
    (tree / "conf").mkdir()
    (tree / "conf" / "modules").write_text("# first\nxen-netfront\n")
    packed = subprocess.run(
        "find . | cpio -o -H newc --quiet | gzip", shell=True, cwd=tree, check=True, capture_output=True
    )
    found = read(tmp_path, packed.stdout + bytes(700))
    assert found.modules == {"xen_netfront"}
    assert (found.kernels, found.order) == (("5.10",), ("xen_netfront",))


def test_several_archives_one_after_the_other_are_one_initrd(systems: t.Any, tmp_path: Path) -> None:
    first = systems.cpio({"kernel/x86/microcode/AuthenticAMD.bin": b"x"})
    second = systems.compress("gzip", systems.cpio({"lib/modules/6.1/a.ko": b""}) + bytes(512))
    third = systems.compress("xz", systems.cpio({"lib/modules/6.1/b.ko.zst": b""}))
    found = read(tmp_path, first + bytes(1024) + second + bytes(4) + third)
    assert found.modules == {"a", "b"}
    assert found.compression == ("none", "gzip", "xz")


@pytest.mark.needs("zstd")
@pytest.mark.parametrize("kind", ["none", "gzip", "xz", "zstd"])
def test_an_initrd_that_ends_too_early_is_refused(systems: t.Any, tmp_path: Path, kind: str) -> None:
    whole = systems.initrd(kind, "6.1", "dracut", [f"module{number}" for number in range(300)])
    for size in (len(whole) // 2, len(whole) - len(whole) // 8):
        assert refusal(tmp_path, whole[:size]) == "guest_malformed"


def test_what_is_no_initrd_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"#!/bin/sh\nexit 0\n") == "guest_malformed"
    assert refusal(tmp_path, b"070701" + b"Z" * 200) == "guest_malformed"


def test_one_that_unpacks_without_end_is_refused_in_bounded_memory(systems: t.Any, tmp_path: Path) -> None:
    """Two GiB of zeros are two MB of gzip."""
    header = systems.cpio({"bomb": b""})[:110]
    size = b"%08X" % (2 * 1024**3 - 4)
    bomb = header[:54] + size + header[62:] + b"bomb\0\0"
    with gzip.open(tmp_path / "initrd", "wb", compresslevel=1) as file:
        file.write(bomb)
    assert refusal(tmp_path, (tmp_path / "initrd").read_bytes()) == "guest_too_large"


def test_names_without_end_are_refused(systems: t.Any, tmp_path: Path) -> None:
    header = systems.cpio({"name": b""})[:110]
    assert refusal(tmp_path, header[:94] + b"7FFFFFFF" + header[102:]) == "guest_too_large"


@settings(max_examples=150, deadline=None)
@given(
    octets=st.one_of(st.binary(max_size=300), st.binary(max_size=300).map(lambda rest: b"070701" + b"0" * 104 + rest))
)
def test_any_octets_are_read_or_refused(octets: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.getbasetemp()
    try:
        read(directory, octets)
    except GuestError as error:
        assert error.code in ("guest_malformed", "guest_too_large", "tool_missing")
