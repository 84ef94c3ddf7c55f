# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A transfer goes on where the last one ended, and never with octets that cannot become the image."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import random
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.fetch import (
    FetchedFile,
    Validators,
    fetch_file,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.intake import partial, receiver
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy

IMAGE = random.Random(3).randbytes(1_300_001)
OTHER = random.Random(4).randbytes(len(IMAGE))
NAME = "image.raw"
RECORD = f"{NAME}.resume"


@pytest.fixture
def server(misbehaving: t.Any) -> t.Iterator[t.Any]:
    with misbehaving.Misbehaving(IMAGE) as found:
        yield found


@pytest.fixture
def once(policy: Policy) -> Policy:
    """Nothing is tried a second time."""
    return dataclasses.replace(policy, retries=0)


def fetch(server: t.Any, folder: pathlib.Path, policy: Policy, octets: bytes = IMAGE, **options: t.Any) -> FetchedFile:
    digest = hashlib.sha512(octets).hexdigest()
    uri = options.pop("uri", None) or server.uri()
    fetched = fetch_file(uri, folder, NAME, size=len(octets), sha512=digest, policy=policy, **options)
    assert (folder / NAME).read_bytes() == octets
    assert [path.name for path in folder.iterdir()] == [NAME]
    return fetched


def cut(server: t.Any, folder: pathlib.Path, once: Policy, after: int) -> None:
    """A transfer that breaks off after so many octets."""
    server.cut = lambda: after
    with pytest.raises(TransferError) as caught:
        fetch(server, folder, dataclasses.replace(once, retries=0))
    assert caught.value.code == "unreachable"
    server.cut = None


def test_the_rest_is_asked_for_and_nothing_twice(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    cut(server, tmp_path, once, 700_000)
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, RECORD]
    assert (tmp_path / NAME).read_bytes() == IMAGE[:700_000]
    fetched = fetch(server, tmp_path, once)
    assert (fetched.resumed_from, fetched.octets_received) == (700_000, len(IMAGE) - 700_000)
    assert server.asked("Range") == [None, "bytes=700000-"]
    assert server.asked("If-Range") == [None, '"one"']


def test_two_hundred_cuts_at_random_offsets(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    moments = random.Random(seed)
    cuts = 0
    while cuts < 200:
        server.cut = lambda: moments.randrange(len(IMAGE) // 8)
        before = 0
        for _attempt in range(100):
            try:
                fetch(server, tmp_path, once)
                break
            except TransferError as error:
                assert error.code == "unreachable"
            cuts += 1
            part = tmp_path / NAME
            octets = part.read_bytes() if part.exists() else b""
            assert octets == IMAGE[: len(octets)]
            assert len(octets) >= before
            before = len(octets)
        (tmp_path / NAME).unlink()


def test_one_call_survives_many_cuts(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    server.cut = lambda: 100_000
    fetched = fetch(server, tmp_path, dataclasses.replace(once, retries=1))
    assert (fetched.octets_received, fetched.resumed_from) == (len(IMAGE), 0)
    assert len(server.requests) == 14


@pytest.mark.parametrize(
    ("validators", "sent"),
    [
        ({"etag": 'W/"weak"'}, None),
        ({"etag": 'W/"weak"', "last_modified": "Mon, 02 Nov 2026 10:00:00 GMT"}, "Mon, 02 Nov 2026 10:00:00 GMT"),
        ({"etag": None}, None),
    ],
)
def test_only_strong_validators_are_sent_with_a_range(
    server: t.Any, tmp_path: pathlib.Path, once: Policy, validators: dict[str, str | None], sent: str | None
) -> None:
    vars(server).update(validators)
    cut(server, tmp_path, once, 400_000)
    assert fetch(server, tmp_path, once).resumed_from == 400_000
    assert server.asked("If-Range") == [None, sent]


def test_a_server_without_ranges_starts_again(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    cut(server, tmp_path, once, 400_000)
    server.ranges = False
    fetched = fetch(server, tmp_path, once)
    assert (fetched.resumed_from, fetched.octets_received) == (0, len(IMAGE))


def test_a_file_that_has_changed_starts_again(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    server.octets = OTHER
    cut(server, tmp_path, once, 400_000)
    server.octets, server.etag = IMAGE, '"two"'
    assert fetch(server, tmp_path, once).resumed_from == 0


def test_a_file_that_has_changed_unnoticed_is_fetched_whole_once(
    server: t.Any, tmp_path: pathlib.Path, once: Policy
) -> None:
    """The server's validators lie: only the digest of the whole can tell."""
    server.octets = OTHER
    cut(server, tmp_path, once, 400_000)
    server.octets = IMAGE
    fetched = fetch(server, tmp_path, once)
    assert fetched.resumed_from == 0
    assert server.asked("Range") == [None, "bytes=400000-", None]


def test_a_part_that_can_never_be_right_is_not_tried_for_ever(
    server: t.Any, tmp_path: pathlib.Path, once: Policy
) -> None:
    server.octets = OTHER
    cut(server, tmp_path, once, 400_000)
    with pytest.raises(TransferError) as caught:
        fetch(server, tmp_path, once)
    assert caught.value.code == "checksum_mismatch"
    assert server.asked("Range") == [None, "bytes=400000-", None]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content_range",
    [
        None,
        "bytes 399999-1300000/1300001",
        "bytes 400000-1299999/1300001",
        "bytes 400000-1300000/1300002",
        "octets 400000-1300000/1300001",
        "bytes */1300001",
        "bytes 400000-1300000/1300001, bytes 0-1/1300001",
    ],
)
def test_a_wrong_range_starts_again(
    server: t.Any, tmp_path: pathlib.Path, once: Policy, content_range: str | None
) -> None:
    cut(server, tmp_path, once, 400_000)

    def fault(handler: t.Any) -> None:
        if handler.asked_from():
            handler.answer(206, IMAGE[400_000:], {"Content-Range": content_range})
        else:
            handler.serve()

    server.fault = fault
    assert fetch(server, tmp_path, once).resumed_from == 0


def test_a_range_of_another_length_than_it_states_starts_again(
    server: t.Any, tmp_path: pathlib.Path, once: Policy
) -> None:
    cut(server, tmp_path, once, 400_000)

    def fault(handler: t.Any) -> None:
        if handler.asked_from():
            handler.answer(206, IMAGE, {"Content-Range": f"bytes 400000-{len(IMAGE) - 1}/{len(IMAGE)}"})
        else:
            handler.serve()

    server.fault = fault
    assert fetch(server, tmp_path, once).resumed_from == 0


@pytest.mark.parametrize("status", [400, 405, 412, 501])
def test_a_server_that_refuses_ranges_is_asked_for_the_whole(
    server: t.Any, tmp_path: pathlib.Path, once: Policy, status: int
) -> None:
    cut(server, tmp_path, once, 400_000)
    server.fault = lambda handler: handler.answer(status, b"") if handler.asked_from() else handler.serve()
    assert fetch(server, tmp_path, once).resumed_from == 0


def test_a_part_longer_than_the_file_on_the_server_starts_again(
    server: t.Any, tmp_path: pathlib.Path, once: Policy, misbehaving: t.Any
) -> None:
    cut(server, tmp_path, once, 400_000)
    asked = []

    def fault(handler: t.Any) -> None:
        asked.append(handler.headers.get("Range"))
        if asked[-1]:
            handler.answer(416, b"", {"Content-Range": "bytes */1000"})
        else:
            handler.serve()

    server.fault = fault
    assert fetch(server, tmp_path, once).resumed_from == 0
    assert asked == ["bytes=400000-", None]


def test_a_whole_part_needs_no_server(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    """Killed between the last octet and the end: what is there is read, and that is all."""
    cut(server, tmp_path, once, 700_000)
    with (tmp_path / NAME).open("ab") as part:
        part.write(IMAGE[700_000:])
    server.requests.clear()
    fetched = fetch(server, tmp_path, once)
    assert (fetched.resumed_from, fetched.octets_received, server.requests) == (len(IMAGE), 0, [])


def test_a_whole_part_that_is_wrong_is_fetched_again_at_once(
    server: t.Any, tmp_path: pathlib.Path, once: Policy
) -> None:
    cut(server, tmp_path, once, 700_000)
    with (tmp_path / NAME).open("ab") as part:
        part.write(OTHER[700_000:])
    fetched = fetch(server, tmp_path, once)
    assert (fetched.resumed_from, fetched.octets_received) == (0, len(IMAGE))


def edit(folder: pathlib.Path, **changes: t.Any) -> None:
    """Change the record of the part."""
    document = json.loads((folder / RECORD).read_text())
    (folder / RECORD).write_text(json.dumps({**document, **changes}))


def test_after_a_reboot_only_what_was_made_durable_counts(
    server: t.Any, tmp_path: pathlib.Path, once: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "CHECKPOINT", 0.0)
    cut(server, tmp_path, once, 700_000)
    document = json.loads((tmp_path / RECORD).read_text())
    durable = document["length"]
    assert 262_144 <= durable <= 700_000
    assert document["digest"] == hashlib.sha512(IMAGE[:durable]).hexdigest()
    monkeypatch.undo()
    edit(tmp_path, boot="another")
    with (tmp_path / NAME).open("r+b") as part:
        part.seek(durable)
        part.write(bytes(700_000 - durable))
    assert fetch(server, tmp_path, once).resumed_from == durable


def test_after_a_reboot_without_a_durable_part_it_starts_again(
    server: t.Any, tmp_path: pathlib.Path, once: Policy
) -> None:
    cut(server, tmp_path, once, 700_000)
    edit(tmp_path, boot="another")
    assert fetch(server, tmp_path, once).resumed_from == 0


def test_a_durable_part_that_has_changed_costs_no_octet(
    server: t.Any, tmp_path: pathlib.Path, once: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver, "CHECKPOINT", 0.0)
    cut(server, tmp_path, once, 700_000)
    with (tmp_path / NAME).open("r+b") as part:
        part.write(b"rotten")
    fetched = fetch(server, tmp_path, once)
    assert (fetched.resumed_from, fetched.octets_received) == (0, len(IMAGE))
    assert server.asked("Range")[-1] is None


@pytest.mark.parametrize(
    "record",
    [
        "",
        "[]",
        "{}",
        "[" * 5000,
        "\0",
        {"format": 2},
        {"size": len(IMAGE) + 1},
        {"sha512": "0" * 128},
        {"length": 800_000},
        {"length": -1},
        {"length": True},
        {"validators": {"etag": "a\nb", "last_modified": None}},
        {"validators": []},
        {"more": 1},
    ],
)
def test_a_part_with_a_record_that_does_not_fit_starts_again(
    server: t.Any, tmp_path: pathlib.Path, once: Policy, record: str | dict[str, t.Any]
) -> None:
    cut(server, tmp_path, once, 700_000)
    if isinstance(record, dict):
        edit(tmp_path, **record)
    else:
        (tmp_path / RECORD).write_text(record)
    assert fetch(server, tmp_path, once).resumed_from == 0


@pytest.mark.parametrize("kind", ["linked", "symlink", "fifo"])
def test_a_part_that_is_no_plain_file_of_ours_is_not_written_to(
    server: t.Any, tmp_path: pathlib.Path, once: Policy, kind: str
) -> None:
    folder = tmp_path / "downloading"
    folder.mkdir()
    cut(server, folder, once, 700_000)
    victim = tmp_path / "victim"
    (folder / NAME).rename(victim)
    if kind == "linked":
        (folder / NAME).hardlink_to(victim)
    elif kind == "symlink":
        (folder / NAME).symlink_to(victim)
    else:
        os.mkfifo(folder / NAME)
    assert fetch(server, folder, once).resumed_from == 0
    assert victim.read_bytes() == IMAGE[:700_000]


def test_a_small_file_leaves_a_record_as_well(
    misbehaving: t.Any, server: t.Any, tmp_path: pathlib.Path, once: Policy
) -> None:
    small = IMAGE[: partial.WORTHWHILE // 2]
    server.octets = small
    server.cut = lambda: 1000
    with pytest.raises(TransferError):
        fetch(server, tmp_path, once, small)
    server.cut = None
    assert fetch(server, tmp_path, once, small).resumed_from == 1000


def test_the_record_names_no_address(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    """An address may hold a secret in its query."""
    server.cut = lambda: 700_000
    with pytest.raises(TransferError):
        fetch(server, tmp_path, once, uri=server.uri("/image?signature=s3cret"))
    record = tmp_path / RECORD
    assert "s3cret" not in record.read_text()
    assert str(server.port) not in record.read_text()
    assert record.stat().st_mode & 0o777 == 0o600


def test_a_local_file_goes_on_as_well(tmp_path: pathlib.Path, policy: Policy) -> None:
    source, folder = tmp_path / "source", tmp_path / "downloading"
    folder.mkdir()
    source.write_bytes(IMAGE)
    reading = dataclasses.replace(policy, allow_file=True)

    def stop(done: int, _total: int) -> None:
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(None, folder, reading, uri=source.as_uri(), progress=stop)
    there = (folder / NAME).stat().st_size
    assert fetch(None, folder, reading, uri=source.as_uri()).resumed_from == there > 500_000


def test_a_part_takes_no_room_beyond_its_octets(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    """The room for the whole is set aside while it is received only."""
    server.octets = IMAGE * 20
    server.cut = lambda: 300_000
    with pytest.raises(TransferError):
        fetch(server, tmp_path, once, IMAGE * 20)
    assert (tmp_path / NAME).stat().st_blocks * 512 < 300_000 + 65536


def test_the_room_that_was_set_aside_outlasts_a_checkpoint(tmp_path: pathlib.Path) -> None:
    size = 8 * 1024 * 1024
    with partial.PartialFile(tmp_path, NAME, size=size, sha512="0" * 128) as part:
        part.reserve()
        reserved = os.fstat(part.fd).st_blocks * 512
        part.begin("", Validators())
        part.write(memoryview(IMAGE)[: 256 * 1024])
        part.checkpoint("0" * 128)
        found = os.fstat(part.fd)
        assert (found.st_size, found.st_blocks * 512) == (256 * 1024, reserved)
        assert reserved >= size


def test_nobody_else_can_lock_a_part(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    cut(server, tmp_path, once, 400_000)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    (tmp_path / NAME).chmod(0o644)
    modes = set()
    fetch(server, tmp_path, once, progress=lambda _done, _all: modes.add((tmp_path / NAME).stat().st_mode & 0o777))
    assert modes == {0o600}


def test_zeros_take_no_room(server: t.Any, tmp_path: pathlib.Path, once: Policy) -> None:
    sparse = bytes(3_000_000) + IMAGE + bytes(5_000_000)
    server.octets = sparse
    fetch(server, tmp_path, once, sparse)
    assert (tmp_path / NAME).stat().st_blocks * 512 < len(IMAGE) + 1_000_000


@pytest.mark.parametrize("place", [2_900_000, 3_100_000, 7_000_000])
def test_a_part_that_ends_in_zeros_goes_on_at_its_true_length(
    server: t.Any, tmp_path: pathlib.Path, once: Policy, place: int
) -> None:
    sparse = bytes(3_000_000) + IMAGE + bytes(5_000_000)
    server.octets = sparse
    server.cut = lambda: place
    with pytest.raises(TransferError):
        fetch(server, tmp_path, once, sparse)
    server.cut = None
    assert fetch(server, tmp_path, once, sparse).resumed_from == place
