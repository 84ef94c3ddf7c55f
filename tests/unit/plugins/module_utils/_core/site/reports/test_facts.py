# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of a snapshot: what is wrong, what is refused on purpose, and what comes first."""

from __future__ import annotations

import json
import typing as t
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.plain import plain
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.reports.facts import (
    SETTLED,
    ListStatus,
    site_status,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory
from ansible_collections.hepix.vmimages.plugins.module_utils._core.times import to_text

#: Everything that is known about the list in trouble, except its images.
BAD_LIST = {
    "identifier": "5e186b44-2c64-40ea-97d5-e9e5c0bce059",
    "title": "Zoo",
    "uri": "http://example.org/zoo",
    "version": "3",
    "created": "2026-03-02T12:00:00Z",
    "expires": "2026-03-09T12:00:00Z",
    "refreshed": "2026-03-05T09:00:00Z",
    "age": "123h",
    "limit": "1d",
    "authenticated": False,
    "path_code": "crl_unavailable",
    "path_good_until": None,
    "problems": [
        {
            "severity": "critical",
            "code": "unrefreshed",
            "text": "The list was not refreshed for 5 d 3 h; the limit is 1 d.",
        },
        {"severity": "critical", "code": "crl_unavailable", "text": "There is no CRL of /CN=Root."},
        {
            "severity": "critical",
            "code": "list_expired",
            "text": "The list expired at 2026-03-09 12:00 UTC, 1 d ago.",
        },
        {
            "severity": "warning",
            "code": "timeout",
            "text": "The last refresh failed: The server did not answer in 30 seconds.",
        },
        {
            "severity": "warning",
            "code": "unauthenticated",
            "text": "The list comes over http, which does not prove its server: a newer version may be withheld.",
        },
        {
            "severity": "note",
            "code": "rebaseline",
            "text": "A re-baselining waits for its content: The endorser lost the history",
        },
    ],
    "others": {},
}

IMAGE = {
    "identifier": "00000004-9ab1-4fc8-a7ba-b7a5428ecb3d",
    "list_id": "5e186b44-2c64-40ea-97d5-e9e5c0bce059",
    "title": "Worker 4",
    "tag": "Worker 4",
    "version": "1",
    "allowed": False,
    "code": "file_changed",
    "reasons": [["file_changed", "The sentence for file_changed."]],
    "remedy": "Run `vmimages sync` with verification: the cached file is no longer the verified one.",
    "path": "/var/lib/hepix-vmimages/cache/current/00000004-9ab1-4fc8-a7ba-b7a5428ecb3d-1",
    "good_until": None,
    "state": "critical",
}


def test_the_facts_of_a_site_in_trouble(snapshots: t.Any) -> None:
    status = site_status(snapshots.trouble(), snapshots.now, site="example-site")
    first = plain(status.lists[0])
    images = first.pop("images")
    assert first == BAD_LIST
    assert images[0] == IMAGE
    assert [item.state for item in status.lists] == ["critical", "warning"]
    assert [image.code for image in status.lists[1].images] == ["not_cached", "allowed", "run_anyway", "not_approved"]
    assert [image.code for image in status.unsubscribed] == ["unsubscribed"]
    assert list(status.verdicts.items()) == [
        ("allowed", 1),
        ("run_anyway", 1),
        ("file_changed", 1),
        ("not_approved", 1),
        ("not_cached", 1),
        ("unsubscribed", 1),
        ("withdrawn", 1),
    ]
    assert (status.state, status.problems, status.site) == ("critical", (), "example-site")


def test_a_site_without_trouble_is_good(snapshots: t.Any) -> None:
    images = [snapshots.image(1), *(snapshots.image(n, code) for n, code in enumerate(sorted(SETTLED), 2))]
    status = site_status(snapshots.document(images=images), snapshots.now)
    assert status.state == "good"
    assert status.lists[0].problems == ()


def only(snapshots: t.Any, default: timedelta | None = None, /, **item: t.Any) -> ListStatus:
    document = snapshots.document({snapshots.good_list: snapshots.list(**item)})
    return site_status(document, snapshots.now, max_unrefreshed=default).lists[0]


@pytest.mark.parametrize(
    ("own", "default", "age", "alarm"),
    [
        (3600, None, 3599, False),
        (3600, None, 3600, True),
        (None, timedelta(hours=1), 3600, True),
        (7200, timedelta(hours=1), 3600, False),
        (0, timedelta(days=9), 0, True),
        (None, None, 10**8, False),
    ],
)
def test_the_alarm_rises_at_the_subscriptions_limit_else_at_the_sites(
    snapshots: t.Any, own: int | None, default: timedelta | None, age: int, alarm: bool
) -> None:
    refreshed = to_text(snapshots.now - timedelta(seconds=age))
    item = only(snapshots, default, max_unrefreshed=own, refreshed=refreshed)
    assert item.has("unrefreshed") is alarm
    assert item.age == timedelta(seconds=age)


def test_a_list_that_was_never_refreshed_alarms_where_there_is_a_limit(snapshots: t.Any) -> None:
    for limit, state in ((3600, "critical"), (None, "warning")):
        item = only(snapshots, refreshed=None, max_unrefreshed=limit)
        assert (item.state, item.age, item.has("unrefreshed")) == (state, None, True)


@pytest.mark.parametrize(
    ("uri", "authenticated"),
    [
        ("https://example.org/l", True),
        ("HTTPS://example.org/l", True),
        ("http://example.org/l", False),
        ("file:///srv/l", False),
    ],
)
def test_a_transport_that_proves_no_server_is_a_warning(snapshots: t.Any, uri: str, authenticated: bool) -> None:
    item = only(snapshots, uri=uri)
    assert (item.authenticated, item.has("unauthenticated")) == (authenticated, not authenticated)
    assert item.state == ("good" if authenticated else "warning")


def test_a_list_without_an_accepted_version_is_a_warning(snapshots: t.Any) -> None:
    item = only(snapshots, version=None, created=None, expires=None)
    assert (item.state, item.problems[0].code) == ("warning", "not_yet_accepted")


def test_what_was_good_until_now_is_good_no_more(snapshots: t.Any) -> None:
    image = snapshots.image(1)
    later = snapshots.now + timedelta(days=5)
    document = snapshots.document(images=[image])
    before = site_status(document, later - timedelta(seconds=1)).images[0]
    after = site_status(document, later)
    assert (before.allowed, before.code) == (True, "allowed")
    assert (after.images[0].allowed, after.images[0].code, after.images[0].state) == (
        False,
        "snapshot_stale",
        "warning",
    )
    assert after.images[0].reasons[0] == ("snapshot_stale", "The verdict was good until 2026-03-15 12:00 UTC.")
    assert after.lists[0].has("snapshot_stale")


def test_an_image_that_nobody_approved_is_no_problem_of_an_expired_list(snapshots: t.Any) -> None:
    image = snapshots.image(1, "list_expired")
    image["verdict"]["reasons"].append({"code": "not_approved", "text": "The site has not approved it."})
    wanted = snapshots.image(2, "list_expired")
    found = site_status(snapshots.document(images=[image, wanted]), snapshots.now).images
    assert {item.identifier: item.state for item in found} == {
        image["identifier"]: "good",
        wanted["identifier"]: "warning",
    }


def test_a_snapshot_from_the_future_is_a_warning(snapshots: t.Any) -> None:
    status = site_status(snapshots.document(), snapshots.now - timedelta(seconds=1))
    assert (status.state, status.problems[0].code) == ("warning", "snapshot_stale")


def test_what_strangers_write_becomes_one_bounded_line(snapshots: t.Any) -> None:
    hostile = "a\nb\x1b[2J\u202egnp\x00" + "W" * 5000
    image = snapshots.image(1, "not_cached", text=hostile, title=hostile, tag=hostile, version=hostile)
    item = snapshots.list(title=hostile, error={"code": "timeout", "detail": hostile})
    status = site_status(snapshots.document({snapshots.good_list: item}, [image]), snapshots.now)
    text = json.dumps(plain(status), ensure_ascii=False)
    assert all(character.isprintable() for character in text)
    assert "W" * 400 not in text


def test_the_snapshot_of_a_real_site_is_understood(world: t.Any) -> None:
    world.publish("1", [world.image(), world.image("588dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d")])
    world.subscribe(max_unrefreshed="1h")
    world.decide("approve", "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d")
    world.sync()
    document = snapshot.load(StateDirectory.at(world.state)).summary()
    status = site_status(document, world.now)
    assert status.verdicts == {"allowed": 1, "not_approved": 1}
    assert [problem.code for problem in status.lists[0].problems] == ["unauthenticated"]
    assert site_status(document, world.now + timedelta(hours=1)).lists[0].problems[0].code == "unrefreshed"
