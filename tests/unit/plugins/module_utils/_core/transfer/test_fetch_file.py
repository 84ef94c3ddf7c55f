# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching an image: exactly the octets that were promised, or no file at all."""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.fetch import FetchedFile, fetch_file
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy

IMAGE = random.Random(2).randbytes(1_000_003)
SHA512 = hashlib.sha512(IMAGE).hexdigest()
NAME = "image.raw"


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "downloading"
    path.mkdir()
    return path


def fetch(uri: str, folder: pathlib.Path, policy: Policy, **options: t.Any) -> FetchedFile:
    return fetch_file(uri, folder, NAME, policy=policy, **{"size": len(IMAGE), "sha512": SHA512, **options})


def refusal(uri: str, folder: pathlib.Path, policy: Policy, **options: t.Any) -> TransferError:
    with pytest.raises(TransferError) as caught:
        fetch(uri, folder, policy, **options)
    return caught.value


def test_the_file_is_whole_and_described(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    web.answers["/file"] = (200, {}, IMAGE)
    fetched = fetch(web.uri(), folder, policy, sha512=SHA512.upper())
    status = (folder / NAME).stat()
    assert (folder / NAME).read_bytes() == IMAGE
    assert (fetched.path, fetched.size, fetched.sha512) == (folder / NAME, len(IMAGE), SHA512)
    assert fetched.octets_received == len(IMAGE)
    assert (fetched.inode, fetched.mtime_ns) == (status.st_ino, status.st_mtime_ns)
    assert status.st_blocks * 512 < len(IMAGE) + 65536
    assert fetched.seconds > 0
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_the_other_stated_checksums_have_to_match_too(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    web.answers["/file"] = (200, {}, IMAGE)
    right = {"sha256": hashlib.sha256(IMAGE).hexdigest().upper(), "md5": hashlib.md5(IMAGE).hexdigest(), "crc32": "0"}
    assert fetch(web.uri(), folder, policy, checksums=right).sha512 == SHA512


@pytest.mark.parametrize("name", ["md5", "sha256"])
def test_a_wrong_checksum_beside_the_right_sha512_leaves_no_file(
    web: t.Any, folder: pathlib.Path, policy: Policy, name: str
) -> None:
    web.answers["/file"] = (200, {}, IMAGE)
    caught = refusal(web.uri(), folder, policy, checksums={name: hashlib.new(name, b"other").hexdigest()})
    assert (caught.code, caught.context["algorithm"]) == ("checksum_mismatch", name)
    assert f" has {name} " in caught.detail
    assert list(folder.iterdir()) == []


def test_where_several_checksums_are_wrong_the_sha512_is_told(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    web.answers["/file"] = (200, {}, IMAGE)
    wrong = {"md5": "0" * 32, "sha512": SHA512}
    caught = refusal(web.uri(), folder, policy, sha512="0" * 128, checksums=wrong)
    assert (caught.code, caught.context["algorithm"]) == ("checksum_mismatch", "sha512")


def test_chunked_octets_are_the_same_octets(
    raw: t.Any, read_request: t.Any, folder: pathlib.Path, policy: Policy
) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(IMAGE), 70000):
            piece = IMAGE[start : start + 70000]
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")

    fetch(raw(script).uri(), folder, policy)
    assert (folder / NAME).read_bytes() == IMAGE


def test_a_chunk_of_less_than_nothing_is_no_answer(
    raw: t.Any, read_request: t.Any, folder: pathlib.Path, policy: Policy
) -> None:
    """Whatever comes behind such a size was taken for the chunk, however much it was."""

    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + IMAGE[:5000])

    error = refusal(raw(script).uri(), folder, policy, size=100)
    assert error.code == "unreachable"
    assert list(folder.iterdir()) == []


def test_a_body_that_ends_with_the_connection_is_accepted(
    raw: t.Any, read_request: t.Any, folder: pathlib.Path, policy: Policy
) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + IMAGE)

    assert fetch(raw(script).uri(), folder, policy).sha512 == SHA512


