# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions are compared as dpkg and rpm compare them, and a flaw is found in the packages that have it."""

from __future__ import annotations

import json
import random
import subprocess
import typing as t
import zipfile
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.flaws.data import Flaws, read_flaws
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.flaws.versions import compare
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.model import Package

BASH = Package("deb", "bash", "5.2.15", release="2+b7", source="bash (5.2.15-2)")
LIBSSL = Package("deb", "libssl3", "3.0.11", release="1~deb12u2", source="openssl")
RPM = Package("rpm", "openssl-libs", "3.0.7", epoch=1, release="27.el9", source="openssl-3.0.7-27.el9.src.rpm")


def versions(count: int, signs: str) -> list[tuple[str, str]]:
    chance = random.Random(6)
    made = []
    for _number in range(count):
        one = "".join(chance.choice(signs) for _part in range(chance.randrange(1, 8)))
        at = chance.randrange(len(one) + 1)
        made.append(("1" + one, "1" + one[:at] + chance.choice(["", *signs]) + one[at + chance.randrange(2) :]))
    return made


@pytest.mark.needs("dpkg")
def test_versions_are_ordered_as_dpkg_orders_them() -> None:
    known = [("1.0", "1.0~rc1"), ("1:1", "2"), ("1.0-1", "1.0-1+b1"), ("1.0", "1.0-0"), ("1.0a", "1.0+"), ("010", "10")]
    for one, other in [*known, *versions(120, "019.+~ab")]:
        answers = [
            subprocess.run(["dpkg", "--compare-versions", one, word, other], check=False).returncode
            for word in ("lt", "eq")
        ]
        assert compare("deb", one, other) == (-1 if answers[0] == 0 else 0 if answers[1] == 0 else 1), (one, other)


@pytest.mark.needs("rpm")
def test_versions_are_ordered_as_rpm_orders_them() -> None:
    pairs = [("1.0", "1.0~rc1"), ("1.0^1", "1.0"), ("1.0^1", "1.0.1"), ("1a", "1.0"), *versions(400, "019._~^ab")]
    rows = "".join(f'print(rpm.vercmp("{one}", "{other}") .. " ")' for one, other in pairs)
    done = subprocess.run(["rpm", "--eval", f"%{{lua:{rows}}}"], check=True, capture_output=True, text=True, timeout=60)
    wanted = [int(word) for word in done.stdout.split()]
    assert [compare("rpm", one, other) for one, other in pairs] == wanted


def test_an_epoch_counts_and_a_release_that_is_not_said_does_not() -> None:
    assert compare("rpm", "1:1-1", "2-1") == 1
    assert compare("rpm", "1.0-2", "1.0") == 0


def flaws(tmp_path: Path, given: t.Any, name: str = "flaws.json") -> Flaws:
    path = tmp_path / name
    path.write_text(given if isinstance(given, str) else json.dumps(given))
    return read_flaws(str(path))


def osv(package: str, ecosystem: str = "Debian:12", **more: t.Any) -> dict[str, t.Any]:
    events = [{"introduced": "0"}, {"fixed": "3.0.13-1~deb12u1"}]
    affected = {
        "package": {"name": package, "ecosystem": ecosystem},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    return {"id": "DSA-1-1", "aliases": ["CVE-2024-1"], "affected": [{**affected, **more}]}


def found(given: Flaws, package: Package, system: str = "debian", version: str = "12") -> list[tuple[str, str | None]]:
    return [(flaw.identifier, fixed) for flaw, fixed in given.of(package, system, version)]


def test_a_flaw_of_the_source_is_one_of_the_package(tmp_path: Path) -> None:
    given = flaws(tmp_path, [osv("openssl")])
    assert found(given, LIBSSL) == [("CVE-2024-1", "3.0.13-1~deb12u1")]
    assert found(given, BASH) == []
    assert given.covers("debian", "12") and not given.covers("debian", "11") and not given.covers(None, None)
    assert found(given, LIBSSL, version="11") == []


def test_the_version_of_the_source_counts(tmp_path: Path) -> None:
    """bash 5.2.15-2+b7 was built anew from 5.2.15-2, in which the flaw is."""
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "5"}, {"last_affected": "5.2.15-2"}]}]
    assert found(flaws(tmp_path, [osv("bash", ranges=ranges)]), BASH) == [("CVE-2024-1", None)]
    assert found(flaws(tmp_path, [osv("bash", ranges=[], versions=["5.2.15-2"])]), BASH) == [("CVE-2024-1", None)]
    begun = [{"type": "ECOSYSTEM", "events": [{"introduced": "5.3"}]}]
    assert found(flaws(tmp_path, [osv("bash", ranges=begun)]), BASH) == []


def test_an_archive_and_lines_are_read(tmp_path: Path) -> None:
    events = [{"introduced": "0"}, {"fixed": "1:3.0.7-28.el9"}]
    entry = osv("openssl-libs", "AlmaLinux:9", ranges=[{"type": "ECOSYSTEM", "events": events}])
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("ALSA-1.json", json.dumps(entry))
    assert found(read_flaws(str(tmp_path / "all.zip")), RPM, "almalinux", "9.4") == [("CVE-2024-1", "1:3.0.7-28.el9")]
    lines = f"{json.dumps(entry)}\n{json.dumps({**entry, 'id': 'x', 'aliases': [], 'withdrawn': '2024'})}\n"
    assert found(flaws(tmp_path, lines), RPM, "almalinux", "9.4") == [("CVE-2024-1", "1:3.0.7-28.el9")]


def test_fixed_versions_are_of_any_system(tmp_path: Path) -> None:
    given = flaws(tmp_path, {"openssl-libs": "1:3.0.7-28.el9", "bash": "5.2.15-2"})
    assert given.covers("other", None)
    assert (found(given, RPM), found(given, BASH)) == ([("", "1:3.0.7-28.el9")], [])


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "no JSON", '{"a": 1}', '[{"affected": []}]', '[{"id": "x", "affected": 1}]']
)
def test_what_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(GuestError) as refused:
        flaws(tmp_path, text)
    assert refused.value.code == "audit_input_invalid"
