# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cache whose directories are gone, or are no directories, is told in a sentence: nobody sees a traceback."""

from __future__ import annotations

import shutil
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Call

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
PLACES = ("cache", "cache/current", "cache/downloading", "cache/expired", "cache/current/catalogue.json")
CALLS = (("verdict", IMAGE), ("status",), ("refresh",), ("sync",), ("purge", "--older", "1s"))


def _gone(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _a_file(path: Path) -> None:
    _gone(path)
    path.write_bytes(b"\xff\x00{")


def _a_directory(path: Path) -> None:
    _gone(path)
    path.mkdir()


def _a_loop(path: Path) -> None:
    _gone(path)
    path.symlink_to(path.name)


@pytest.mark.parametrize("become", [_gone, _a_file, _a_directory, _a_loop])
def test_what_is_wrong_with_the_cache_is_said(
    bench: t.Any, call: Call, tmp_path: Path, become: Callable[[Path], None]
) -> None:
    bench.publish()
    bench.subscribe()
    bench.decide("approve")
    bench.cache()
    kept = tmp_path / "kept"
    shutil.copytree(bench.state_dir, kept)
    for place in PLACES:
        for name, *arguments in CALLS:
            shutil.rmtree(bench.state_dir)
            shutil.copytree(kept, bench.state_dir)
            become(bench.state_dir / place)
            answer = call(name, *arguments)
            code, told = answer.code, answer.out + answer.err
            assert "Traceback" not in told and "internal_error" not in told
            assert code in (0, 1, 3) and (code == 0 or name == "verdict" or str(bench.state_dir) in told)