def test_a_file_labelled_gzip_is_taken_as_it_is(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    """Many servers label image.gz so: the octets are the endorsed ones all the same."""
    web.answers["/file"] = (200, {"Content-Encoding": "x-gzip"}, IMAGE)
    assert fetch(web.uri(), folder, policy).sha512 == SHA512


def test_a_file_comes_over_tls(tls_web: t.Any, folder: pathlib.Path, tls_policy: Policy) -> None:
    tls_web.answers["/file"] = (200, {}, IMAGE)
    assert fetch(tls_web.uri(host="localhost"), folder, tls_policy).sha512 == SHA512


def test_a_local_file_is_copied_where_the_administrator_names_it(
    tmp_path: pathlib.Path, folder: pathlib.Path, policy: Policy
) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(IMAGE)
    assert refusal(source.as_uri(), folder, policy).code == "uri_unsupported"
    assert fetch(source.as_uri(), folder, dataclasses.replace(policy, allow_file=True)).sha512 == SHA512


def test_progress_grows_to_the_whole(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    seen: list[tuple[int, int]] = []
    web.answers["/file"] = (200, {}, IMAGE)
    fetch(web.uri(), folder, policy, progress=lambda done, total: seen.append((done, total)))
    assert seen == sorted(set(seen))
    assert seen[-1] == (len(IMAGE), len(IMAGE))


def test_progress_is_told_while_a_slow_line_trickles(
    raw: t.Any, read_request: t.Any, drip: t.Any, folder: pathlib.Path, policy: Policy
) -> None:
    seen: list[int] = []

    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n")
        drip(connection, [b"x"] * 25)

    body = b"x" * 25
    fetch(raw(script).uri(), folder, policy, size=25, sha512=hashlib.sha512(body).hexdigest(),
          progress=lambda done, _total: seen.append(done))  # fmt: skip
    assert len(seen) >= 2


def test_what_progress_raises_ends_the_transfer(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    web.answers["/file"] = (200, {}, IMAGE)
    with pytest.raises(KeyboardInterrupt):
        fetch(web.uri(), folder, policy, progress=stop)
    assert (folder / NAME).stat().st_size < len(IMAGE)


@pytest.mark.parametrize("body", [IMAGE + b"x", IMAGE[:-1], b"<html>Sorry</html>", b""])
def test_a_stated_length_that_is_not_the_listed_one_is_refused_before_the_body(
    raw: t.Any, read_request: t.Any, folder: pathlib.Path, policy: Policy, body: bytes
) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        connection.recv(1)

    error = refusal(raw(script).uri(), folder, policy)
    assert error.code == "size_mismatch"
    assert str(len(body)) in error.detail
    assert str(len(IMAGE)) in error.detail
    assert list(folder.iterdir()) == []


def test_an_unstated_length_is_capped_while_it_comes(
    raw: t.Any, read_request: t.Any, folder: pathlib.Path, policy: Policy
) -> None:
    sent = 0

    def script(connection: t.Any) -> None:
        nonlocal sent
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + IMAGE)
        while sent < 100_000_000:
            connection.sendall(bytes(65536))
            sent += 65536

    seen: list[int] = []
    error = refusal(raw(script).uri(), folder, policy, progress=lambda done, _total: seen.append(done))
    assert error.code == "size_mismatch"
    assert seen[-1] == len(IMAGE)
    assert sent < 20_000_000
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("cut", [0, 1, len(IMAGE) - 1])
def test_too_few_octets_without_a_stated_length_are_a_mismatch(
    raw: t.Any, read_request: t.Any, folder: pathlib.Path, policy: Policy, cut: int
) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + IMAGE[:cut])

    error = refusal(raw(script).uri(), folder, policy)
    assert error.code == "size_mismatch"
    assert f"after {cut} octets" in error.detail
    assert list(folder.iterdir()) == []


def test_a_cut_connection_is_told_from_a_wrong_file(
    raw: t.Any, read_request: t.Any, folder: pathlib.Path, policy: Policy
) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(IMAGE) + IMAGE[:1000])

    error = refusal(raw(script).uri(), folder, policy)
    assert error.code == "unreachable"
    assert (folder / NAME).read_bytes() == IMAGE[:1000]


