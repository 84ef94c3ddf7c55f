# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading context disks back through the module."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.modules.context_iso import main as make
from ansible_collections.hepix.vmimages.plugins.modules.context_iso_info import main


@pytest.fixture
def iso(run_module: t.Any, tmp_path: Path) -> dict[str, t.Any]:
    (tmp_path / "token").write_text("hunter2\n")
    options = {
        "dest": str(tmp_path / "a.iso"),
        "variables": {"AFS": "off"},
        "secret_variables": {"BATCH": str(tmp_path / "token")},
        "scripts": {"prolog": {"content": "#!/bin/sh\n"}},
        "files": [{"name": "x.conf", "content": "x", "target": "/etc/x.conf"}],
    }
    return t.cast("dict[str, t.Any]", run_module(make, options)["isos"][0])


def test_what_was_made_is_told(run_module: t.Any, iso: dict[str, t.Any]) -> None:
    result = run_module(main, {"paths": [iso["dest"]]}, check=True)
    (found,) = result["isos"]
    assert result["changed"] is False and "hunter2" not in result.text
    for key in ("sha512", "size", "label", "files", "variables", "readers", "found_as"):
        assert found[key] == iso[key]
    assert (found["path"], found["names"], found["joliet"]) == (iso["dest"], "rock_ridge", True)


def test_what_is_no_disk_is_refused(run_module: t.Any, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x" * 100_000)
    assert run_module(main, {"paths": [str(tmp_path / "x")]})["code"] == "context_unreadable"
    assert run_module(main, {"paths": [str(tmp_path / "none")]})["code"] == "not_found"
    assert run_module(main, {"paths": [str(tmp_path)]})["code"] == "not_readable"
