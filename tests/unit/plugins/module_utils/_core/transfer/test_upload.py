# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publishing into a directory, and the rules that say where."""

from __future__ import annotations

import hashlib
import os
import pathlib
import threading
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.base import Settings, Uploader
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.local import LocalUploader
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.rules import (
    UploadRule,
    target_for,
    uploader_for,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.sftp import SftpUploader
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.upload.webdav import WebdavUploader

CONTENT = bytes(range(256)) * 3000
SHA512 = hashlib.sha512(CONTENT).hexdigest()


def put(payload: bytes | pathlib.Path, target: pathlib.Path, uploader: Uploader | None = None) -> None:
    (uploader or LocalUploader()).put(payload, str(target), size=len(CONTENT), sha512=SHA512)


@pytest.mark.parametrize("kind", ["octets", "file"])
def test_a_payload_appears_whole(tmp_path: pathlib.Path, kind: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    web = tmp_path / "web"
    web.mkdir()
    put(CONTENT if kind == "octets" else source, web / "image.raw")
    put(CONTENT if kind == "octets" else source, web / "image.raw")
    assert (web / "image.raw").read_bytes() == CONTENT
    assert [each.name for each in web.iterdir()] == ["image.raw"]


def test_the_file_may_be_read_by_the_web_server_unless_the_umask_says_no(tmp_path: pathlib.Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    source.chmod(0o600)
    before = os.umask(0o022)
    try:
        put(source, tmp_path / "public")
        os.umask(0o077)
        put(source, tmp_path / "private")
    finally:
        os.umask(before)
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"", b"\xff" + CONTENT[1:], bytes(10_000_000)])
def test_what_was_not_announced_is_not_published(tmp_path: pathlib.Path, content: bytes) -> None:
    (tmp_path / "target").write_bytes(b"old")
    with pytest.raises(TransferError) as caught:
        put(content, tmp_path / "target")
    assert caught.value.code == "upload_failed"
    assert (tmp_path / "target").read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["target"]


def test_a_wrong_size_is_not_made_good_by_the_right_digest(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TransferError) as caught:
        LocalUploader().put(CONTENT, str(tmp_path / "target"), size=len(CONTENT) + 1, sha512=SHA512)
    assert caught.value.code == "upload_failed"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_never_sees_a_part(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    done = threading.Event()
    seen = set()

    def look() -> None:
        while not done.is_set():
            seen.add(target.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    for _turn in range(10):
        put(CONTENT, target)
    done.set()
    reader.join(10)
    assert seen <= {b"old", CONTENT}


def test_a_full_disk_leaves_what_was_published(small_disk: pathlib.Path) -> None:
    target = small_disk / "target"
    target.write_bytes(b"old")
    large = bytes(5 * 1024 * 1024)
    with pytest.raises(TransferError) as caught:
        LocalUploader().put(large, str(target), size=len(large), sha512=hashlib.sha512(large).hexdigest())
    assert caught.value.code == "disk_full"
    assert target.read_bytes() == b"old"
    assert [each.name for each in small_disk.iterdir()] == ["target"]


def test_directories_are_made_only_when_asked(tmp_path: pathlib.Path) -> None:
    target = tmp_path / "a" / "b" / "image.raw"
    with pytest.raises(TransferError) as caught:
        put(CONTENT, target)
    assert caught.value.code == "not_found"
    assert str(target.parent) in caught.value.detail
    assert list(tmp_path.iterdir()) == []
    put(CONTENT, target, LocalUploader(create_directories=True))
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["relative", "", "/", "/tmp/", "/tmp/../etc/x", "/tmp/a\0b"])
def test_a_target_that_is_no_full_path_of_a_file_is_refused(target: str) -> None:
    with pytest.raises(TransferError) as caught:
        LocalUploader().put(b"", target, size=0, sha512="")
    assert caught.value.code == "upload_failed"
    with pytest.raises(TransferError) as caught:
        LocalUploader().stat(target)
    assert caught.value.code == "upload_failed"


def test_a_directory_in_the_place_of_the_target_is_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TransferError) as caught:
        put(CONTENT, tmp_path)
    assert caught.value.code == "upload_failed"
    with pytest.raises(TransferError) as caught:
        LocalUploader().stat(str(tmp_path))
    assert caught.value.code == "upload_failed"


def test_a_source_that_is_not_there_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TransferError) as caught:
        put(tmp_path / "absent", tmp_path / "target")
    assert caught.value.code == "not_found"
    assert "absent" in caught.value.detail
    assert list(tmp_path.iterdir()) == []