@pytest.mark.parametrize("position", [0, 262144, len(IMAGE) - 1])
def test_one_flipped_bit_is_a_mismatch(web: t.Any, folder: pathlib.Path, policy: Policy, position: int) -> None:
    wrong = bytearray(IMAGE)
    wrong[position] ^= 1
    web.answers["/file"] = (200, {}, bytes(wrong))
    error = refusal(web.uri(), folder, policy)
    assert error.code == "checksum_mismatch"
    assert error.context["found"] == hashlib.sha512(wrong).hexdigest()
    assert list(folder.iterdir()) == []


def test_a_missing_image_leaves_nothing(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    assert refusal(web.uri(), folder, policy).code == "not_found"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("limits", [{"total_timeout": 0.5}, {"minimum_rate": 1024, "rate_window": 0.3}])
def test_a_drip_of_one_octet_ends_at_the_limit(
    raw: t.Any, read_request: t.Any, drip: t.Any, folder: pathlib.Path, policy: Policy, limits: dict[str, t.Any]
) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(IMAGE))
        drip(connection, [b"x"] * 1000)

    strict = dataclasses.replace(policy, retries=0, **limits)
    assert refusal(raw(script).uri(), folder, strict).code == "timeout"
    assert 0 < (folder / NAME).stat().st_size < 100


def test_a_header_that_drips_ends_long_before_the_deadline_of_the_body(
    raw: t.Any, read_request: t.Any, drip: t.Any, folder: pathlib.Path, policy: Policy
) -> None:
    def script(connection: t.Any) -> None:
        read_request(connection)
        drip(connection, [b"H"] * 1000)

    patient = dataclasses.replace(policy, message_timeout=0.3, total_timeout=3600)
    assert refusal(raw(script).uri(), folder, patient).code == "timeout"


def test_a_slow_reader_of_ours_is_no_slow_server(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    web.answers["/file"] = (200, {}, IMAGE)
    strict = dataclasses.replace(policy, minimum_rate=1_000_000, rate_window=0.5)
    fetch(web.uri(), folder, strict, progress=lambda done, _all: time.sleep(1.2 if done < 2**18 else 0))
    assert (folder / NAME).read_bytes() == IMAGE


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "/etc/x", "a\0b", "a\nb", ".hidden", "x" * 256, "\u00e9", "a\\b"]
)
def test_a_name_that_is_no_plain_name_is_refused(web: t.Any, folder: pathlib.Path, policy: Policy, name: str) -> None:
    with pytest.raises(TransferError) as caught:
        fetch_file(web.uri(), folder, name, size=1, sha512=SHA512, policy=policy)
    assert caught.value.code == "internal_error"
    assert web.requests == []


def test_a_symbolic_link_is_replaced_not_followed(
    web: t.Any, tmp_path: pathlib.Path, folder: pathlib.Path, policy: Policy
) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (folder / NAME).symlink_to(victim)
    web.answers["/file"] = (200, {}, IMAGE)
    fetch(web.uri(), folder, policy)
    assert victim.read_bytes() == b"precious"
    assert not (folder / NAME).is_symlink()


