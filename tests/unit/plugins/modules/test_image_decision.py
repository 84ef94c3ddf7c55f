# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deciding: recorded once, for whom it names, and never against the endorser."""

from __future__ import annotations

import typing as t

import pytest

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
