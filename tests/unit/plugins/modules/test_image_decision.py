# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deciding: recorded once, for whom it names, and never against the endorser."""

from __future__ import annotations

import typing as t

import pytest

from .test_endorserlist_subscribe import VO_LIST, elect
from .test_endorserlist_subscribe import subscribe as follow

LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"


@pytest.fixture
def subscribed(bench: t.Any) -> t.Any:
    bench.publish()
    bench.subscribe()
    return bench


def test_an_approval_is_recorded_and_told(subscribed: t.Any) -> None:
    assert subscribed.verdict()["code"] == "not_approved"
    result = subscribed.decide("approve", reason="Tested.", author="sally")
    assert result["changed"] is True
    assert result["decisions"][IMAGE] == [
        {"decision": "approve", "list": LIST, "reason": "Tested.", "author": "sally", "until": None}
    ]
    assert result["actions"] == [{"action": "approve", "image": IMAGE}]
    assert result["diff"]["before"] == {IMAGE: []}
    assert subscribed.verdict()["code"] == "not_cached"


def test_check_mode_records_nothing(subscribed: t.Any) -> None:
    before = subscribed.everything()
    options = {"decision": "approve", "images": [IMAGE], "state_dir": str(subscribed.state_dir)}
    planned = subscribed.done("image_decision", options, check=True)
    assert planned["changed"] is True
    assert subscribed.everything() == before
    assert subscribed.decide("approve")["diff"] == planned["diff"]


@pytest.mark.parametrize("decision", ["approve", "blacklist", "run_anyway", "clear"])
def test_a_second_run_changes_nothing(subscribed: t.Any, decision: str) -> None:
    subscribed.decide("approve" if decision == "clear" else "clear")
    assert subscribed.decide(decision, reason="Because.")["changed"] is True
    before = subscribed.everything()
    assert subscribed.decide(decision, reason="Because.")["changed"] is False
    assert subscribed.everything() == before


def test_a_tag_is_decided_for(subscribed: t.Any) -> None:
    result = subscribed.decide("blacklist", tags=["worker"], until="2099-01-31T00:00:00Z")
    assert result["actions"] == [{"action": "blacklist", "tag": "worker"}]
    assert result["decisions"]["worker"][0]["until"] == "2099-01-31T00:00:00Z"
    assert subscribed.verdict()["code"] == "blacklisted"


def test_a_decision_is_taken_back(subscribed: t.Any) -> None:
    subscribed.decide("blacklist")
    assert subscribed.decide("clear")["decisions"] == {IMAGE: []}
    assert subscribed.verdict()["code"] == "not_approved"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"images": ["aaaaaaaa-0000-4000-8000-000000000000"]}, "unknown_image"),
        ({"tags": ["nobody's tag"]}, "unknown_image"),
        ({"images": ["worker"]}, "decision_invalid"),
        ({}, "decision_invalid"),
        ({"images": [IMAGE], "until": "2001-01-01T00:00:00Z"}, "decision_invalid"),
        ({"images": [IMAGE], "until": "tomorrow"}, "option_invalid"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(subscribed: t.Any, options: t.Any, code: str) -> None:
    before = subscribed.everything()
    result = subscribed.run(
        "image_decision", {"decision": "approve", "state_dir": str(subscribed.state_dir), **options}
    )
    assert result.failed and result["changed"] is False
    assert result["code"] == code
    assert subscribed.everything() == before


def test_nothing_can_be_decided_without_a_subscription(bench: t.Any) -> None:
    options = {"decision": "approve", "images": [IMAGE], "state_dir": str(bench.state_dir)}
    assert bench.run("image_decision", options)["code"] == "state_missing"
    assert not bench.state_dir.exists()


def test_a_whole_list_and_an_endorser_are_decided_for(subscribed: t.Any) -> None:
    pair = {"dn": subscribed.pki.endorser.dn, "ca": subscribed.pki.endorser.ca}
    name = f"{pair['dn']} issued by {pair['ca']}"
    options = {"decision": "blacklist", "state_dir": str(subscribed.state_dir)}
    result = subscribed.done("image_decision", {**options, "whole_lists": [LIST], "endorsers": [pair]})
    assert result["actions"] == [{"action": "blacklist", "list": LIST}, {"action": "blacklist", "endorser": name}]
    assert set(result["decisions"]) == {LIST, name}
    assert subscribed.verdict()["code"] == "blacklisted"
    found = subscribed.done("image_info", {"state_dir": str(subscribed.state_dir), "images": [IMAGE]})["images"][0]
    about = {(item["target_type"], item["target"]) for item in found["decisions"]}
    assert about == {("list", LIST), ("endorser", name)}
    cleared = {**options, "decision": "clear", "whole_lists": [subscribed.uri], "endorsers": [pair]}
    assert subscribed.done("image_decision", cleared)["decisions"] == {LIST: [], name: []}
    assert subscribed.done("image_decision", cleared)["changed"] is False
    assert subscribed.verdict()["code"] == "not_approved"


def test_an_endorser_that_may_be_misspelt_is_a_warning(subscribed: t.Any) -> None:
    pair = {"dn": "/CN=Nobody", "ca": "/CN=Nowhere"}
    options = {"decision": "blacklist", "state_dir": str(subscribed.state_dir), "endorsers": [pair]}
    assert "endorsers[0]: no list is signed by /CN=Nobody" in subscribed.done("image_decision", options).warnings[0]
    assert subscribed.run("image_decision", {**options, "decision": "approve"})["code"] == "unknown_endorser"


def test_whom_a_vo_has_elected_is_decided_for_and_its_list_is_no_list_of_images(bench: t.Any) -> None:
    bench.publish()
    elect(bench)
    follow(bench)
    options = {"decision": "approve", "state_dir": str(bench.state_dir)}
    pair = {"dn": bench.pki.endorser.dn, "ca": bench.pki.endorser.ca}
    assert bench.done("image_decision", {**options, "endorsers": [pair]})["changed"] is True
    refused = bench.run("image_decision", {**options, "whole_lists": [VO_LIST]})
    assert (refused["code"], refused["context"]["option"]) == ("decision_invalid", "whole_lists[0]")
