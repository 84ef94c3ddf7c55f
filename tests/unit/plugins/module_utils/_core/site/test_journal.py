# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: what is acknowledged stays, what is changed is found."""

from __future__ import annotations

import subprocess
import typing as t
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import journal

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=timezone.utc)


def _append(path: Path, *numbers: int) -> list[journal.Entry]:
    return _write(path, [("decided", {"number": number}) for number in numbers])


def _write(path: Path, events: t.Sequence[tuple[str, dict[str, t.Any]]]) -> list[journal.Entry]:
    head = _head(path)
    lines = journal.compose(path, events, head=head, at=NOW, by="sam")
    journal.write(path, [line for _entry, line in lines], head=head)
    return [entry for entry, _line in lines]


def _entries(path: Path) -> list[journal.Entry]:
    return list(journal.read(path, after=journal.Head()))


def _head(path: Path) -> journal.Head:
    entries = _entries(path)
    return entries[-1].head if entries else journal.Head()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def test_lines_come_back_in_order_with_who_and_when(path: Path) -> None:
    _append(path, 1)
    _append(path, 2, 3)
    entries = _entries(path)
    assert [(entry.sequence, entry.data["number"]) for entry in entries] == [(1, 1), (2, 2), (3, 3)]
    assert {(entry.at, entry.by, entry.event) for entry in entries} == {("2026-11-20T12:00:00Z", "sam", "decided")}


def test_reading_goes_on_after_a_known_line(path: Path) -> None:
    first = _append(path, 1)[-1].head
    _append(path, 2)
    assert [entry.sequence for entry in journal.read(path, after=first)] == [2]


def test_a_line_without_its_end_was_never_written(path: Path) -> None:
    _append(path, 1)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq":2,"torn')
    assert [entry.sequence for entry in _entries(path)] == [1]
    _append(path, 2)
    assert [entry.data["number"] for entry in _entries(path)] == [1, 2]
    assert path.read_bytes().startswith(whole)


@pytest.mark.parametrize("old, new", [(b'"number":1', b'"number":7'), (b'"by":"sam"', b'"by":"eve"')])
def test_a_changed_line_is_found(path: Path, old: bytes, new: bytes) -> None:
    _append(path, 1, 2)
    octets = path.read_bytes()
    path.write_bytes(octets.replace(old, new, 1))
    with pytest.raises(VmimagesError) as found:
        _entries(path)
    assert found.value.code == "journal_damaged"


def test_a_removed_line_is_found(path: Path) -> None:
    _append(path, 1, 2, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    with pytest.raises(VmimagesError) as found:
        _entries(path)
    assert found.value.code == "journal_damaged"


def test_a_head_is_held_only_by_the_journal_it_came_from(path: Path) -> None:
    head = _append(path, 1, 2)[-1].head
    assert journal.holds(path, head)
    path.write_bytes(path.read_bytes().replace(b'"number":2', b'"number":3'))
    assert not journal.holds(path, head)
    path.unlink()
    assert not journal.holds(path, head)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> t.Iterator[Path]:
    mounted = tmp_path / "tiny"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mounted], check=True)
    yield mounted
    subprocess.run(["umount", mounted], check=True)


@pytest.mark.needs("root", "mount")
def test_a_full_disk_leaves_the_journal_as_it_was(tiny_disk: Path) -> None:
    path = tiny_disk / "journal.jsonl"
    _append(path, 1)
    before = path.read_bytes()
    with pytest.raises(VmimagesError) as found:
        _write(path, [("decided", {"text": "x" * 100_000})])
    assert found.value.code == "disk_full"
    assert path.read_bytes() == before
    _append(path, 2)
    assert [entry.sequence for entry in _entries(path)] == [1, 2]
