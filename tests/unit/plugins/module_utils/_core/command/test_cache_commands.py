# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages sync``, ``scrub`` and what ``verdict`` and ``status`` say of the cache."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core import main as command
from ansible_collections.hepix.vmimages.plugins.module_utils._core.command.line import live
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress.board import Board

from .conftest import Call

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
DISK = os.urandom(70_000).ljust(1024 * 1024, b"\0")


@pytest.fixture
def site(bench: t.Any) -> t.Any:
    bench.publish(bench.image(octets=DISK, format="raw"))
    bench.subscribe()
    bench.decide("approve")
    return bench


@pytest.mark.needs("qemu-img")
def test_a_format_is_made_and_a_gate_is_told_its_path(site: t.Any, call: Call) -> None:
    code, out, _err = call("verdict", IMAGE, "--format", "qcow2")
    assert code == 1
    assert call("sync", "--format", "qcow2")[0] == 0
    code, out, _err = call("verdict", IMAGE, "--format", "qcow2")
    assert code == 0 and Path(out.strip()).read_bytes().startswith(b"QFI\xfb")
    assert call("verdict", IMAGE, "--format", "raw")[1] == call("verdict", IMAGE)[1]
    code, _out, err = call("verdict", IMAGE, "--format", "vdi")
    assert code == 1 and "not_derived" in err
    site.decide("blacklist")
    assert call("verdict", IMAGE, "--format", "qcow2")[0] == 1


def test_a_quota_is_told_with_what_is_missing(site: t.Any, call: Call) -> None:
    code, _out, err = call("sync", "--quota", "10 KiB")
    assert code == 3 and "quota_exceeded" in err and "are missing" in err
    (site.state_dir / "settings.json").write_text(json.dumps({"cache": {"quota": "10 KiB", "scrub_interval": "14d"}}))
    assert call("sync")[0] == 3
    assert call("sync", "--quota", "1 GiB")[0] == 0


@pytest.mark.parametrize("cache", [{"quota": "much"}, {"quota": True}, {"keep_expired": 3}, {"colour": "blue"}])
def test_settings_of_the_cache_that_are_wrong_are_told_and_the_work_goes_on(
    site: t.Any, call: Call, cache: dict[str, t.Any]
) -> None:
    (site.state_dir / "settings.json").write_text(json.dumps({"cache": cache}))
    _code, out, err = call("sync")
    assert f"cache.{next(iter(cache))}" in err and "download" in out


def test_a_scrub_reads_what_is_due(site: t.Any, call: Call) -> None:
    call("sync")
    assert call("scrub")[1].strip() == "No file is due to be read again."
    code, out, _err = call("scrub", "--scrub-interval", "0s", "--scrub-rate", "1 GiB")
    assert code == 0 and out.splitlines()[1].split()[:2] == ["read", IMAGE]


def test_a_rehearsal_leaves_no_trace(site: t.Any, call: Call) -> None:
    before = sorted(site.state_dir.rglob("*"))
    assert call("sync", "--check")[0] == 0
    assert sorted(site.state_dir.rglob("*")) == before


def test_status_tells_what_is_going_on(site: t.Any, call: Call) -> None:
    assert json.loads(call("status", "--json")[1])["runs"] == []
    from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.progress.telling import telling
    from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory

    row: t.Any = {"metadata": '{"dc:title": "worker\\u001b[2J"}', "image_id": IMAGE, "size": 2 * 1024**3}
    with telling(StateDirectory.at(site.state_dir), "sync") as board:
        board.begin("a", "download", row)
        _code, out, _err = call("status")
    assert f"sync is running (process {os.getpid()})" in out
    assert "(2b9e4f2c): downloading, 0 octets of 2.0 GiB" in out and "\x1b" not in out


def _board(clock: list[float]) -> Board:
    board = Board(clock=lambda: clock[0])
    row: t.Any = {"metadata": '{"dc:title": "worker"}', "image_id": IMAGE, "size": 1024**3}
    board.begin("a", "download", row)
    return board


def test_plain_lines_become_fewer(capfd: pytest.CaptureFixture[str]) -> None:
    clock = [0.0]
    lines, board = live.Lines(clock=lambda: clock[0]), _board(clock)
    for second in range(130):
        clock[0] = float(second)
        board("a", second * 1024**2, 1024**3)
        lines(board)
    told = capfd.readouterr().err.splitlines()
    assert 5 <= len(told) <= 7 and all(line.startswith("vmimages: worker (2b9e4f2c)") for line in told)


def test_bars_are_drawn_on_a_terminal_and_taken_away() -> None:
    rich_progress = pytest.importorskip("rich.progress")
    console = pytest.importorskip("rich.console").Console(file=io.StringIO(), force_terminal=True, width=120)
    clock = [0.0]
    board = _board(clock)
    with live.Bars(rich_progress, console) as bars:
        board("a", 512 * 1024**2, 1024**3)
        bars(board)
        bars._live.refresh()
        board.end("a")
        bars(board)
        assert not bars._live.tasks
    assert "worker" in console.file.getvalue() and "0.5/1.0 GiB" in console.file.getvalue()


def test_without_rich_a_terminal_has_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    with live.shown(wanted=True) as listeners:
        assert isinstance(listeners[0][0], live.Lines)
    with live.shown(wanted=False) as listeners:
        assert listeners == []


def test_a_gate_does_not_pay_for_what_it_does_not_use() -> None:
    module_utils = Path(command.__file__).resolve().parents[1]
    code = (
        "import sys; from _core.command import verdict; "
        "print([name for name in ('tarfile', 'rich', 'isal', 'requests') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=module_utils, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
