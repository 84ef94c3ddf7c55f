# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Size and sha512 of files at rest."""

from __future__ import annotations

import hashlib
import os
import pathlib
import random

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.checksum import (
    ALGORITHMS,
    BUFFER_SIZE,
    Digest,
    digest_file,
)


@pytest.mark.parametrize("size", [0, 1, BUFFER_SIZE, BUFFER_SIZE + 1, 3 * BUFFER_SIZE - 1])
def test_the_digest_is_that_of_hashlib(tmp_path: pathlib.Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    expected = Digest(size=size, sha512=hashlib.sha512(content).hexdigest())
    assert digest_file(path) == expected
    assert digest_file(str(path)) == expected


def test_a_descriptor_is_read_from_its_start_and_keeps_its_position(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb", buffering=0) as file:
        file.seek(4)
        assert digest_file(file.fileno()).sha512 == hashlib.sha512(b"0123456789").hexdigest()
        assert file.tell() == 4


def test_progress_ends_with_the_size(tmp_path: pathlib.Path) -> None:
    seen: list[tuple[int, int]] = []
    size = 2 * BUFFER_SIZE + 5
    (tmp_path / "file").write_bytes(bytes(size))
    digest_file(tmp_path / "file", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(BUFFER_SIZE, size), (2 * BUFFER_SIZE, size), (size, size)]


def test_a_symbolic_link_is_followed_only_where_wanted(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    assert digest_file(tmp_path / "link").size == 1
    with pytest.raises(TransferError) as caught:
        digest_file(tmp_path / "link", follow=False)
    assert caught.value.code == "not_readable"


@pytest.mark.parametrize(("kind", "code"), [("absent", "not_found"), ("directory", "not_readable"), ("fifo", "not_readable")])  # fmt: skip  # noqa: E501
def test_what_is_no_file_is_refused_at_once(tmp_path: pathlib.Path, kind: str, code: str) -> None:
    path = tmp_path / "thing"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(TransferError) as caught:
        digest_file(path)
    assert caught.value.code == code
    assert str(path) in caught.value.detail


def test_a_file_that_grows_meanwhile_has_no_digest(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(BUFFER_SIZE))

    def grow(_done: int, _total: int) -> None:
        if path.stat().st_size == BUFFER_SIZE:
            with path.open("ab") as file:
                file.write(b"more")

    with pytest.raises(TransferError) as caught:
        digest_file(path, progress=grow)
    assert caught.value.code == "not_readable"
    assert "changed while it was read" in caught.value.detail


def test_every_stated_checksum_is_compared_and_unknown_ones_are_passed_over(tmp_path: pathlib.Path) -> None:
    content = random.Random(1).randbytes(BUFFER_SIZE + 7)
    path = tmp_path / "file"
    path.write_bytes(content)
    right = {name: hashlib.new(name, content).hexdigest() for name in ALGORITHMS}
    assert digest_file(path, checksums={**right, "crc32": "0", "SHA256": "0", "shake_128": "0"}) == digest_file(path)
    assert digest_file(path, checksums={"sha256": right["sha256"].upper()}) == digest_file(path)


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_one_wrong_checksum_is_enough(tmp_path: pathlib.Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"octets")
    right = {other: hashlib.new(other, b"octets").hexdigest() for other in ALGORITHMS}
    wrong = hashlib.new(name, b"others").hexdigest()
    with pytest.raises(TransferError) as caught:
        digest_file(path, checksums={**right, name: wrong})
    assert caught.value.code == "checksum_mismatch"
    assert f" has {name} " in caught.value.detail
    assert (caught.value.context["algorithm"], caught.value.context["expected"]) == (name, wrong)


def test_the_checksums_that_are_compared_exist_in_every_python() -> None:
    assert hashlib.algorithms_guaranteed >= ALGORITHMS
