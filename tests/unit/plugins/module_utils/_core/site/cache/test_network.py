# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of the network a run takes, and where it looks for an image."""

from __future__ import annotations

import collections
import json
import threading
import time
import typing as t
import uuid
from concurrent.futures import CancelledError, Future

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.cache.work import Limits, _result

from ..conftest import IMAGE, World

OCTETS = bytes(range(256)) * 20


@pytest.fixture
def server(misbehaving: t.Any) -> t.Iterator[t.Any]:
    with misbehaving.Misbehaving(OCTETS) as found:
        yield found


class Watched:
    """Counts how many requests are answered at once, by host and in all."""

    def __init__(self) -> None:
        self.most: collections.Counter[str] = collections.Counter()
        self._now: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def __call__(self, handler: t.Any) -> None:
        names = (handler.headers["Host"].partition(":")[0], "all")
        with self._lock:
            self._now.update(names)
            for name in names:
                self.most[name] = max(self.most[name], self._now[name])
        time.sleep(0.05)
        with self._lock:
            self._now.subtract(names)
        handler.serve()


@pytest.mark.parametrize(("parallel", "per_host"), [(1, 1), (3, 2), (4, 4), (6, 1)])
def test_no_more_images_are_fetched_at_once_than_allowed(
    world: World, server: t.Any, parallel: int, per_host: int
) -> None:
    images = []
    for number in range(12):
        host = "localhost" if number % 2 else "127.0.0.1"
        image = world.image(str(uuid.UUID(int=number + 1)), octets=OCTETS)
        images.append({**image, "hv:uri": server.uri(f"/{number}", host=host)})
    world.publish("1", images)
    world.subscribe(new_images="cache", allow_private=True)
    watched = Watched()
    server.fault = watched
    outcome = world.sync(limits=Limits(parallel=parallel, per_host=per_host))
    assert len(outcome.data["downloaded"]) == 12
    assert max(watched.most["localhost"], watched.most["127.0.0.1"]) <= per_host
    assert min(2, parallel) <= watched.most["all"] <= parallel


def test_images_of_one_host_come_over_kept_connections(world: World, server: t.Any) -> None:
    images = [world.image(str(uuid.UUID(int=number + 1)), octets=OCTETS) for number in range(6)]
    world.publish("1", [{**image, "hv:uri": server.uri()} for image in images])
    world.subscribe(new_images="cache", allow_private=True)
    ports = set()

    def fault(handler: t.Any) -> None:
        ports.add(handler.client_address)
        handler.serve()

    server.fault = fault
    world.sync(limits=Limits(parallel=1))
    assert len(ports) == 1


def test_a_host_that_is_down_does_not_keep_the_others_waiting(world: World, misbehaving: t.Any, server: t.Any) -> None:
    """Each image is asked for, but after a few of them only once."""
    images = [world.image(str(uuid.UUID(int=number + 1)), octets=OCTETS) for number in range(9)]
    world.publish("1", [{**image, "hv:uri": server.uri(f"/{number}")} for number, image in enumerate(images)])
    world.subscribe(new_images="cache", allow_private=True)
    server.fault = misbehaving.silent
    outcome = world.sync(limits=Limits(parallel=1, retries=1))
    assert [failure["code"] for failure in outcome.data["failures"]] == ["unreachable"] * 9
    asked = collections.Counter(path for path, _headers in server.requests)
    assert sorted(asked.values()) == [1] * 6 + [2] * 3
    server.fault = None
    assert len(world.sync().data["downloaded"]) == 9


def test_a_mirror_of_the_subscription_is_asked_first(world: World, server: t.Any) -> None:
    image = world.image(octets=OCTETS)
    world.publish("1", [{**image, "hv:uri": "https://images.example.org/all/worker.img"}])
    mirror = {"match": "https://images.example.org/", "replace": server.uri("/copy/")}
    world.subscribe(new_images="cache", mirrors=[mirror])
    [entry] = world.sync().data["downloaded"]
    assert entry["source"] == server.uri("/copy/all/worker.img")
    assert (entry["octets"], entry["resumed_from"]) == (len(OCTETS), 0)
    assert world.files("current") == [OCTETS]
    assert world.verdict(IMAGE)["allowed"]


