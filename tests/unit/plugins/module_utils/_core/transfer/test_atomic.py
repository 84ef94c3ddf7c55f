# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files appear whole or not at all, and every failure of the file system has its code."""

from __future__ import annotations

import errno
import os
import pathlib
import threading

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError, VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.atomic import (
    fsync_directory,
    leftovers,
    make_directory,
    replace,
    storage_error,
    storage_errors,
    sweep,
    temporary_sibling,
    write_all,
    write_atomic,
)


@pytest.mark.parametrize(
    ("number", "reading", "code"),
    [
        (errno.ENOSPC, False, "disk_full"),
        (errno.EDQUOT, False, "disk_full"),
        (errno.EFBIG, False, "disk_full"),
        (errno.EACCES, False, "not_writable"),
        (errno.EPERM, False, "not_writable"),
        (errno.EROFS, False, "not_writable"),
        (errno.EIO, False, "not_writable"),
        (errno.ELOOP, False, "not_writable"),
        (errno.ENOENT, False, "not_found"),
        (errno.ENOTDIR, False, "not_found"),
        (errno.EACCES, True, "not_readable"),
        (errno.EIO, True, "not_readable"),
        (errno.ENOENT, True, "not_found"),
    ],
)
def test_every_failure_has_its_code_and_names_the_path(number: int, reading: bool, code: str) -> None:
    error = storage_error(OSError(number, os.strerror(number)), "/some/path", reading=reading)
    assert error.code == code
    assert "/some/path" in error.detail
    assert error.detail[0].isupper() or error.detail[0] == "/"


def test_a_file_is_written_and_replaced(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one")
    write_atomic(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_the_mode_is_the_one_asked_for_whatever_the_umask(tmp_path: pathlib.Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "open", b"")
        write_atomic(tmp_path / "secret", b"", 0o600)
        make_directory(tmp_path / "one" / "two")
    finally:
        os.umask(before)
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "one" / "two").stat().st_mode & 0o777 == 0o755


def test_a_directory_that_is_there_stays_as_it_is(tmp_path: pathlib.Path) -> None:
    (tmp_path / "one").mkdir(mode=0o700)
    make_directory(tmp_path / "one")
    make_directory(tmp_path / "one" / "two")
    assert (tmp_path / "one").stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(VmimagesError) as found:
        make_directory(tmp_path / "file" / "two")
    assert found.value.code == "not_writable"


def test_a_symbolic_link_is_replaced_not_followed(tmp_path: pathlib.Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "file").symlink_to(victim)
    write_atomic(tmp_path / "file", b"new")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "file").is_symlink()


def test_a_reader_never_sees_a_part(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    contents = {b"a" * 300_000, b"b" * 400_000}
    write_atomic(path, b"a" * 300_000)
    done = threading.Event()
    seen = set()

    def look() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    for _turn in range(20):
        for content in contents:
            write_atomic(path, content)
    done.set()
    reader.join(10)
    assert seen <= contents


def test_a_full_disk_leaves_the_old_file_and_nothing_beside_it(small_disk: pathlib.Path) -> None:
    path = small_disk / "file"
    write_atomic(path, b"old")
    with pytest.raises(TransferError) as caught:
        write_atomic(path, bytes(5 * 1024 * 1024))
    assert caught.value.code == "disk_full"
    assert path.read_bytes() == b"old"
    assert [each.name for each in small_disk.iterdir()] == ["file"]


def test_a_device_that_is_full_is_said_to_be_full() -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(TransferError) as caught, storage_errors("/dev/full"):
            write_all(fd, b"x")
    finally:
        os.close(fd)
    assert caught.value.code == "disk_full"


def test_a_missing_directory_is_named(tmp_path: pathlib.Path) -> None:
    with pytest.raises(TransferError) as caught:
        write_atomic(tmp_path / "absent" / "file", b"")
    assert caught.value.code == "not_found"
    with pytest.raises(TransferError) as caught:
        fsync_directory(tmp_path / "absent")
    assert caught.value.code == "not_found"


def test_a_file_system_that_refuses_is_not_writable() -> None:
    with pytest.raises(TransferError) as caught:
        write_atomic("/proc/version", b"")
    assert caught.value.code in ("not_writable", "not_found")


def test_replace_moves_and_overwrites(tmp_path: pathlib.Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    source, target = tmp_path / "from" / "a", tmp_path / "to" / "b"
    source.write_bytes(b"new")
    target.write_bytes(b"old")
    replace(source, target)
    assert target.read_bytes() == b"new"
    assert not source.exists()
    with pytest.raises(TransferError) as caught:
        replace(source, target)
    assert caught.value.code == "not_found"


def test_sweep_removes_what_a_killed_writer_left_and_nothing_else(tmp_path: pathlib.Path) -> None:
    temporary_sibling(tmp_path / "file").write_bytes(b"half")
    for name in ("file", "file.part", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"file", "file.part", ".hidden"}


def test_leftovers_are_those_of_one_file(tmp_path: pathlib.Path) -> None:
    assert leftovers(tmp_path / "missing" / "file") == []
    half = temporary_sibling(tmp_path / "file.img")
    long = tmp_path / ("x" * 128 + ".1")
    for path in (half, temporary_sibling(long), tmp_path / f".file.img{half.suffix}", tmp_path / ".file.img.0.part"):
        path.write_bytes(b"")
    assert leftovers(tmp_path / "file.img") == [half]
    # Another file may begin with these 128 letters, and be on its way.
    assert leftovers(long) == leftovers(tmp_path / "file") == []
