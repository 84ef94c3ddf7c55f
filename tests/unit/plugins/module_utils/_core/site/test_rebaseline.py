# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Re-baselining after a version that nothing can follow: one content is let in, once, and nothing else."""

from __future__ import annotations

import json
import typing as t
from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.rebaseline import Act
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.lists.subscribe import unsubscribe

from .conftest import IMAGE, IMAGE_2, LIST, World, content_of


@pytest.fixture
def forward(world: World) -> World:
    """A site that has accepted version 999999999."""
    world.publish("3", [world.image()])
    world.subscribe(new_images="cache")
    world.publish("999999999", [world.image(IMAGE_2)])
    world.refresh()
    return world


def _status(world: World) -> str:
    report = world.refresh().data["lists"][0]
    return str(report["error"]["code"] if "error" in report else report["status"])


def _pending(world: World) -> t.Any:
    return json.loads((world.state / "verdicts.json").read_bytes())["lists"][LIST]["rebaseline"]


def test_the_named_content_is_accepted_and_versions_rise_from_there(forward: World) -> None:
    lower = forward.publish("4", [forward.image()])
    assert _status(forward) == "rollback"
    assert forward.rebaseline(lower).changed
    assert _status(forward) == "new"
    assert forward.verdict(IMAGE_2)["code"] == "withdrawn"
    forward.publish("3", [forward.image()])
    assert _status(forward) == "rollback"
    forward.publish("4", [forward.image()])
    assert _status(forward) == "version_reused"
    forward.publish("5", [forward.image()])
    assert _status(forward) == "new"


def test_a_reused_version_can_be_let_in(forward: World) -> None:
    other = forward.publish("999999999", [forward.image()])
    assert _status(forward) == "version_reused"
    forward.rebaseline(other)
    assert _status(forward) == "new"


def test_only_the_named_content_is_let_in(forward: World) -> None:
    named = forward.message("4", [forward.image()])
    forward.rebaseline(named)
    forward.publish("4", [forward.image()])
    assert _status(forward) == "rollback"
    forward.serve(named)
    assert _status(forward) == "new"


def test_what_was_set_aside_does_not_come_back(forward: World) -> None:
    """The mirror still has the message of version 999999999, and its signature is as good as ever."""
    high = (forward.web / LIST).read_bytes()
    lower = forward.publish("4", [forward.image()])
    forward.rebaseline(lower)
    forward.refresh()
    forward.serve(high)
    assert _status(forward) == "rollback"
    forward.publish("5", [forward.image()])
    assert _status(forward) == "new"
    forward.serve(high)
    assert _status(forward) == "rollback"


def test_everything_but_the_version_is_still_checked(forward: World) -> None:
    stranger = forward.pki.issue("Mallory")
    cases: list[tuple[str, dict[str, t.Any]]] = [
        ("not_authorised", {"signer": stranger}),
        ("list_expired", {"days": -0.01}),
        ("identifier_mismatch", {"dc:identifier": IMAGE}),
    ]
    for code, options in cases:
        forward.rebaseline(forward.publish("4", [forward.image()], **options))
        assert _status(forward) == code
    named = forward.message("4", [forward.image()])
    forward.rebaseline(named)
    forward.serve(named.replace(b'"dc:title": "SL5"', b'"dc:title": "SL6"'))
    assert _status(forward) == "digest_mismatch"


def test_the_next_acceptance_ends_the_act(forward: World) -> None:
    lower = forward.message("4", [forward.image()])
    forward.rebaseline(lower)
    assert _pending(forward)["digest"] == content_of(lower)
    forward.publish("1000000000", [forward.image()])
    assert _status(forward) == "new"
    assert _pending(forward) is None
    forward.serve(lower)
    assert _status(forward) == "rollback"
    with pytest.raises(VmimagesError) as found:
        forward.rebaseline(lower)
    assert found.value.code == "option_invalid"
    assert forward.rebaseline(lower, "once more").changed
    assert _status(forward) == "new"


