# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import os
import threading
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorser.files import FileBook, in_parallel
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.raw" for number in range(5)]
    for number, path in enumerate(paths):
        path.write_bytes(os.urandom(300_000 * number))
    return paths


def test_several_files_are_read_once(images: list[Path], tmp_path: Path) -> None:
    book = FileBook(tmp_path / "files.json")
    digests = book.digests([*images, images[0]])
    assert {path: (digest.size, digest.sha512) for path, digest in digests.items()} == {
        path: (path.stat().st_size, hashlib.sha512(path.read_bytes()).hexdigest()) for path in images
    }
    assert book.read == sum(path.stat().st_size for path in images)
    book.save()
    again = FileBook(tmp_path / "files.json")
    assert again.digests(images) == digests
    assert again.read == 0


def test_a_file_that_was_touched_is_read_again(images: list[Path], tmp_path: Path) -> None:
    book = FileBook(tmp_path / "files.json")
    first = book.digest(images[1])
    times = images[1].stat()
    with images[1].open("r+b") as stream:
        stream.write(b"x" * 10)
    # The same size and time of modification: the time of change tells.
    os.utime(images[1], ns=(times.st_atime_ns, times.st_mtime_ns))
    second = book.digest(images[1])
    assert (second.size, second.sha512 != first.sha512) == (first.size, True)


def test_a_change_right_after_reading_is_noticed(tmp_path: Path) -> None:
    path, book = tmp_path / "image", FileBook(tmp_path / "files.json")
    for number in range(30):
        path.write_bytes(b"%02d" % number)
        assert book.digest(path).sha512 == hashlib.sha512(b"%02d" % number).hexdigest()
        with path.open("r+b") as stream:
            stream.write(b"xx")
        assert book.digest(path).sha512 == hashlib.sha512(b"xx").hexdigest()


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path, book = tmp_path / "image", FileBook(tmp_path / "files.json")
    path.write_bytes(bytes(50_000_000))
    stop = threading.Event()

    def write() -> None:
        with path.open("r+b") as stream:
            while not stop.is_set():
                stream.seek(0)
                stream.write(b"x")
                stream.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with pytest.raises(VmimagesError) as refusal:
            book.digest(path)
    finally:
        stop.set()
        writer.join()
    assert refusal.value.code == "not_readable"
    assert "changed while" in refusal.value.detail


def test_files_that_are_gone_are_forgotten(images: list[Path], tmp_path: Path) -> None:
    book = FileBook(tmp_path / "files.json")
    book.digests(images)
    images[2].unlink()
    book.save()
    assert images[2].name not in (tmp_path / "files.json").read_text()


def test_the_first_error_is_raised_when_all_have_ended() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 1:
            raise ValueError(number)
        done.append(number)

    with pytest.raises(ValueError, match="1"):
        in_parallel(work, t.cast("list[int]", [0, 1]))
    assert done == [0]
