# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several addresses of one image: which one is asked when, and when it is given up."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import pathlib
import random
import time
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TransferError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.access.mirrors import Mirror, addresses
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.fetch import FetchedFile, fetch_file
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.intake.attempts import Attempts
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer.policy import Policy

IMAGE = random.Random(5).randbytes(600_001)
NAME = "image.raw"


@pytest.fixture
def servers(misbehaving: t.Any) -> t.Iterator[list[t.Any]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(misbehaving.Misbehaving(IMAGE)) for _number in range(3)]


def fetch(servers: t.Sequence[t.Any], folder: pathlib.Path, policy: Policy, **options: t.Any) -> FetchedFile:
    *mirrors, origin = [server if isinstance(server, str) else server.uri() for server in servers]
    digest = hashlib.sha512(IMAGE).hexdigest()
    fetched = fetch_file(
        origin, folder, NAME, size=len(IMAGE), sha512=digest, mirrors=mirrors, policy=policy, **options
    )
    assert (folder / NAME).read_bytes() == IMAGE
    return fetched


def asked(servers: t.Sequence[t.Any]) -> list[int]:
    return [len(server.requests) for server in servers]


def test_the_first_mirror_serves_alone(servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy) -> None:
    assert fetch(servers, tmp_path, policy).source == servers[0].uri()
    assert asked(servers) == [1, 0, 0]


def test_a_mirror_without_the_image_is_passed_over(
    misbehaving: t.Any, servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy
) -> None:
    servers[0].fault = misbehaving.page(404)
    gone = f"http://127.0.0.1:{misbehaving.unreachable_port()}/image"
    assert fetch([servers[0], gone, servers[1]], tmp_path, policy).source == servers[1].uri()
    assert asked(servers) == [1, 1, 0]


def test_a_mirror_with_other_octets_harms_nobody(servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy) -> None:
    servers[0].octets = bytes(len(IMAGE))
    servers[1].octets = IMAGE[:-1]
    assert fetch(servers, tmp_path, policy).source == servers[2].uri()
    assert asked(servers) == [1, 1, 1]


def test_the_next_mirror_goes_on_where_the_first_broke_off(
    servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy
) -> None:
    servers[0].cut = lambda: 250_000
    fetched = fetch(servers, tmp_path, policy)
    assert fetched.octets_received == len(IMAGE)
    assert servers[1].asked("Range") == ["bytes=250000-"]
    assert servers[1].asked("If-Range") == [None]


def test_octets_of_two_mirrors_that_do_not_fit_are_fetched_once_more(
    servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy
) -> None:
    servers[0].octets = bytes(len(IMAGE))
    servers[0].cut = lambda: 250_000
    assert fetch(servers, tmp_path, policy).resumed_from == 0
    assert servers[1].asked("Range") == ["bytes=250000-", None]


def test_every_address_that_fails_is_told(
    misbehaving: t.Any, servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy
) -> None:
    servers[0].fault = misbehaving.page(403)
    servers[1].octets = bytes(len(IMAGE))
    servers[2].fault = misbehaving.page(404)
    with pytest.raises(TransferError) as caught:
        fetch(servers, tmp_path, policy)
    assert caught.value.code == "not_found"
    codes = [failure["code"] for failure in caught.value.context["failures"]]
    assert codes == ["access_denied", "checksum_mismatch", "not_found"]
    assert asked(servers) == [1, 1, 1]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_server_that_is_busy_is_asked_again(
    misbehaving: t.Any, servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy, status: int
) -> None:
    answers = iter([misbehaving.page(status), misbehaving.page(status), None])

    def fault(handler: t.Any) -> None:
        answer = next(answers)
        (answer or (lambda known: known.serve()))(handler)

    servers[0].fault = fault
    fetch(servers[:1], tmp_path, dataclasses.replace(policy, retries=2))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 451, 501])
def test_a_server_that_says_no_is_not_asked_again(
    misbehaving: t.Any, servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy, status: int
) -> None:
    servers[0].fault = misbehaving.page(status)
    with pytest.raises(TransferError):
        fetch(servers[:1], tmp_path, dataclasses.replace(policy, retries=3))
    assert asked(servers[:1]) == [1]


def test_our_own_disk_is_not_another_mirror_s_business(
    servers: list[t.Any], small_disk: pathlib.Path, policy: Policy
) -> None:
    large = bytes(range(256)) * 20_000
    for server in servers:
        server.octets = large
    with pytest.raises(TransferError) as caught:
        fetch_file(
            servers[2].uri(),
            small_disk,
            NAME,
            size=len(large),
            sha512=hashlib.sha512(large).hexdigest(),
            mirrors=[servers[0].uri(), servers[1].uri()],
            policy=policy,
        )
    assert caught.value.code == "disk_full"
    assert asked(servers) == [1, 0, 0]


