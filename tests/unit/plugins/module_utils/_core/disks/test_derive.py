# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From endorsed files to disks in other formats: the same disk inside, whatever the way, and nothing of the host."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks import qemu
from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks.derive import derive
from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks.formats import (
    WANTED,
    parse_format,
    parse_wanted,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks.headers import Disk

from .conftest import DISK, code_of, content, make, qemu_img

pytestmark = pytest.mark.needs("qemu-img")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    made = tmp_path / "a work, with commas: and {braces}"
    made.mkdir()
    return made


@pytest.mark.parametrize("kind", WANTED)
def test_every_format_becomes_every_other(tmp_path: Path, work: Path, kind: str) -> None:
    source = make(tmp_path, kind)
    wanted = [name for name in WANTED if name != kind]
    made = list(derive(source, parse_format(kind), wanted, work))
    assert [item.format for item in made] == wanted
    for item in made:
        assert content(item.path, item.format) == DISK
        assert (item.size, item.virtual_size) == (item.path.stat().st_size, len(DISK))
        assert item.sha512 == hashlib.sha512(item.path.read_bytes()).hexdigest()
        assert item.path.stat().st_mode & 0o777 == 0o644


def test_an_ova_becomes_what_the_site_wants_and_its_disk_too(tmp_path: Path, work: Path) -> None:
    disk = make(tmp_path, "vmdk", "-o", "subformat=streamOptimized")
    source = tmp_path / "box.ova"
    with tarfile.open(source, "w") as archive:
        archive.add(disk, "box-disk1.vmdk")
    made = {item.format: item for item in derive(source, parse_format("ova"), ["vmdk", "qcow2", "raw"], work)}
    assert made["raw"].path.read_bytes() == DISK
    assert made["vmdk"].path.read_bytes() == disk.read_bytes()
    assert content(made["qcow2"].path, "qcow2") == DISK


def test_a_compressed_raw_disk_is_unpacked_and_not_converted(
    tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(qemu.ENVIRONMENT, "PATH", "/nonexistent")
    source = tmp_path / "disk.gz"
    source.write_bytes(gzip.compress(DISK))
    (made,) = derive(source, parse_format("raw.gz"), ["raw"], work)
    assert made.sha512 == hashlib.sha512(DISK).hexdigest()
    source = make(tmp_path, "raw")
    assert code_of(lambda: list(derive(source, parse_format("raw"), ["qcow2"], work))) == "converter_missing"


@pytest.mark.parametrize("kind", ["qcow2", "qcow2.gz", "tar"])
def test_a_backing_file_is_refused_before_qemu_sees_it(
    tmp_path: Path, work: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "shadow"
    secret.write_bytes(b"root:secret".ljust(65536, b"\0"))
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", image)
    if kind == "qcow2.gz":
        image.write_bytes(gzip.compress(image.read_bytes()))
    if kind == "tar":
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            archive.add(image, "image.qcow2")
        image.write_bytes(stream.getvalue())
    monkeypatch.setattr(qemu, "convert", lambda *_arguments, **_options: pytest.fail("it was converted"))
    assert code_of(lambda: list(derive(image, parse_format(kind), ["raw"], work))) == "backing_file"


def test_what_passed_the_checks_is_cut_off_all_the_same(tmp_path: Path, work: Path) -> None:
    secret = tmp_path / "shadow"
    secret.write_bytes(b"root:secret".ljust(65536, b"\0"))
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-f", "qcow2", "-b", secret, "-F", "raw", image)
    target = work / "image.raw"
    qemu.convert(image, Disk("qcow2", 65536), target, "raw")
    assert b"secret" not in target.read_bytes()


def test_a_disk_that_states_a_monstrous_size_is_refused(tmp_path: Path, work: Path) -> None:
    image = tmp_path / "image.qcow2"
    qemu_img("create", "-f", "qcow2", image, "1P")
    assert code_of(lambda: list(derive(image, parse_format("qcow2"), ["raw"], work))) == "unpacked_too_large"
    assert list(work.iterdir()) == []


def test_a_damaged_disk_is_a_refusal_that_leaves_nothing(tmp_path: Path, work: Path) -> None:
    image = make(tmp_path, "qcow2")
    octets = bytearray(image.read_bytes())
    first_table = int.from_bytes(octets[40:48], "big")
    octets[first_table : first_table + 8] = (1 << 63 | 0x12345).to_bytes(8, "big")  # an entry that no table can have
    image.write_bytes(octets)
    assert code_of(lambda: list(derive(image, parse_format("qcow2"), ["raw"], work))) == "convert_failed"
    assert list(work.iterdir()) == []


def _children() -> set[str]:
    """The numbers of this process's children, those that nobody has waited for included."""
    return {number for task in Path("/proc/self/task").iterdir() for number in (task / "children").read_text().split()}


def test_an_interruption_kills_the_program(tmp_path: Path, work: Path) -> None:
    image = tmp_path / "image.raw"
    with image.open("wb") as stream:
        for _block in range(64):
            stream.write(os.urandom(1024 * 1024))
    calls = []
    # Other tests of this process may have something running.
    before = _children()

    def guard(done: int) -> None:
        calls.append(done)
        assert _children() > before
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(derive(image, parse_format("raw"), ["qcow2"], work, guard=guard))
    assert calls and list(work.iterdir()) == []
    assert _children() <= before


@pytest.mark.needs("root", "/etc/passwd")
def test_the_program_runs_as_the_user_that_root_acts_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "qemu-img"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nid -ru >&2\nid -u >&2\necho $(id -ru) $(id -u) >&2\nexit 1\n")
    program.chmod(0o755)
    for directory in (program.parent, tmp_path, *tmp_path.parents):
        if directory != Path(directory.anchor):
            directory.chmod(directory.stat().st_mode | 0o055)
    monkeypatch.setitem(qemu.ENVIRONMENT, "PATH", f"{program.parent}:/usr/bin:/bin")
    os.setegid(65534)
    os.seteuid(65534)
    try:
        with pytest.raises(Exception, match="65534 65534"):
            qemu.convert(tmp_path / "x", Disk("raw", 1), tmp_path / "y", "qcow2")
    finally:
        os.seteuid(0)
        os.setegid(0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RAW", "raw"),
        ("Qcow2.XZ", "qcow2.xz"),
        ("vpc", "vhd"),
        (".vhd", "vhd"),
        ("tgz", "tar.gz"),
        ("ova.zst", "ova.zst"),
    ],
)
def test_formats_as_lists_state_them(text: str, told: str) -> None:
    assert str(parse_format(text)) == told


@pytest.mark.parametrize("text", [None, "", "iso", "qcow2.gz.gz", "gz", "raw.qcow2", "../raw"])
def test_a_format_that_is_not_known_is_refused_and_never_guessed(text: t.Any) -> None:
    assert code_of(lambda: parse_format(text)) == "format_unknown"


def test_formats_that_a_site_asks_for() -> None:
    assert parse_wanted(["vpc", "raw", "RAW"]) == ("raw", "vhd")
    with pytest.raises(ValueError, match="none of raw, qcow2"):
        parse_wanted(["ova"])