def test_a_subscription_says_of_secrets_where_they_are(world: World, tmp_path: t.Any) -> None:
    path = tmp_path / "token"
    path.write_text("s3cr3t")
    path.chmod(0o600)
    world.publish("1", [])
    access: dict[str, t.Any] = {
        "credentials": [{"host": "dcache.example.org:2880", "token_file": str(path)}],
        "proxy": "http://squid.example.org:3128",
        "no_proxy": ["localhost"],
    }
    outcome = world.subscribe(**access)
    told = outcome.data["subscription"]["access"]
    assert {key: told[key] for key in access} == access
    assert not world.subscribe(refresh="stale", **access).changed
    written = [file.read_text(errors="replace") for file in world.state.rglob("*") if file.is_file()]
    assert any(str(path) in text for text in written)
    assert not any("s3cr3t" in text for text in (*written, json.dumps(outcome.data)))


def test_a_server_that_no_one_foresaw_stops_no_other_image(world: World, misbehaving: t.Any, server: t.Any) -> None:
    """A chunk's size below nothing ended the whole run: one list's server kept all others' images away."""

    def odd(handler: t.Any) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n" + bytes(60000))
        handler.close_connection = True

    server.fault = odd
    first, second = (world.image(str(uuid.UUID(int=number))) for number in (1, 2))
    world.publish("1", [{**first, "hv:uri": server.uri()}, second])
    world.subscribe(new_images="cache", allow_private=True)
    outcome = world.sync(limits=Limits(parallel=1, retries=0))
    assert [item["image"] for item in outcome.data["downloaded"]] == [second["dc:identifier"]]
    assert [(item["image"], item["code"]) for item in outcome.data["failures"]] == [
        (first["dc:identifier"], "unreachable")
    ]


def test_a_defect_met_with_one_image_is_its_own_failure() -> None:
    met: Future[t.Any] = Future()
    met.set_exception(ZeroDivisionError("by zero"))
    with pytest.raises(VmimagesError) as caught:
        _result(met)
    assert caught.value.code == "internal_error"
    met = Future()
    met.set_exception(CancelledError())
    with pytest.raises(CancelledError):
        _result(met)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"proxy": "squid.example.org:3128"}, "proxy"),
        ({"proxy": "http://user:word@squid.example.org"}, "proxy"),
        ({"proxy": "socks5://squid.example.org"}, "proxy"),
        ({"proxy_password_file": "/x"}, "proxy_password_file"),
        ({"proxy": "environment", "proxy_password_file": "/x"}, "proxy_password_file"),
        ({"mirrors": [{"match": "https://a.example.org", "replace": "https://b.example.org/"}]}, "mirrors[0].match"),
        ({"mirrors": [{"match": "https://a.example.org/", "replace": "https://b.example.org"}]}, "mirrors[0].replace"),
        ({"mirrors": [{"match": "file:///a/", "replace": "https://b.example.org/"}]}, "mirrors[0].match"),
        ({"mirrors": [{"match": "https://a.example.org/", "replace": "ftp://b.example.org/"}]}, "mirrors[0].replace"),
        ({"credentials": [{"host": "a.example.org"}]}, "credentials[0]"),
        ({"credentials": [{"host": "https://a/", "token_file": "/x"}]}, "credentials[0].host"),
        ({"credentials": [{"host": "user@a", "token_file": "/x"}]}, "credentials[0].host"),
        ({"credentials": [{"host": "a:99999", "token_file": "/x"}]}, "credentials[0].host"),
        ({"credentials": [{"host": "a", "token_file": "x"}]}, "credentials[0].token_file"),
        ({"credentials": [{"host": "a", "token_file": "/x", "password_file": "/y"}]}, "credentials[0]"),
        ({"credentials": [{"host": "a", "private_key": "/x"}]}, "credentials[0].private_key"),
    ],
)
def test_access_that_makes_no_sense_is_refused(world: World, options: dict[str, t.Any], named: str) -> None:
    with pytest.raises(VmimagesError) as caught:
        world.wanted(**options)
    assert (caught.value.code, caught.value.context["option"]) == ("subscription_invalid", named)
