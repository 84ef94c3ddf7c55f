# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""rpm's databases are read to their end, or refused."""

from __future__ import annotations

import random
import shutil
import sqlite3
import struct
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.listing import read_databases
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.model import Database
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

pytestmark = pytest.mark.needs("rpmbuild", "db_load")

SPEC = """\
Name: {name}
{epoch}
Version: 1.5
Release: 3.el9
Summary: Nothing
License: GPLv2+
Vendor: Example VO
BuildArch: noarch
%description
{text}
%files
"""


@pytest.fixture(scope="session")
def written_by_rpm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a database in SQLite, with the packages synthetic (epoch 2) and second."""
    work = tmp_path_factory.mktemp("rpm")
    # The second record is small enough to lie within a page of Berkeley DB, the first is longer than several.
    for name, epoch, text in (("synthetic", "Epoch: 2", "long " * 4000), ("second", "", "short")):
        (work / f"{name}.spec").write_text(SPEC.format(name=name, epoch=epoch, text=text))
        command = ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {work}", f"{work / name}.spec"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    files = sorted(str(path) for path in (work / "RPMS").rglob("*.rpm"))
    base = ["rpm", "--dbpath", str(work / "db"), "--define", "_db_backend sqlite"]
    subprocess.run([*base, "--initdb"], check=True, capture_output=True, timeout=60)
    subprocess.run(
        [*base, "-i", "--justdb", "--nodeps", "--ignorearch", "--force-debian", *files],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return work / "db"


@pytest.fixture(scope="session")
def records(written_by_rpm: Path) -> dict[int, bytes]:
    """rpm's own records by their number."""
    with sqlite3.connect(written_by_rpm / "rpmdb.sqlite") as database:
        return dict(database.execute("SELECT hnum, blob FROM Packages"))


def berkeley(records: t.Mapping[int, bytes], target: Path, *, order: str = "<") -> None:
    """The records in a hash that Berkeley DB's own tool makes."""
    number = 1234 if order == "<" else 4321
    every = {0: b"\0" * 4, **records}
    rows = [f" {struct.pack(order + 'I', key).hex()}\n {value.hex()}\n" for key, value in every.items()]
    head = f"VERSION=3\nformat=bytevalue\ntype=hash\ndb_lorder={number}\ndb_pagesize=4096\nHEADER=END\n"
    dump = head + "".join(rows) + "DATA=END\n"
    subprocess.run(["db_load", str(target)], input=dump, text=True, check=True, capture_output=True, timeout=60)


