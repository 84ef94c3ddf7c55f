# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same disk has the same octets everywhere, and every tool that reads ISO images reads it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pycdlib
import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import ContextError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.iso.image import (
    read_image,
    write_image,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.tree import Disk, Entry

NAMES = {
    "context.sh": b"A='1'\n",
    "prolog.sh": b"#!/bin/sh\n",
    "user-data": b"#cloud-config\n",
    "a-rather-long-name-with.many.dots-and+signs_0123456789.conf": b"long",
    "a-rather-long-name-with.many.dots-and+signs_0123456780.conf": b"long, too",
    "UPPER.txt": b"",
    "openstack/latest/meta_data.json": b"{}",
    "openstack/latest/user_data": bytes(range(256)) * 300,
    "packages/batch-client-1.0-1.noarch.rpm": b"rpm",
}
DISK = Disk(
    "CONTEXT", {path: Entry(octets, 0o500 if path.endswith(".sh") else 0o400) for path, octets in NAMES.items()}
)
DATE = 1_234_567_890

#: Writes the disk of a JSON list of [path, mode, hexadecimal octets] in a process of its own.
WRITE = """
import json, os, sys, hashlib
os.umask(int(sys.argv[2], 8))
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.iso.image import write_image
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.tree import Disk, Entry
entries = {path: Entry(bytes.fromhex(octets), mode) for path, mode, octets in json.load(sys.stdin)}
print(hashlib.sha512(write_image(Disk("CONTEXT", entries), int(sys.argv[1]))).hexdigest())
"""


def run(*command: str | Path, **options: t.Any) -> str:
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=60, **options)
    return str(done.stdout)


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "disk.iso"
    path.write_bytes(write_image(DISK, DATE))
    return path


