# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Instance records: what was written is read back, and what somebody else may have written is refused."""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.instances import records

UUID: t.Final = "5f2c1a9e-7d1b-4c55-9d3e-0a1b2c3d4e5f"
OTHER: t.Final = "6f2c1a9e-7d1b-4c55-9d3e-0a1b2c3d4e5f"
NOW: t.Final = datetime(2026, 11, 20, 16, 0, tzinfo=timezone.utc)
RECORD: t.Final = records.Record(
    uuid=UUID,
    name="worker-17",
    connection="qemu:///system",
    mode="kvm",
    created=NOW,
    until=None,
    author="operator",
    disk=records.DiskRecord(
        path="/srv/instances/worker-17.qcow2",
        kind="overlay",
        format="qcow2",
        backing="/srv/cache/current/image",
        device=2049,
        inode=12,
    ),
    image=records.ImageRecord(
        uuid=OTHER,
        version="1.2",
        sha512="ab" * 64,
        size=4096,
        list=OTHER,
        list_version="7",
        endorser_dn="/DC=org/CN=Zoë",
        endorser_ca="/DC=org/CN=CA",
        expires=NOW,
        path="/srv/cache/current/image",
        mtime_ns=1,
    ),
    contexts=("/srv/instances/worker-17.iso",),
    made=("/srv/instances/worker-17.qcow2", "/srv/instances/worker-17.iso"),
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "var" / "records"


def refusal(directory: Path) -> str:
    with pytest.raises(VmimagesError) as caught:
        records.read(directory, UUID)
    return caught.value.code


def test_what_was_written_is_read_back(directory: Path) -> None:
    records.write(directory, RECORD)
    assert records.read(directory, UUID) == RECORD
    lasting = replace(RECORD, until=NOW, connection=None, disk=replace(RECORD.disk, kind="copy", backing=None))
    records.write(directory, lasting)
    assert records.read(directory, UUID) == lasting
    assert [path.name for path in directory.iterdir()] == [f"{UUID}.json"]


def test_everybody_may_read_and_only_the_owner_write(directory: Path) -> None:
    previous = os.umask(0o077)
    try:
        path = records.write(directory, RECORD)
    finally:
        os.umask(previous)
    assert path.stat().st_mode & 0o777 == 0o644
    assert directory.stat().st_mode & 0o777 == 0o755


def test_nothing_is_there_before_the_first_one(directory: Path) -> None:
    assert records.read(directory, UUID) is None
    assert records.all(directory) == ()
    assert not records.remove(directory, UUID)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", UUID.upper(), UUID + "\n", "."])
def test_only_a_uuid_names_a_record(directory: Path, name: str) -> None:
    records.write(directory, RECORD)
    assert records.read(directory, name) is None
    assert not records.remove(directory, name)


def test_all_records_come_by_uuid_and_leave_by_it(directory: Path) -> None:
    records.write(directory, replace(RECORD, uuid=OTHER, name="worker-18"))
    records.write(directory, RECORD)
    (directory / ".worker.part").write_text("{}")
    assert [record.name for record in records.all(directory)] == ["worker-17", "worker-18"]
    assert records.remove(directory, UUID)
    assert not records.remove(directory, UUID)
    assert [record.uuid for record in records.all(directory)] == [OTHER]


def test_one_damaged_record_hides_no_others_from_who_asks_for_both(directory: Path) -> None:
    records.write(directory, RECORD)
    (directory / f"{OTHER}.json").write_text("{}")
    with pytest.raises(VmimagesError):
        records.all(directory)
    refused: list[VmimagesError] = []
    assert records.all(directory, refused=refused) == (RECORD,)
    assert [error.code for error in refused] == ["record_malformed"]


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_file_that_others_may_write_is_refused(directory: Path, mode: int) -> None:
    records.write(directory, RECORD).chmod(mode)
    assert refusal(directory) == "record_unsafe"


@pytest.mark.parametrize("mode", [0o775, 0o757, 0o1777])
def test_a_directory_that_others_may_write_is_refused(directory: Path, mode: int) -> None:
    records.write(directory, RECORD)
    directory.chmod(mode)
    assert refusal(directory) == "record_unsafe"
    with pytest.raises(VmimagesError) as caught:
        records.write(directory, RECORD)
    assert caught.value.code == "record_unsafe"


def test_a_directory_that_others_may_exchange_is_refused(directory: Path) -> None:
    records.write(directory, RECORD)
    directory.parent.chmod(0o777)
    assert refusal(directory) == "record_unsafe"


def test_so_is_one_behind_a_link_on_the_way(directory: Path, tmp_path: Path) -> None:
    records.write(directory, RECORD)
    (tmp_path / "link").symlink_to(directory.parent)
    assert records.read(tmp_path / "link" / "records", UUID) == RECORD
    directory.parent.chmod(0o777)
    assert refusal(tmp_path / "link" / "records") == "record_unsafe"


@pytest.mark.needs("root")
@pytest.mark.parametrize("what", ["file", "directory"])
def test_what_belongs_to_somebody_else_is_refused(directory: Path, what: str) -> None:
    path = records.write(directory, RECORD)
    os.chown(path if what == "file" else directory, 65534, 65534)
    assert refusal(directory) == "record_unsafe"


def test_links_are_not_followed(directory: Path, tmp_path: Path) -> None:
    path = records.write(directory, RECORD)
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    assert refusal(directory) == "record_unsafe"
    (tmp_path / "link").symlink_to(directory)
    assert refusal(tmp_path / "link") == "record_unsafe"


def test_a_pipe_is_not_waited_for(directory: Path) -> None:
    directory.mkdir(parents=True)
    os.mkfifo(directory / f"{UUID}.json", 0o644)
    assert refusal(directory) == "record_unsafe"


def _without(key: str) -> dict[str, t.Any]:
    return {name: value for name, value in RECORD.as_dict().items() if name != key}


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 200_000,
        b" " * (256 * 1024 + 1),
        json.dumps(_without("schema")).encode(),
        json.dumps({**RECORD.as_dict(), "schema": 2}).encode(),
        json.dumps({**RECORD.as_dict(), "schema": True}).encode(),
        json.dumps({**RECORD.as_dict(), "more": 1}).encode(),
        json.dumps({**RECORD.as_dict(), "uuid": OTHER}).encode(),
        json.dumps({**RECORD.as_dict(), "name": None}).encode(),
        json.dumps({**RECORD.as_dict(), "until": "tomorrow"}).encode(),
        json.dumps({**RECORD.as_dict(), "contexts": "/a.iso"}).encode(),
        json.dumps({**RECORD.as_dict(), "contexts": [1]}).encode(),
        json.dumps({**RECORD.as_dict(), "image": None}).encode(),
        json.dumps({**RECORD.as_dict(), "disk": {**RECORD.as_dict()["disk"], "kind": "lent"}}).encode(),
        json.dumps({**RECORD.as_dict(), "disk": {**RECORD.as_dict()["disk"], "inode": "12"}}).encode(),
        json.dumps({**RECORD.as_dict(), "disk": {**RECORD.as_dict()["disk"], "inode": True}}).encode(),
    ],
)
def test_what_no_record_looks_like_is_refused(directory: Path, octets: bytes) -> None:
    records.write(directory, RECORD).write_bytes(octets)
    assert refusal(directory) == "record_malformed"
