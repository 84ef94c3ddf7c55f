# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A full, read-only, locked or damaged store: a clear refusal, nothing thrown away, and the gates still answer."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.main import main
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store import index, state
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory, locked

from .conftest import IMAGE, LIST, World


def _ready(world: World) -> None:
    """One image that may run."""
    world.publish("1", [world.image()])
    world.subscribe(allow_private=True)
    world.decide("approve", IMAGE)
    world.sync()
    assert world.verdict()["allowed"]


def _code(work: t.Callable[[], object]) -> str | None:
    try:
        work()
    except VmimagesError as error:
        return error.code
    return None


def _inode(world: World) -> int:
    return (world.state / "catalogue.sqlite").stat().st_ino


@pytest.fixture
def small_disk(world: World, tmp_path: Path) -> t.Iterator[Path]:
    """A world whose state lies on a file system of 3 MiB."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", mounted], check=True)
    world.state = mounted / "state"
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


def _fill(directory: Path) -> Path:
    full = directory / "fill"
    with contextlib.suppress(OSError), full.open("wb", buffering=0) as stream:
        while True:
            stream.write(b"x" * 4096)
    return full


@pytest.mark.needs("root", "mount")
def test_a_full_disk_is_told_and_the_index_stays(
    world: World, small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _ready(world)
    inode, rows = _inode(world), world.rows()
    fill = _fill(small_disk)
    for work in (world.verdict, world.refresh, world.sync, lambda: world.decide("blacklist", IMAGE)):
        assert _code(work) == "disk_full"
    assert main(["verdict", "--state-dir", str(world.state), IMAGE]) == 0
    assert capfd.readouterr().out.strip().endswith(next((world.state / "cache" / "current").glob(f"{IMAGE}*")).name)
    fill.unlink()
    assert _inode(world) == inode
    assert world.rows() == rows
    assert world.decide("blacklist", IMAGE).changed
    assert world.verdict()["code"] == "blacklisted"


@pytest.mark.needs("root", "mount")
def test_a_read_only_file_system_is_told_and_gates_answer(
    world: World, small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _ready(world)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for work in (world.refresh, world.sync, lambda: world.decide("blacklist", IMAGE)):
        assert _code(work) == "not_writable"
    with pytest.raises(VmimagesError) as found, locked(world.state / "lock"):
        pass
    assert found.value.code == "not_writable"
    assert main(["verdict", "--state-dir", str(world.state), IMAGE]) == 0
    assert main(["status", "--state-dir", str(world.state)]) == 0
    assert IMAGE in capfd.readouterr().out


def test_nobody_else_can_take_the_locks(world: World) -> None:
    _ready(world)
    locks = [path for path in world.state.rglob("*lock") if path.is_file()] + [world.state / "catalogue.sqlite"]
    assert {"lock", "cache/lock"} <= {str(path.relative_to(world.state)) for path in locks}
    assert {path.stat().st_mode & 0o777 for path in locks} == {0o600}
    for name in ("lock", "catalogue.sqlite"):
        (world.state / name).chmod(0o644)
    world.decide("blacklist", IMAGE)
    assert {path.stat().st_mode & 0o777 for path in locks} == {0o600}
    with world.open():
        assert (world.state / "catalogue.sqlite-shm").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("words", ["database is locked", "database table is locked", "locking protocol"])
def test_every_word_of_sqlite_for_a_lock_is_busy(tmp_path: Path, words: str) -> None:
    """The last one is what a foreign lock on the shared memory of its log becomes, after ten seconds."""

    def held() -> None:
        with index.faults(tmp_path):
            raise sqlite3.OperationalError(words)

    assert _code(held) == "state_busy"


def test_a_locked_index_is_busy_and_stays(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _ready(world)
    inode, rows = _inode(world), world.rows()
    monkeypatch.setattr(index, "PATIENCE", 0.1)
    holder = sqlite3.connect(world.state / "catalogue.sqlite", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    holder.execute("DELETE FROM polls")
    assert _code(world.verdict) == "state_busy"
    assert _code(lambda: world.decide("blacklist", IMAGE)) == "state_busy"
    assert main(["verdict", "--state-dir", str(world.state), IMAGE]) == 0
    holder.execute("ROLLBACK")
    holder.close()
    assert _inode(world) == inode
    assert world.rows() == rows


def test_an_index_without_a_place_is_told(world: World, tmp_path: Path) -> None:
    _ready(world)

    def elsewhere() -> None:
        with world.open(index_path=tmp_path / "nowhere" / "index.sqlite"):
            pass

    assert _code(elsewhere) == "not_writable"


def _damage(path: Path) -> None:
    """Overwrite all pages but the first, which says that this is a database."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    with path.open("r+b") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(4096)
        stream.write(b"\xa5" * (size - 4096))


def test_a_damaged_index_is_made_anew_from_the_journal(world: World) -> None:
    _ready(world)
    rows = world.rows()
    _damage(world.state / "catalogue.sqlite")
    assert world.rows() == rows


def test_damage_met_in_the_middle_of_the_work_is_told_and_mended_by_rebuild(world: World) -> None:
    _ready(world)
    rows = world.rows()
    with pytest.raises(VmimagesError) as found, world.open() as catalogue:
        _damage(world.state / "catalogue.sqlite")
        catalogue.connection.close()
        catalogue.connection = sqlite3.connect(world.state / "catalogue.sqlite", isolation_level=None)
        catalogue.rows("SELECT * FROM images")
    assert found.value.code == "index_damaged"
    assert main(["rebuild", "--state-dir", str(world.state)]) == 0
    assert world.rows() == rows


def test_a_mistake_in_a_query_is_no_fault_of_the_store(world: World) -> None:
    _ready(world)
    with pytest.raises(sqlite3.OperationalError, match="no such table"), world.open() as catalogue:
        catalogue.rows("SELECT * FROM no_table")


def test_a_lock_that_is_no_file_is_told(world: World, tmp_path: Path) -> None:
    _ready(world)
    (world.state / "lock").unlink()
    (world.state / "lock").symlink_to(tmp_path / "elsewhere")
    assert _code(lambda: world.decide("blacklist", IMAGE)) == "not_writable"
    assert not (tmp_path / "elsewhere").exists()


def test_paths_are_absolute(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.state.parent)
    world.state = Path(world.state.name)
    _ready(world)
    assert Path(world.verdict()["path"]).is_absolute()
    found = StateDirectory.at("state", index="index.sqlite")
    assert (found.path, found.index) == (Path.cwd() / "state", Path.cwd() / "index.sqlite")


def test_the_state_can_be_read_by_gates_whatever_the_umask(world: World) -> None:
    before = os.umask(0o077)
    try:
        world.publish("1", [world.image()])
        world.subscribe(allow_private=True)
        world.decide("approve", IMAGE)
    finally:
        os.umask(before)
    ours = ("journal.jsonl", "verdicts.json", f"messages/{LIST}")
    paths = [world.state, *(world.state / name for name in ours), *(world.state / "messages" / LIST).iterdir()]
    paths += [world.state / "cache" / name for name in ("", "downloading", "current", "expired")]
    modes = {str(path): path.stat().st_mode & 0o777 for path in paths}
    assert modes == {str(path): 0o755 if path.is_dir() else 0o644 for path in paths}


def test_new_directories_are_durable_with_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: set[str] = set()
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.add(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    found = state.StateDirectory.at(tmp_path / "above" / "state")
    found.prepare(create=True)
    expected = {tmp_path, tmp_path / "above", found.path, found.messages, found.current.parent, found.current}
    assert {str(path) for path in expected} <= synced
