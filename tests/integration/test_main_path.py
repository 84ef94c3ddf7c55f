# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The main path on a real nginx over https and a real ext4 image of 256 MiB: one story, told test by test.

The tests of this file build on one another, in their order: each is a chapter of the life of one image.
"""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest

from .grid import LIST, Grid, make, sha512

pytestmark = pytest.mark.needs("nginx", "mke2fs", "openssl")

SIZE = 256 * 1024 * 1024


@pytest.fixture(scope="module")
def grid(
    demo_ca: t.Any, now: t.Any, ansible_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[Grid]:
    with make(tmp_path_factory.mktemp("grid"), demo_ca, now, ansible_environment) as found:
        yield found


@pytest.fixture(scope="module")
def digests() -> dict[str, str]:
    """The sha512 of the image's versions, as the endorser built them."""
    return {}


def _once(step: t.Callable[..., dict[str, t.Any]]) -> dict[str, t.Any]:
    """Run a step, which changes something, and again, which does not; test_quartets.py has its check mode."""
    done = step()
    assert done["changed"] is True, done
    assert step()["changed"] is False
    return done


def test_an_endorser_publishes(grid: Grid, digests: dict[str, str]) -> None:
    digests["1"] = grid.build("first", size="256M")
    assert grid.image.stat().st_size == SIZE
    done = _once(grid.publish)
    assert done["list"]["version"] == "1"
    assert sha512(grid.nginx.root / "worker-1.img") == digests["1"]


def test_openssl_accepts_what_we_publish(grid: Grid) -> None:
    bundle = grid.directory / "ca.pem"
    anchors = sorted(grid.pki.certificates.glob("*.0"))
    bundle.write_bytes(b"".join(path.read_bytes() for path in anchors))
    done = subprocess.run(
        ["openssl", "cms", "-verify", "-in", grid.list_file, "-CAfile", bundle, "-no-CApath", "-no-CAstore"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hv:imagelist"]["dc:identifier"] == LIST


def test_the_site_subscribes(grid: Grid) -> None:
    done = _once(grid.subscribe)
    assert done["list"]["version"] == "1"
    assert grid.verdict()["code"] == "not_approved"


def test_the_site_approves(grid: Grid) -> None:
    _once(grid.approve)
    assert grid.verdict()["code"] == "not_cached"


def test_the_site_caches_and_may_run(grid: Grid, digests: dict[str, str]) -> None:
    _once(grid.cache)
    found = grid.verdict()
    assert found["allowed"] is True
    assert sha512(Path(found["path"])) == digests["1"]


def test_a_repeated_refresh_asks_and_changes_nothing(grid: Grid) -> None:
    state = grid.state()
    code, answer = grid.command("refresh")
    assert (code, answer["lists"][0]["status"]) == (0, "unchanged")
    assert " 304 " in grid.nginx.requests()[-1]
    assert grid.command("sync")[0] == 0
    # Beside the time of the last look, and how far the endorser has been told of what happened.
    notes = {"verdicts.json": b"", "events/cursor.json": b""}
    assert {**grid.state(), **notes} == {**state, **notes}


def test_a_new_version_replaces_the_old(grid: Grid, digests: dict[str, str]) -> None:
    grid.list_file.rename(grid.list_file.with_suffix(".old"))
    digests["2"] = grid.build("second", size="256M")
    done = grid.publish()
    assert (done["list"]["version"], done["images"][0]["version"]) == ("2", "2")
    assert grid.subscribe()["changed"] is True
    grid.cache()
    assert (grid.files("current"), grid.files("expired")) == ([digests["2"]], [digests["1"]])
    assert grid.verdict()["allowed"] is True


def _refused(grid: Grid, code: str) -> None:
    """Subscribing again fails with `code`; the journal tells of it, and everything else is as it was."""
    state = grid.state()
    done = grid.subscribe()
    assert (done["failed"], done["changed"], done["code"]) == (True, False, code)
    assert done["msg"].count(".") >= 2
    different = {name for name, digest in grid.state().items() if state.get(name) != digest}
    assert different <= {"journal.jsonl", "verdicts.json"}
    assert grid.verdict()["allowed"] is True


def test_a_replay_of_the_older_list_is_refused(grid: Grid) -> None:
    current = grid.list_file.read_bytes()
    grid.list_file.with_suffix(".old").replace(grid.list_file)
    _refused(grid, "rollback")
    grid.list_file.write_bytes(current)


def test_one_flipped_bit_in_the_list_is_refused(grid: Grid) -> None:
    current = grid.list_file.read_bytes()
    at = current.index(b'"hv:size"') + 12
    grid.list_file.write_bytes(current[:at] + bytes([current[at] ^ 1]) + current[at + 1 :])
    _refused(grid, "digest_mismatch")
    grid.list_file.write_bytes(current)


def test_one_flipped_bit_in_the_image_is_refused(grid: Grid, digests: dict[str, str]) -> None:
    digests["3"] = grid.build("third", size="256M")
    grid.publish()
    served = grid.nginx.root / "worker-3.img"
    with served.open("r+b") as stream:
        stream.seek(SIZE // 2)
        octet = stream.read(1)
        stream.seek(SIZE // 2)
        stream.write(bytes([octet[0] ^ 1]))
    grid.subscribe()
    done = grid.cache()
    assert (done["failed"], done["code"]) == (True, "checksum_mismatch")
    assert grid.files("current") == []
    assert grid.files("downloading") == []
    assert grid.verdict()["code"] == "not_cached"
    served.write_bytes(grid.image.read_bytes())
    grid.cache()
    assert grid.files("current") == [digests["3"]]


def test_withdrawal_stops_the_image(grid: Grid, digests: dict[str, str]) -> None:
    assert grid.publish(images=False)["changed"] is True
    grid.subscribe()
    assert grid.verdict()["code"] == "withdrawn"
    assert grid.cache()["changed"] is True
    assert grid.files("current") == []
    assert digests["3"] in grid.files("expired")
    assert grid.verdict()["code"] == "withdrawn"


@pytest.mark.needs("faketime")
def test_a_list_past_its_expiry_stops_the_image_without_network(grid: Grid, digests: dict[str, str]) -> None:
    grid.publish(lifetime="1h")
    grid.subscribe()
    grid.cache()
    assert grid.files("current") == [digests["3"]]
    grid.nginx.stop()
    grid.ahead = "2h"
    assert grid.verdict()["code"] == "list_expired"
    assert grid.command("sync")[0] == 0
    assert grid.files("current") == []
    assert grid.verdict()["code"] == "list_expired"


def test_no_secret_is_in_any_file_or_argument(grid: Grid) -> None:
    key = grid.pki.endorser.key_path.read_text().splitlines()[1].encode()
    for path in grid.directory.rglob("*"):
        if path.is_file() and path.stat().st_size < SIZE and path != grid.pki.endorser.key_path:
            assert key not in path.read_bytes(), path
    assert os.environ.get("X509_USER_KEY") is None