def test_stat_tells_what_is_there(tmp_path: pathlib.Path) -> None:
    assert LocalUploader().stat(str(tmp_path / "target")) is None
    assert LocalUploader().stat(str(tmp_path / "absent" / "target")) is None
    put(CONTENT, tmp_path / "target")
    stored = LocalUploader().stat(str(tmp_path / "target"))
    assert stored is not None
    assert stored.size == len(CONTENT)


def test_progress_reaches_the_size(tmp_path: pathlib.Path) -> None:
    seen: list[tuple[int, int]] = []
    put(CONTENT, tmp_path / "target", LocalUploader(progress=lambda done, total: seen.append((done, total))))
    assert seen[-1] == (len(CONTENT), len(CONTENT))


RULES = (
    UploadRule(uri_match=r"https://images\.example\.org/list/", uri_replace="/srv/lists/"),
    UploadRule(uri_match=r"(?i)https://(a|b)\.example\.org/", uri_replace=r"/srv/\1/"),
    UploadRule(uri_match=r"https://images\.example\.org/", uri_replace="/srv/images/"),
)


@pytest.mark.parametrize(
    ("uri", "target"),
    [
        ("https://images.example.org/list/x.smime", "/srv/lists/x.smime"),
        ("https://images.example.org/x/y.raw", "/srv/images/x/y.raw"),
        ("https://images.example.org/my%20image.raw", "/srv/images/my image.raw"),
        ("https://b.example.org/x", "/srv/b/x"),
    ],
)
def test_the_first_rule_that_matches_the_beginning_wins(uri: str, target: str) -> None:
    rule, found = target_for(uri, RULES)
    assert (rule.method, found) == ("local", target)


@pytest.mark.parametrize("uri", ["https://other.example.org/x", "x https://images.example.org/", ""])
def test_an_address_without_a_rule_is_refused(uri: str) -> None:
    with pytest.raises(TransferError) as caught:
        target_for(uri, RULES)
    assert caught.value.code == "no_upload_rule"


@pytest.mark.parametrize(
    "rest",
    [
        "../x",
        "a/../../x",
        "..",
        "%2e%2e/x",
        ".%2E/x",
        "a%2f..%2f..%2fx",
        "a%2Fb",
        "./x",
        "a%00b",
        "x?version=1",
        "x#part",
    ],
)
def test_a_target_outside_its_directory_is_refused(rest: str) -> None:
    with pytest.raises(TransferError) as caught:
        target_for(f"https://images.example.org/{rest}", RULES)
    assert caught.value.code == "upload_failed"


def test_a_group_cannot_lead_out_either() -> None:
    rule = UploadRule(uri_match=r"https://images\.example\.org/(.*)", uri_replace=r"/srv/\1")
    assert target_for("https://images.example.org/a/b", [rule]) == (rule, "/srv/a/b")
    for uri in ("https://images.example.org/../x", "https://images.example.org/%2e%2e/x"):
        with pytest.raises(TransferError):
            target_for(uri, [rule])


@pytest.mark.parametrize(
    ("match", "replacement", "method"),
    [("(", "/srv/", "local"), ("x", r"\1", "local"), ("x", r"\g<name>", "local"), ("x", "/srv/", "carrier-pigeon")],
)
def test_a_rule_that_cannot_work_is_refused_when_it_is_made(match: str, replacement: str, method: str) -> None:
    with pytest.raises(ValueError, match=r"uri_match|upload method"):
        UploadRule(uri_match=match, uri_replace=replacement, method=method)


def test_an_upload_by_rule_makes_the_directories(tmp_path: pathlib.Path) -> None:
    put(CONTENT, tmp_path / "new" / "target", uploader_for(UploadRule(uri_match="x", uri_replace="/srv/")))
    assert (tmp_path / "new" / "target").read_bytes() == CONTENT


@pytest.mark.parametrize("size", [b"-1", b"10000"])
def test_what_a_server_holds_is_read_no_further_than_asked(raw: t.Any, read_request: t.Any, size: bytes) -> None:
    """A chunk's size of less than nothing was read to the end of the connection, into memory."""
    sent = 0

    def script(connection: t.Any) -> None:
        nonlocal sent
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n" % size)
        for _turn in range(256):
            connection.sendall(bytes(65536))
            sent += 65536

    uploader = WebdavUploader(Settings())
    try:
        assert uploader.read(raw(script).uri(), 1000) == bytes(1000)
    except TransferError as error:
        assert (size, error.code) == (b"-1", "unreachable")
    assert sent < 256 * 65536


@pytest.mark.parametrize("there", [False, True])
def test_an_sftp_that_cannot_be_run_is_said_to_be_missing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    if there:
        (tmp_path / "sftp").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TransferError) as refused:
        SftpUploader(Settings()).stat("sftp://images@localhost/a.raw")
    assert refused.value.code == "tool_missing"