def ndb(records: t.Mapping[int, bytes]) -> bytes:
    """The records as the description of the format has them; no tool of Debian writes it."""
    slots, blobs, block = b"", b"", 4096 // 16
    for number, value in records.items():
        padded = value + b"\0" * (-(len(value) + 28) % 16)
        blob = struct.pack("<4sIII", b"BlbS", number, 1, len(value)) + padded
        blob += struct.pack("<II4s", 0, len(value), b"BlbE")
        slots += struct.pack("<4sIII", b"Slot", number, block, len(blob) // 16)
        blobs, block = blobs + blob, block + len(blob) // 16
    free = (4096 - 32 - len(slots)) // 16
    return struct.pack("<4sIII16x", b"RpmP", 0, 1, 1) + slots + struct.pack("<4sIII", b"Slot", 0, 0, 0) * free + blobs


FILES = {"sqlite": "rpmdb.sqlite", "ndb": "Packages.db", "bdb": "Packages"}


def place(tmp_path: Path, where: str = "var/lib/rpm") -> Path:
    directory = tmp_path / "system" / where
    directory.mkdir(parents=True)
    return directory


def read(tmp_path: Path) -> tuple[Database, ...]:
    with Root(tmp_path / "system") as root:
        return read_databases(root)


def write(directory: Path, kind: str, written_by_rpm: Path, records: t.Mapping[int, bytes]) -> Path:
    target = directory / FILES[kind]
    if kind == "sqlite":
        shutil.copy(written_by_rpm / "rpmdb.sqlite", target)
    elif kind == "ndb":
        target.write_bytes(ndb(records))
    else:
        berkeley(records, target)
    return target


@pytest.mark.parametrize("kind", FILES)
def test_every_package_is_listed(tmp_path: Path, written_by_rpm: Path, records: dict[int, bytes], kind: str) -> None:
    write(place(tmp_path), kind, written_by_rpm, records)
    (database,) = read(tmp_path)
    assert (database.path, database.format) == (f"/var/lib/rpm/{FILES[kind]}", kind)
    found = {package.name: package for package in database.packages}
    assert set(found) == {"synthetic", "second"}
    package = found["synthetic"]
    assert (package.epoch, package.version, package.release, package.arch) == (2, "1.5", "3.el9", "noarch")
    assert (package.vendor, package.licence, package.source) == ("Example VO", "GPLv2+", "synthetic-1.5-3.el9.src.rpm")
    assert found["second"].epoch is None and found["second"].full_version == "1.5-3.el9"


def test_a_big_endian_database_is_read(tmp_path: Path, records: dict[int, bytes]) -> None:
    berkeley(records, place(tmp_path) / "Packages", order=">")
    assert len(read(tmp_path)[0].packages) == 2


def test_many_packages_over_many_pages(tmp_path: Path, records: dict[int, bytes]) -> None:
    many = {number: records[1 + number % 2] for number in range(1, 400)}
    berkeley(many, place(tmp_path) / "Packages")
    assert len(read(tmp_path)[0].packages) == 399


def test_what_is_only_in_the_write_ahead_log_is_listed(tmp_path: Path, records: dict[int, bytes]) -> None:
    directory = place(tmp_path)
    database = sqlite3.connect(tmp_path / "live.sqlite")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
    database.executemany("INSERT INTO Packages VALUES (?, ?)", records.items())
    database.commit()
    for tail in ("", "-wal"):
        shutil.copy(tmp_path / f"live.sqlite{tail}", directory / f"rpmdb.sqlite{tail}")
    database.close()
    before = sorted((path.name, path.read_bytes()) for path in directory.iterdir())
    assert len(read(tmp_path)[0].packages) == 2
    assert sorted((path.name, path.read_bytes()) for path in directory.iterdir()) == before


def test_a_database_that_is_linked_is_listed_once(tmp_path: Path, written_by_rpm: Path) -> None:
    write(place(tmp_path, "usr/lib/sysimage/rpm"), "sqlite", written_by_rpm, {})
    (tmp_path / "system/var/lib").mkdir(parents=True)
    (tmp_path / "system/var/lib/rpm").symlink_to("/usr/lib/sysimage/rpm")
    (database,) = read(tmp_path)
    assert database.path == "/usr/lib/sysimage/rpm/rpmdb.sqlite"


@pytest.mark.parametrize("kind", FILES)
def test_a_database_without_a_package_is_refused(tmp_path: Path, written_by_rpm: Path, kind: str) -> None:
    target = write(place(tmp_path), kind, written_by_rpm, {})
    if kind == "sqlite":
        with sqlite3.connect(target) as database:
            database.execute("DELETE FROM Packages")
    with pytest.raises(GuestError) as refused:
        read(tmp_path)
    assert refused.value.code == "packages_missing"


@pytest.mark.parametrize("kind", FILES)
def test_a_database_that_is_cut_off_is_refused(
    tmp_path: Path, written_by_rpm: Path, records: dict[int, bytes], kind: str
) -> None:
    target = write(place(tmp_path), kind, written_by_rpm, records)
    octets = target.read_bytes()
    for part in (0, 3, 40, len(octets) // 2, len(octets) - 4096):
        target.write_bytes(octets[:part])
        with pytest.raises(GuestError) as refused:
            read(tmp_path)
        assert refused.value.code == "packages_malformed", part


@pytest.mark.parametrize("kind", FILES)
def test_a_damaged_database_is_read_or_refused(
    tmp_path: Path, written_by_rpm: Path, records: dict[int, bytes], kind: str
) -> None:
    target = write(place(tmp_path), kind, written_by_rpm, records)
    octets = target.read_bytes()
    chance = random.Random(7)
    for _number in range(150):
        damaged = bytearray(octets)
        for _count in range(chance.choice((1, 8, 64))):
            damaged[chance.randrange(min(len(damaged), 8192))] = chance.randrange(256)
        target.write_bytes(damaged)
        try:
            read(tmp_path)
        except GuestError as error:
            assert error.code in {"packages_malformed", "packages_missing"}


def test_a_value_that_leads_in_a_circle_is_refused(tmp_path: Path, records: dict[int, bytes]) -> None:
    target = place(tmp_path) / "Packages"
    berkeley(records, target)
    octets = bytearray(target.read_bytes())
    overflow = [page for page in range(0, len(octets), 4096) if octets[page + 25] == 7]
    for page in overflow:
        struct.pack_into("<I", octets, page + 16, overflow[0] // 4096)
    target.write_bytes(octets)
    with pytest.raises(GuestError) as refused:
        read(tmp_path)
    assert refused.value.code == "packages_malformed"


@pytest.mark.parametrize(
    "program",
    [
        "CREATE VIEW Packages AS WITH RECURSIVE n(hnum) AS (SELECT 1 UNION ALL SELECT hnum + 1 FROM n)"
        " SELECT hnum, zeroblob(1000) AS blob FROM n",
        "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob AS (zeroblob(1000000000)))",
    ],
)
def test_a_database_that_is_a_program_is_not_run(tmp_path: Path, program: str) -> None:
    with sqlite3.connect(place(tmp_path) / "rpmdb.sqlite") as database:
        database.execute(program)
    with pytest.raises(GuestError) as refused:
        read(tmp_path)
    assert refused.value.code == "packages_malformed"