def pauses(policy: Policy, error: TransferError, *, addresses: int = 1) -> list[float]:
    """The pauses after failures without end."""
    attempts = Attempts([f"http://{number}" for number in range(addresses)], policy, started=time.monotonic())
    found = []
    with pytest.raises(TransferError):
        while True:
            found.append(attempts.failed(error, progressed=False))
    return found


def test_the_pauses_double_with_some_jitter() -> None:
    policy = Policy(retries=8, retry_pause=1.0)
    found = pauses(policy, TransferError("unreachable", "No"))
    longest = [1, 2, 4, 8, 16, 32, 60, 60]
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(found, longest))
    assert len(found) == len(longest)
    assert found != pauses(policy, TransferError("unreachable", "No"))


def test_there_is_one_pause_for_each_round() -> None:
    found = pauses(Policy(retries=2), TransferError("timeout", "No"), addresses=3)
    assert [pause > 0 for pause in found] == [False, False, True, False, False, True, False, False]


def test_a_server_may_say_how_long_it_is_busy() -> None:
    error = TransferError("http_status", "Busy", status=503, retry_after=100)
    assert pauses(Policy(retries=2), error) == [100.0, 100.0]


def test_no_pause_goes_beyond_the_deadline() -> None:
    assert pauses(Policy(retries=9, total_timeout=50), TransferError("timeout", "No"))[-1] < 50
    error = TransferError("http_status", "Busy", status=503, retry_after=100)
    assert pauses(Policy(retries=2, total_timeout=50), error) == []


def test_the_deadline_is_that_of_all_attempts(
    misbehaving: t.Any, servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy
) -> None:
    servers[0].cut = lambda: 1
    hurried = dataclasses.replace(policy, retries=10**6, retry_pause=0.02, total_timeout=0.5)
    with pytest.raises(TransferError):
        fetch(servers[:1], tmp_path, hurried)
    assert asked(servers)[0] <= 50  # the shortest pause is half of what the policy says


def test_a_pause_can_be_ended(misbehaving: t.Any, servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy) -> None:
    servers[0].fault = misbehaving.page(503)

    def stop(_done: int, _size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(servers[:1], tmp_path, dataclasses.replace(policy, retry_pause=60, total_timeout=600), progress=stop)
    assert asked(servers)[:1] == [1]


MIRROR = Mirror("https://images.example.org/all/", "https://mirror.example.net/copy/")


def test_a_mirror_has_what_is_below_its_beginning() -> None:
    assert MIRROR.address("https://images.example.org/all/a/b.img?x=1") == "https://mirror.example.net/copy/a/b.img?x=1"
    assert MIRROR.address("https://images.example.org/other/b.img") is None
    assert MIRROR.address("https://images.example.org.evil.example/all/b") is None


@pytest.mark.parametrize("rest", ["../x", "a/../../x", "a/%2e%2e/x", "%2E./x", "a%2fb", "a%5cb", "./a", "%00"])
def test_an_address_that_leads_out_of_the_mirror_is_not_there(rest: str) -> None:
    assert MIRROR.address(f"https://images.example.org/all/{rest}") is None


def test_mirrors_are_told_in_their_order() -> None:
    local = Mirror("https://images.example.org/", "file:///srv/images/")
    uri = "https://images.example.org/all/x"
    assert addresses(uri, [local, MIRROR]) == ("file:///srv/images/all/x", "https://mirror.example.net/copy/x")
    assert local.address(f"{uri}?y") is None


def test_a_local_mirror_is_read_and_nothing_beside_it(
    servers: list[t.Any], tmp_path: pathlib.Path, policy: Policy
) -> None:
    mirror, folder = tmp_path / "mirror", tmp_path / "downloading"
    mirror.mkdir()
    folder.mkdir()
    (mirror / "image").write_bytes(IMAGE)
    (tmp_path / "image").write_bytes(IMAGE)
    local = dataclasses.replace(policy, file_roots=(f"{mirror}/",))
    assert fetch([(mirror / "image").as_uri(), servers[0]], folder, local).source == (mirror / "image").as_uri()
    for beside in ("", "mirror/../", "mirror/%2e%2e/"):
        uri = f"{tmp_path.as_uri()}/{beside}image"
        assert fetch([uri, servers[0]], folder, local).source == servers[0].uri()