@pytest.mark.parametrize(
    ("zone", "umask", "order"), [("UTC", "022", 1), ("Asia/Kathmandu", "077", -1), ("America/St_Johns", "000", 1)]
)
def test_the_octets_depend_on_the_contents_alone(image: Path, zone: str, umask: str, order: int) -> None:
    """Another process, time zone, umask, second of the day, hash seed and order of the files."""
    entries = [[path, entry.mode, entry.octets.hex()] for path, entry in DISK.entries.items()][::order]
    environment = {**os.environ, "TZ": zone, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONHASHSEED": umask}
    written = run(sys.executable, "-c", WRITE, str(DATE), umask, input=json.dumps(entries), env=environment)
    assert written.strip() == hashlib.sha512(image.read_bytes()).hexdigest()


def test_every_date_is_the_source_date(image: Path) -> None:
    """As pycdlib reads it."""
    iso = pycdlib.PyCdlib()
    iso.open(str(image))
    moment = (2009 - 1900, 2, 13, 23, 31, 30, 0)
    for way in ("rr_path", "joliet_path"):
        for directory, folders, files in iso.walk(**{way: "/"}):
            for name in [*folders, *files]:
                record: t.Any = iso.get_record(**{way: f"{directory.rstrip('/')}/{name}"})
                date = record.date
                found = (date.years_since_1900, date.month, date.day_of_month, date.hour, date.minute, date.second)
                assert (*found, date.gmtoffset) == moment
    assert iso.pvd.volume_creation_date.record() == iso.pvd.volume_modification_date.record()
    assert iso.pvd.volume_creation_date.record() == b"2009021323313000\0"
    iso.close()


@pytest.mark.needs("xorriso")
def test_xorriso_sees_the_date_in_rock_ridge(image: Path) -> None:
    listed = run(
        "xorriso", "-indev", image, "-find", "/", "-exec", "lsdl", env={**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    )
    lines = [line for line in listed.splitlines() if line.startswith(("-", "d"))]
    assert len(lines) == len(NAMES) + 4
    assert all("Feb 13  2009" in line for line in lines)


@pytest.mark.needs("genisoimage")
@pytest.mark.parametrize("names", ["-R", "-J"])
def test_isoinfo_extracts_every_file(image: Path, names: str) -> None:
    for path, octets in NAMES.items():
        done = subprocess.run(
            ["isoinfo", names, "-i", image, "-x", f"/{path}"], check=True, capture_output=True, timeout=30
        )
        assert done.stdout == octets


@pytest.mark.needs("xorriso")
def test_xorriso_extracts_the_tree(image: Path, tmp_path: Path) -> None:
    run("xorriso", "-osirrox", "on", "-indev", image, "-extract", "/", tmp_path / "tree")
    assert _tree(tmp_path / "tree") == NAMES
    assert (tmp_path / "tree/prolog.sh").stat().st_mode & 0o7777 == 0o500


@pytest.mark.needs("bsdtar")
def test_bsdtar_extracts_the_tree(image: Path, tmp_path: Path) -> None:
    run("bsdtar", "-xf", image, "-C", tmp_path)
    assert _tree(tmp_path) == NAMES


def _tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.needs("blkid")
@pytest.mark.parametrize("label", ["CONTEXT", "cidata", "CIDATA", "config-2", "A.b_C-1", "sixteen-letters_"])
def test_blkid_finds_type_and_label(label: str, tmp_path: Path) -> None:
    """Readers ask it: one-context and cloud-init find the disk by these."""
    path = tmp_path / "disk.iso"
    path.write_bytes(write_image(Disk(label, DISK.entries), 0))
    assert run("blkid", "-p", "-o", "value", "-s", "LABEL", path) == f"{label}\n"
    assert run("blkid", "-p", "-o", "value", "-s", "TYPE", path) == "iso9660\n"


def test_what_is_written_is_read_again(image: Path) -> None:
    found = read_image(image.read_bytes(), "it")
    assert {path: (entry.octets, entry.mode) for path, entry in found.entries.items()} == {
        path: (entry.octets, entry.mode) for path, entry in DISK.entries.items()
    }
    assert (found.label, found.names, found.joliet) == ("CONTEXT", "rock_ridge", True)


def test_a_disk_may_be_empty() -> None:
    assert read_image(write_image(Disk("CONTEXT"), 0), "it").entries == {}


def test_many_files_with_alike_names_stay_apart() -> None:
    """Their plain names would be the same within 30 characters; directories grow beyond one sector."""
    entries = {f"{'x' * 50}-{number}.conf": Entry(str(number).encode()) for number in range(150)}
    found = read_image(write_image(Disk("CONTEXT", entries), 0), "it")
    assert {path: entry.octets for path, entry in found.entries.items()} == {
        path: entry.octets for path, entry in entries.items()
    }


@pytest.mark.parametrize("cut", [0, 1, 100, 32768, 34816, 40000, 60000])
def test_what_is_cut_off_is_refused_or_short(image: Path, cut: int) -> None:
    octets = image.read_bytes()[:cut]
    with pytest.raises(ContextError, match="it is not an ISO 9660 image"):
        read_image(octets, "it")


def test_damage_is_a_refusal_and_no_crash(image: Path) -> None:
    octets = bytearray(image.read_bytes())
    refused = 0
    for position in range(0x8000, 0x8000 + 2048 * 30, 37):
        damaged = bytearray(octets)
        damaged[position] ^= 0xFF
        try:
            read_image(bytes(damaged), "it")
        except ContextError as error:
            refused += 1
            assert error.code == "context_unreadable"
    assert refused > 10


def test_the_reader_is_not_fooled_by_links(tmp_path: Path) -> None:
    iso = pycdlib.PyCdlib()
    iso.new(rock_ridge="1.09", vol_ident="CONTEXT")
    iso.add_symlink("/LINK.;1", rr_symlink_name="context.sh", rr_path="/etc/passwd")
    iso.add_fp(io.BytesIO(b"x"), 1, "/FILE.;1", rr_name="file")
    written = io.BytesIO()
    iso.write_fp(written)
    iso.close()
    assert list(read_image(written.getvalue(), "it").entries) == ["file"]