def test_the_standing_content_signed_anew_does_not_end_the_act(world: World) -> None:
    short = world.pki.issue("Erin Endorser", 10)
    image = world.image()
    world.publish("999999999", [image], signer=short)
    world.subscribe()
    lower = world.message("4", [world.image()])
    world.rebaseline(lower)
    world.publish("999999999", [image])
    assert _status(world) == "renewed"
    assert _pending(world)["state"] == "pending"
    world.serve(lower)
    assert _status(world) == "new"


def test_an_act_is_made_once(forward: World) -> None:
    lower = forward.publish("4", [forward.image()])
    assert forward.rebaseline(lower).changed
    journal = (forward.state / "journal.jsonl").read_bytes()
    assert not forward.rebaseline(lower).changed
    assert (forward.state / "journal.jsonl").read_bytes() == journal
    forward.refresh()
    assert forward.rebaseline(lower).data["rebaseline"]["state"] == "done"
    forward.publish("5", [forward.image()])
    forward.refresh()
    assert not forward.rebaseline(lower).changed


def test_the_accepted_content_needs_no_act(forward: World) -> None:
    outcome = forward.rebaseline((forward.web / LIST).read_bytes())
    assert not outcome.changed
    assert outcome.data["rebaseline"]["state"] == "not_needed"
    assert forward.rows()["rebaselines"] == []


def test_a_new_act_takes_the_place_of_a_pending_one(forward: World) -> None:
    first, second = forward.message("4", [forward.image()]), forward.message("4", [forward.image()])
    forward.rebaseline(first)
    forward.rebaseline(second)
    forward.serve(first)
    assert _status(forward) == "rollback"
    forward.serve(second)
    assert _status(forward) == "new"


def test_the_act_is_journaled_with_its_reason_and_author(forward: World) -> None:
    lower = forward.message("4", [forward.image()])
    forward.rebaseline(lower, "Erin confirmed it on the phone")
    line = json.loads((forward.state / "journal.jsonl").read_bytes().splitlines()[-1])
    assert (line["event"], line["by"]) == ("rebaselined", "sam")
    assert line["data"] == {
        "identifier": LIST,
        "content_sha512": content_of(lower),
        "reason": "Erin confirmed it on the phone",
        "author": "sam",
    }


def test_check_mode_records_nothing(forward: World) -> None:
    lower = forward.publish("4", [forward.image()])
    assert forward.rebaseline(lower, check=True).changed
    assert forward.rows()["rebaselines"] == []
    assert _status(forward) == "rollback"


def test_a_list_without_an_accepted_version_has_nothing_to_leave(world: World) -> None:
    octets = world.message("4", [world.image()])
    with pytest.raises(VmimagesError) as found:
        world.rebaseline(octets)
    assert found.value.code == "unknown_list"
    world.subscribe(refresh="never")
    with pytest.raises(VmimagesError) as found:
        world.rebaseline(octets)
    assert found.value.code == "not_yet_accepted"


def test_unsubscribing_ends_the_act(forward: World) -> None:
    lower = forward.publish("4", [forward.image()])
    forward.rebaseline(lower)
    with forward.open() as catalogue:
        unsubscribe(catalogue, identifier=LIST)
    with pytest.raises(VmimagesError) as found:
        forward.subscribe(new_images="cache")
    assert found.value.code == "rollback"


@pytest.mark.parametrize("option", [{"digest": "0f5a"}, {"digest": "z" * 128}, {"reason": "  "}])
def test_a_senseless_act_is_refused(option: dict[str, str]) -> None:
    with pytest.raises(VmimagesError) as found:
        Act.from_options({"digest": "0" * 128, "reason": "a slip", **option})
    assert found.value.code == "option_invalid"
    assert found.value.detail.startswith(next(iter(option)))


