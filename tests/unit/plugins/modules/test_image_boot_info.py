# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module: a system is told, and every key of the answer is documented."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

pytestmark = pytest.mark.needs("zstd", "lz4")


@pytest.mark.parametrize("name", ["el5", "el9", "debian12"])
def test_a_system_is_told(bench: t.Any, systems: t.Any, tmp_path: Path, name: str) -> None:
    root = systems.unpack(name, tmp_path / "system")
    before = sorted((path, path.lstat().st_mtime_ns) for path in root.rglob("*"))
    result = bench.done("image_boot_info", {"root": str(root)})
    assert result["changed"] is False
    assert set(result["matrix"]) == {"kvm", "xen_hvm", "xen_para", "xen_pvh"}
    assert result["layout"] is None
    assert sorted((path, path.lstat().st_mtime_ns) for path in root.rglob("*")) == before


def test_what_is_no_system_is_one_sentence(bench: t.Any, tmp_path: Path) -> None:
    result = bench.run("image_boot_info", {"root": str(tmp_path / "nothing")})
    assert result.failed and result["code"] == "root_missing"
    result = bench.run("image_boot_info", {"root": str(tmp_path), "image": str(tmp_path / "nothing")})
    assert result.failed and result["code"] == "image_missing"


def test_an_empty_directory_boots_nowhere(bench: t.Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = bench.done("image_boot_info", {"root": str(tmp_path / "empty")})
    assert not any(verdict["ok"] for verdict in result["matrix"].values())
    assert all(verdict["reasons"] for verdict in result["matrix"].values())