def test_what_a_killed_process_left_is_replaced(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    (folder / NAME).write_bytes(b"left over, longer than nothing")
    web.answers["/file"] = (200, {}, IMAGE)
    fetch(web.uri(), folder, policy)
    assert (folder / NAME).read_bytes() == IMAGE


def test_a_name_that_another_process_writes_is_left_alone(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    web.answers["/file"] = (200, {}, IMAGE)
    with (folder / NAME).open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b"half")
        other.flush()
        assert refusal(web.uri(), folder, policy).code == "transfer_busy"
    assert (folder / NAME).read_bytes() == b"half"
    assert web.requests == []


def test_a_file_put_in_the_place_of_ours_is_not_returned(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    def swap(done: int, total: int) -> None:
        if done == total:
            (folder / NAME).unlink()
            (folder / NAME).write_bytes(b"another")

    web.answers["/file"] = (200, {}, IMAGE)
    assert refusal(web.uri(), folder, policy, progress=swap).code == "transfer_busy"
    assert (folder / NAME).read_bytes() == b"another"


@pytest.mark.parametrize("kind", ["absent", "file"])
def test_a_directory_that_is_none_is_named(web: t.Any, tmp_path: pathlib.Path, policy: Policy, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.write_bytes(b"")
    error = refusal(web.uri(), place, policy)
    assert error.code == "not_found"
    assert str(place) in error.detail
    assert web.requests == []


def test_an_image_larger_than_the_disk_is_refused_before_it_comes(
    raw: t.Any, read_request: t.Any, folder: pathlib.Path, policy: Policy
) -> None:
    size = shutil.disk_usage(folder).free + 2**40

    def script(connection: t.Any) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        time.sleep(1)

    error = refusal(raw(script).uri(), folder, policy, size=size)
    assert error.code == "disk_full"
    assert str(folder) in error.detail
    assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_nothing(web: t.Any, small_disk: pathlib.Path, policy: Policy) -> None:
    large = bytes(5 * 1024 * 1024)
    web.answers["/file"] = (200, {}, large)
    error = refusal(web.uri(), small_disk, policy, size=len(large))
    assert error.code == "disk_full"
    assert list(small_disk.iterdir()) == []


def test_a_part_never_has_the_length_of_the_whole(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    lengths: list[tuple[int, int]] = []
    web.answers["/file"] = (200, {}, IMAGE)
    fetch(web.uri(), folder, policy, progress=lambda done, _all: lengths.append((done, (folder / NAME).stat().st_size)))
    assert all(length <= done for done, length in lengths)
    assert lengths[0][1] < len(IMAGE)


def open_files() -> int:
    return sum(1 for _each in pathlib.Path("/proc/self/fd").iterdir())


def test_descriptors_and_threads_are_given_back(web: t.Any, folder: pathlib.Path, policy: Policy) -> None:
    web.answers["/file"] = (200, {}, IMAGE)
    before = open_files()
    for _turn in range(3):
        fetch(web.uri(), folder, policy)
        refusal(web.uri("/absent"), folder, policy)
        refusal(web.uri(), folder, policy, sha512="0" * 128)
    deadline = time.monotonic() + 30
    while open_files() > before and time.monotonic() < deadline:
        time.sleep(0.05)  # the test's own server closes its side in its own time
    assert open_files() <= before
    assert sum(thread.name.startswith("vmimages-") for thread in threading.enumerate()) <= 1


KILLED = """
import sys
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.fetch import fetch_file
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy
uri, folder, name, size, sha512 = sys.argv[1:]
fetch_file(uri, folder, name, size=int(size), sha512=sha512, policy=Policy(allow_private=True))
"""


def test_a_killed_transfer_leaves_a_part_and_the_next_one_completes(
    web: t.Any, folder: pathlib.Path, policy: Policy
) -> None:
    half_sent = threading.Event()

    def stall(handler: t.Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(IMAGE)))
        handler.end_headers()
        handler.wfile.write(IMAGE[: len(IMAGE) // 2])
        half_sent.wait(30)

    web.answers["/file"] = stall
    command = [sys.executable, "-c", KILLED, web.uri(), str(folder), NAME, str(len(IMAGE)), SHA512]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=environment) as process:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if (folder / NAME).exists() and (folder / NAME).stat().st_size > 0:
                break
            time.sleep(0.02)
        assert refusal(web.uri(), folder, policy).code == "transfer_busy"
        process.send_signal(signal.SIGKILL)
    half_sent.set()
    assert 0 < (folder / NAME).stat().st_size < len(IMAGE)
    web.answers["/file"] = (200, {}, IMAGE)
    fetch(web.uri(), folder, policy)
    assert (folder / NAME).read_bytes() == IMAGE
