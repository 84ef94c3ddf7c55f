# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""dpkg's database is read to its end, or refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.listing import read_databases
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.model import Database
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

STATUS = """\
Package: bash
Status: install ok installed
Maintainer: Matthias Klose <doko@debian.org>
Architecture: amd64
Source: bash (5.2)
Version: 5.2.15-2+b7
Conffiles:
 /etc/skel/.bashrc 1f98b8f3f3c8f8927eca945d59dcc1c6
Description: GNU Bourne Again SHell
 Bash is an sh-compatible command language interpreter.

Package: gone
Status: deinstall ok config-files
Version: 1

Package: vim
Status: install ok installed
Architecture: amd64
Version: 2:9.0-1378-2
"""


def read(tmp_path: Path) -> tuple[Database, ...]:
    with Root(tmp_path) as root:
        return read_databases(root)


def write(tmp_path: Path, text: str, name: str = "status") -> None:
    path = tmp_path / "var/lib/dpkg" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_is_installed_is_listed(tmp_path: Path) -> None:
    write(tmp_path, STATUS)
    notes = tmp_path / "usr/share/doc/bash/copyright"
    notes.parent.mkdir(parents=True)
    notes.write_text("Format: https://x\n\nFiles: *\nLicense: GPL-3+\n text\n\nFiles: b\nLicense: Expat\n")
    (database,) = read(tmp_path)
    bash, vim = database.packages
    assert (bash.name, bash.full_version, bash.release, bash.arch) == ("bash", "5.2.15-2+b7", "2+b7", "amd64")
    assert (bash.licence, bash.source) == ("GPL-3+, Expat", "bash (5.2)")
    assert (vim.epoch, vim.version, vim.release) == (2, "9.0-1378", "2")


def test_an_image_made_without_dpkg_is_listed(tmp_path: Path) -> None:
    write(tmp_path, "Package: tzdata\nVersion: 2024a\nArchitecture: all\n", "status.d/tzdata")
    write(tmp_path, "0123  usr/share/zoneinfo/UTC\n", "status.d/tzdata.md5sums")
    (database,) = read(tmp_path)
    assert database.format == "dpkg-status.d"
    assert [(package.name, package.full_version) for package in database.packages] == [("tzdata", "2024a")]


@pytest.mark.needs("dpkg-query", "/var/lib/dpkg/status")
def test_the_builders_own_packages_are_those_that_dpkg_lists() -> None:
    shown = "${binary:Package}\t${Architecture}\t${Version}\t${db:Status-Status}\n"
    answer = subprocess.run(["dpkg-query", "-W", "-f", shown], check=True, capture_output=True, text=True, timeout=60)
    rows = [row.split("\t") for row in answer.stdout.splitlines()]
    wanted = sorted((name.split(":")[0], arch, version) for name, arch, version, state in rows if state == "installed")
    with Root("/") as root:
        found = next(database for database in read_databases(root) if database.format == "dpkg")
    assert sorted((item.name, item.arch, item.full_version) for item in found.packages) == wanted


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "packages_missing"),
        ("Package: a\nStatus: deinstall ok config-files\nVersion: 1\n", "packages_missing"),
        ("Package: a\nStatus: install ok installed\n", "packages_malformed"),
        ("Package: a\nVersion: 1\n", "packages_malformed"),
        ("Status: install ok installed\nVersion: 1\n", "packages_malformed"),
        ("Package: ../a\nStatus: install ok installed\nVersion: 1\n", "packages_malformed"),
        ("\0\0\0\0", "packages_malformed"),
    ],
)
def test_what_says_nothing_is_refused(tmp_path: Path, text: str, code: str) -> None:
    write(tmp_path, text)
    with pytest.raises(GuestError) as refused:
        read(tmp_path)
    assert refused.value.code == code


def test_a_tree_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GuestError) as refused:
        read(tmp_path)
    assert refused.value.code == "packages_missing"
