# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacking: every compression and archive gives the disk back; bombs, cuts, and archives with tricks are refused."""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import resource
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks import compression
from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks.formats import parse_format
from ansible_collections.hepix.vmimages.plugins.module_utils._core.disks.unpack import unpack

from .conftest import DISK, code_of

MEBI = 1024 * 1024


def _zstd(octets: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=octets, check=True, capture_output=True).stdout


COMPRESS: dict[str, t.Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": _zstd,
}
KINDS = [pytest.param(kind, marks=pytest.mark.needs("zstd") if kind == "zst" else ()) for kind in compression._DECODERS]


def _archive(*members: tuple[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, octets in members:
            member = tarfile.TarInfo(name)
            member.size = len(octets)
            archive.addfile(member, io.BytesIO(octets))
    return stream.getvalue()


def _unpack(tmp_path: Path, octets: bytes, stated: str, **options: t.Any) -> bytes:
    source, work = tmp_path / "source", tmp_path / "work"
    source.write_bytes(octets)
    work.mkdir(exist_ok=True)
    for path in work.iterdir():
        path.unlink()
    found = unpack(source, parse_format(stated), work, **options)
    return found.path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_every_compression_gives_the_disk_back(tmp_path: Path, kind: str) -> None:
    assert _unpack(tmp_path, COMPRESS[kind](DISK), f"RAW.{kind}") == DISK


@pytest.mark.parametrize("kind", KINDS)
def test_several_streams_and_padding_are_one_file(tmp_path: Path, kind: str) -> None:
    octets = COMPRESS[kind](DISK[:MEBI]) + COMPRESS[kind](DISK[MEBI:]) + (bytes(512) if kind != "zst" else b"")
    assert _unpack(tmp_path, octets, f"raw.{kind}") == DISK


def test_gzip_is_read_without_its_fast_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "isal.igzip_lib", None)
    octets = gzip.compress(DISK[:MEBI]) + gzip.compress(DISK[MEBI:])
    assert _unpack(tmp_path, octets, "raw.gz") == DISK
    assert code_of(lambda: _unpack(tmp_path, octets[:-20], "raw.gz")) == "unpack_failed"


def test_without_a_library_zstd_is_refused_with_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in compression._ZSTD_MODULES:
        monkeypatch.setitem(sys.modules, name, None)
    assert code_of(lambda: _unpack(tmp_path, b"\x28\xb5\x2f\xfd", "raw.zst")) == "library_missing"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_or_damaged_stream_is_refused(tmp_path: Path, kind: str) -> None:
    octets = COMPRESS[kind](DISK)
    damaged = bytearray(octets)
    damaged[len(octets) // 2] ^= 0x55
    for wrong in (b"", octets[: len(octets) // 2], octets[:-1], bytes(damaged), octets + b"more", b"no stream at all"):
        assert code_of(lambda wrong=wrong: _unpack(tmp_path, wrong, f"raw.{kind}")) == "unpack_failed"  # type: ignore[misc]
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_is_refused_at_the_cap_in_little_memory(tmp_path: Path, kind: str) -> None:
    bomb = COMPRESS[kind](bytes(80 * MEBI))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert code_of(lambda: _unpack(tmp_path, bomb, f"raw.{kind}", most=8 * MEBI)) == "unpacked_too_large"
    assert list((tmp_path / "work").iterdir()) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 * 1024


@pytest.mark.parametrize("kind", ["bz2", "xz"])
def test_a_bomb_is_refused_for_its_ratio(tmp_path: Path, kind: str) -> None:
    bomb = COMPRESS[kind](bytes(80 * MEBI))
    assert code_of(lambda: _unpack(tmp_path, bomb, f"raw.{kind}")) == "unpacked_too_large"


def test_zeros_take_no_room(tmp_path: Path) -> None:
    _unpack(tmp_path, gzip.compress(bytes(20 * MEBI) + b"end"), "raw.gz")
    found = (tmp_path / "work" / "disk").stat()
    assert found.st_size == 20 * MEBI + 3
    assert found.st_blocks * 512 < MEBI


def test_a_guard_ends_the_work(tmp_path: Path) -> None:
    def guard(done: int) -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        _unpack(tmp_path, gzip.compress(bytes(20 * MEBI)), "raw.gz", guard=guard)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("stated", ["ova", "tar"])
@pytest.mark.parametrize("packed", ["", ".gz", ".xz"])
def test_the_one_disk_of_an_archive(tmp_path: Path, stated: str, packed: str) -> None:
    octets = _archive(("box.ovf", b"<Envelope/>"), ("box.mf", b"SHA1"), ("disk1.img", DISK))
    if packed:
        octets = COMPRESS[packed[1:]](octets)
    assert _unpack(tmp_path, octets, stated + packed) == DISK


def test_a_compressed_disk_in_an_archive(tmp_path: Path) -> None:
    octets = _archive(("box.ovf", b"<Envelope/>"), ("disk1.raw.gz", gzip.compress(DISK)))
    assert _unpack(tmp_path, octets, "ova") == DISK
    bomb = _archive(("disk1.raw.gz", gzip.compress(bytes(80 * MEBI))))
    assert code_of(lambda: _unpack(tmp_path, bomb, "ova", most=8 * MEBI)) == "unpacked_too_large"


@pytest.mark.parametrize("names", [(), ("a.ovf",), ("a.vmdk", "b.vmdk"), ("a.vmdk", "c/b.qcow2.gz")])
def test_an_archive_without_exactly_one_disk_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    octets = _archive(*((name, b"x") for name in names))
    assert code_of(lambda: _unpack(tmp_path, octets, "ova")) == "archive_disks"


@pytest.mark.parametrize("name", ["../../disk.raw", "/etc/disk.raw", "a/../../disk.raw", "a\\..\\disk.raw", "a\n.raw"])
def test_names_that_lead_outside_are_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    assert code_of(lambda: _unpack(tmp_path, _archive((name, DISK)), "tar")) == "archive_unsafe"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "work"]
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("disk.raw")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    assert code_of(lambda: _unpack(tmp_path, stream.getvalue(), "tar")) == "archive_unsafe"


def test_a_sea_of_members_is_refused(tmp_path: Path) -> None:
    octets = _archive(*((f"{number}.txt", b"") for number in range(1100)))
    assert code_of(lambda: _unpack(tmp_path, octets, "tar")) == "archive_unsafe"


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    member = tarfile.TarInfo(name)
    member.size, member.type = size, kind
    return member.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_monstrous_headers_are_refused_in_little_memory(tmp_path: Path, kind: bytes) -> None:
    size = 80 * MEBI
    octets = gzip.compress(_header("x", size, kind) + bytes(size) + _header("disk.raw", 0) + bytes(1024), 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert code_of(lambda: _unpack(tmp_path, octets, "tar.gz")) == "archive_unsafe"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30 * 1024


def test_a_chain_of_headers_is_refused(tmp_path: Path) -> None:
    link = _header("././@LongLink", 1, tarfile.GNUTYPE_LONGNAME) + b"x".ljust(512, b"\0")
    assert code_of(lambda: _unpack(tmp_path, link * 3000 + _header("disk.raw", 0), "tar")) == "unpack_failed"


def _sparse(size: int) -> bytes:
    """An archive of a few octets whose one member is a file of zeros of that size (GNU sparse format 1.0)."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("disk.raw")
        content = b"1\n%d\n0\n".ljust(512, b"\0") % size
        member.size = len(content)
        stated = {"major": "1", "minor": "0", "name": "disk.raw", "realsize": str(size)}
        member.pax_headers = {f"GNU.sparse.{key}": text for key, text in stated.items()}
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_a_bomb_of_holes_is_refused_for_its_ratio(tmp_path: Path) -> None:
    assert _unpack(tmp_path, _sparse(MEBI), "tar") == bytes(MEBI)
    assert code_of(lambda: _unpack(tmp_path, _sparse(1 << 40), "tar", most=1 << 50)) == "unpacked_too_large"


def test_nesting_does_not_multiply_the_ratio(tmp_path: Path) -> None:
    inner = _archive(("disk.raw.gz", gzip.compress(bytes(80 * MEBI))))
    assert code_of(lambda: _unpack(tmp_path, gzip.compress(inner), "tar.gz")) == "unpacked_too_large"


@pytest.mark.parametrize("kind", KINDS)
def test_a_sea_of_tiny_streams_is_refused(tmp_path: Path, kind: str) -> None:
    octets = COMPRESS[kind](b"") * 12_000
    assert code_of(lambda: _unpack(tmp_path, octets, f"raw.{kind}")) == "unpack_failed"


def test_many_streams_of_a_usual_size_are_one_file(tmp_path: Path) -> None:
    octets = gzip.compress(bytes(4200)) * 11_000
    assert len(_unpack(tmp_path, octets, "raw.gz")) == 4200 * 11_000


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    octets = _archive(("disk.raw", DISK))
    for wrong in (b"no archive", octets[:700], octets[: len(octets) // 2]):
        assert code_of(lambda wrong=wrong: _unpack(tmp_path, wrong, "tar")) == "unpack_failed"  # type: ignore[misc]


def test_the_fast_libraries_are_what_the_tests_ran_with() -> None:
    for name in ("isal.igzip_lib", "backports.zstd" if sys.version_info < (3, 14) else "compression.zstd"):
        importlib.import_module(name)