class TestSubscribing:
    """The same act as a part of what a subscription declares."""

    def test_it_counts_at_once_and_is_made_once(self, forward: World) -> None:
        lower = forward.publish("4", [forward.image()])
        act = Act(content_of(lower), "a slip")
        planned = forward.subscribe(new_images="cache", act=act, check=True)
        assert forward.rows()["rebaselines"] == []
        done = forward.subscribe(new_images="cache", act=act, refresh="stale")
        assert planned.actions == done.actions
        assert [action["action"] for action in done.actions] == ["rebaseline", "accept"]
        assert done.data["rebaseline"]["state"] == "done"
        again = forward.subscribe(new_images="cache", act=act)
        assert not again.changed
        forward.publish("5", [forward.image()])
        later = forward.subscribe(new_images="cache", act=act)
        assert [action["action"] for action in later.actions] == ["accept"]
        assert not forward.subscribe(new_images="cache", act=act).changed

    def test_it_waits_for_a_server_that_is_down(self, forward: World) -> None:
        lower = forward.message("4", [forward.image()])
        (forward.web / LIST).unlink()
        outcome = forward.subscribe(new_images="cache", act=Act(content_of(lower), "a slip"))
        assert outcome.changed and "not_found" in outcome.warnings[0]
        forward.serve(lower)
        assert _status(forward) == "new"

    def test_without_a_refresh_it_is_recorded_only(self, forward: World) -> None:
        lower = forward.publish("4", [forward.image()])
        outcome = forward.subscribe(new_images="cache", act=Act(content_of(lower), "a slip"), refresh="never")
        assert [action["action"] for action in outcome.actions] == ["rebaseline"]
        assert _pending(forward)["state"] == "pending"

    def test_a_subscription_that_was_ended_begins_again(self, forward: World) -> None:
        lower = forward.publish("4", [forward.image()])
        with forward.open() as catalogue:
            unsubscribe(catalogue, identifier=LIST)
        outcome = forward.subscribe(new_images="cache", act=Act(content_of(lower), "a slip"))
        assert [action["action"] for action in outcome.actions] == ["subscribe", "rebaseline", "accept"]

    def test_a_new_site_needs_no_act(self, world: World) -> None:
        lower = world.publish("4", [world.image()])
        outcome = world.subscribe(act=Act(content_of(lower), "a slip"))
        assert [action["action"] for action in outcome.actions] == ["subscribe", "accept"]
        assert outcome.data["rebaseline"]["state"] == "not_needed"

    def test_an_ended_act_is_told(self, forward: World) -> None:
        act = Act(content_of(forward.message("4", [forward.image()])), "a slip")
        forward.subscribe(new_images="cache", act=act, refresh="never")
        forward.publish("1000000000", [forward.image()])
        forward.refresh()
        outcome = forward.subscribe(new_images="cache", act=act)
        assert not outcome.changed
        assert "has ended" in outcome.warnings[0]

    def test_the_list_must_be_named(self, forward: World) -> None:
        with pytest.raises(VmimagesError) as found:
            forward.subscribe(None, uri=f"{forward.base}/elsewhere", act=Act("0" * 128, "a slip"))
        assert found.value.code == "subscription_invalid"


def test_a_rebuild_keeps_what_was_set_aside(forward: World) -> None:
    high = (forward.web / LIST).read_bytes()
    lower = forward.publish("4", [forward.image()])
    forward.rebaseline(lower)
    forward.refresh()
    rows = forward.rows()
    (forward.state / "catalogue.sqlite").unlink()
    assert forward.rows() == rows
    assert rows["rebaselines"][0][-1] == "done"
    forward.serve(high)
    assert _status(forward) == "rollback"


def test_the_content_let_in_ends_by_the_clock_as_any_other(forward: World) -> None:
    forward.rebaseline(forward.publish("4", [forward.image()], days=1))
    forward.refresh()
    forward.sync()
    assert forward.verdict()["allowed"]
    forward.now += timedelta(days=2)
    assert forward.verdict()["code"] == "list_expired"
