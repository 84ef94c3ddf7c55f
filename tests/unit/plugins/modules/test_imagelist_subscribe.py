# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subscribing: what is pinned, what is accepted, and what changes nothing."""

from __future__ import annotations

import typing as t

import pytest

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
OTHER_IMAGE = "e0f7a6f0-62c8-4b6e-8f56-7f2d6f0f7d11"
LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"


def test_a_subscription_accepts_the_list(bench: t.Any) -> None:
    bench.publish()
    result = bench.subscribe()
    assert result["changed"] is True
    assert result["subscription"]["identifier"] == LIST
    assert result["list"]["status"] == "new"
    assert result["list"]["new_images"] == [IMAGE]
    assert [action["action"] for action in result["actions"]] == ["subscribe", "accept"]


def test_check_mode_accepts_nothing(bench: t.Any) -> None:
    bench.publish()
    planned = bench.done("imagelist_subscribe", bench.subscription(), check=True)
    assert planned["changed"] is True
    assert bench.run("image_info")["code"] == "state_missing"
    done = bench.subscribe()
    assert planned["actions"] == done["actions"]
    assert planned["diff"] == done["diff"]


def test_a_second_run_changes_nothing(bench: t.Any) -> None:
    bench.publish()
    bench.subscribe()
    before = bench.everything()
    for check in (True, False):
        again = bench.done("imagelist_subscribe", bench.subscription(), check=check)
        assert again["changed"] is False and again["actions"] == []
    assert bench.everything() == before


def test_the_identifier_is_pinned_when_left_out(bench: t.Any) -> None:
    bench.publish()
    options = {key: value for key, value in bench.subscription().items() if key != "identifier"}
    assert bench.done("imagelist_subscribe", options)["subscription"]["identifier"] == LIST
    assert bench.done("imagelist_subscribe", options)["changed"] is False


def test_a_new_version_is_accepted_when_asked_for(bench: t.Any) -> None:
    bench.publish()
    bench.subscribe()
    bench.publish(bench.image(), bench.image(OTHER_IMAGE))
    assert bench.subscribe(refresh="never")["changed"] is False
    assert bench.subscribe(refresh="stale")["changed"] is False
    result = bench.subscribe(refresh="stale", max_age="0s")
    assert result["changed"] is True
    assert result["list"]["new_images"] == [OTHER_IMAGE]


def test_an_older_list_is_refused_and_changes_nothing(bench: t.Any) -> None:
    bench.publish()
    old = bench.message.read_bytes()
    bench.publish(bench.image(octets=b"newer"))
    bench.subscribe()
    bench.message.write_bytes(old)
    result = bench.run("imagelist_subscribe", bench.subscription(refresh="always"))
    assert result.failed and result["changed"] is False
    assert result["code"] == "rollback"
    assert bench.subscribe()["changed"] is False


def test_a_content_is_let_in_by_an_act_of_rebaselining(bench: t.Any) -> None:
    digest = bench.publish()["list"]["sha512_of_content"]
    old = bench.message.read_bytes()
    bench.publish(bench.image(octets=b"newer"))
    bench.subscribe()
    bench.message.write_bytes(old)
    act = {"rebaseline": {"digest": digest, "reason": "Erin says so", "author": "sam"}}
    planned = bench.done("imagelist_subscribe", bench.subscription(**act), check=True)
    assert bench.run("imagelist_subscribe", bench.subscription(refresh="always"))["code"] == "rollback"
    done = bench.subscribe(**act)
    assert planned["actions"] == done["actions"] and planned["diff"] == done["diff"]
    assert [action["action"] for action in done["actions"]] == ["rebaseline", "accept"]
    made = done["rebaseline"]
    assert (made["state"], made["author"], made["reason"]) == ("done", "sam", "Erin says so")
    before = bench.everything()
    for check in (True, False):
        assert bench.done("imagelist_subscribe", bench.subscription(**act), check=check)["changed"] is False
    assert bench.everything() == before


def test_the_subscription_keeps_its_options(bench: t.Any) -> None:
    bench.publish()
    result = bench.subscribe(
        select=["worker"], new_images="cache", tag_key="ad:mpuri", max_list_age="28d", max_unrefreshed="3d"
    )
    told = result["subscription"]
    assert told["trust"]["anchors"] == str(bench.pki.certificates)
    assert (told["select"], told["new_images"], told["tag_key"]) == (["worker"], "cache", "ad:mpuri")
    assert (told["max_list_age"], told["max_unrefreshed"]) == (28 * 86400, 3 * 86400)


def test_a_changed_option_is_a_change_with_its_diff(bench: t.Any) -> None:
    bench.publish()
    bench.subscribe()
    result = bench.subscribe(new_images="approve")
    assert result["changed"] is True
    assert (result["diff"]["before"]["new_images"], result["diff"]["after"]["new_images"]) == ("report", "approve")


def test_a_list_moves_only_when_told_to(bench: t.Any) -> None:
    bench.publish()
    bench.subscribe()
    (bench.www / "moved.list").write_bytes(bench.message.read_bytes())
    there = f"{bench.server}/moved.list"
    assert bench.run("imagelist_subscribe", bench.subscription(uri=there))["code"] == "subscription_clash"
    assert bench.subscribe(uri=there, move=True)["subscription"]["uri"] == there


def test_a_subscription_ends(bench: t.Any) -> None:
    bench.publish()
    bench.subscribe()
    end = {"identifier": LIST, "state": "absent", "state_dir": str(bench.state_dir)}
    assert bench.done("imagelist_subscribe", end, check=True)["changed"] is True
    assert bench.done("imagelist_subscribe", end)["changed"] is True
    for check in (True, False):
        assert bench.done("imagelist_subscribe", end, check=check)["changed"] is False
    assert bench.verdict()["code"] == "unsubscribed"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"uri": "ftp://example.org/list"}, "subscription_invalid"),
        ({"identifier": "no-uuid"}, "subscription_invalid"),
        ({"identifier": IMAGE}, "identifier_mismatch"),
        ({"endorsers": []}, "subscription_invalid"),
        ({"max_list_age": "long"}, "subscription_invalid"),
        ({"max_age": "soon"}, "option_invalid"),
        ({"rebaseline": {"digest": "0f5a", "reason": "x"}}, "option_invalid"),
        ({"anchors": "/nowhere/certificates"}, "anchors_unreadable"),
        ({"ca_path": None}, "tls_failed"),
    ],
)
def test_bad_input_is_one_sentence_with_a_code(bench: t.Any, change: dict[str, t.Any], code: str) -> None:
    bench.publish()
    options = {key: value for key, value in {**bench.subscription(), **change}.items() if value is not None}
    result = bench.run("imagelist_subscribe", options)
    assert result.failed and result["changed"] is False
    assert result["code"] == code
    assert result["msg"].endswith(result["remedy"])


def test_what_is_needed_depends_on_the_state(bench: t.Any) -> None:
    assert "endorsers" in bench.run("imagelist_subscribe", {"uri": "https://example.org/list"})["msg"]
    assert "identifier" in bench.run("imagelist_subscribe", {"state": "absent"})["msg"]
