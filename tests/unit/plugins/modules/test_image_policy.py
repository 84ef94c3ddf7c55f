# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of a site through the module: one set, told before it counts, and refused with the place of a mistake."""

from __future__ import annotations

import typing as t

import pytest

IMAGE = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
SMALL: dict[str, t.Any] = {"name": "small", "decision": "blacklist", "match": {"size_max": "5 kB"}, "reason": "Empty?"}


@pytest.fixture
def subscribed(bench: t.Any) -> t.Any:
    bench.publish()
    bench.subscribe(new_images="approve")
    return bench


def _options(bench: t.Any, *rules: t.Any, **more: t.Any) -> dict[str, t.Any]:
    return {"rules": list(rules), "state_dir": str(bench.state_dir), **more}


def test_rules_are_declared_and_told(subscribed: t.Any) -> None:
    result = subscribed.done("image_policy", _options(subscribed, SMALL, author="sally"))
    assert result["changed"] is True
    meaning: dict[str, t.Any] = {
        "decision": "blacklist",
        "match": {"size_max": 5000},
        "except": [],
        "reason": "Empty?",
        "until": None,
    }
    assert result["rules"] == [{"name": "small", **meaning, "author": "sally", "count": 1, "images": [IMAGE]}]
    assert result["actions"] == [{"action": "add", "rule": "small"}]
    assert result["diff"] == {"before": {}, "after": {"small": meaning}}
    assert subscribed.verdict()["code"] == "blacklisted"
    assert subscribed.done("image_policy", _options(subscribed))["actions"] == [{"action": "remove", "rule": "small"}]
    assert subscribed.verdict()["code"] == "not_selected"


def test_check_mode_tells_which_images_and_records_nothing(subscribed: t.Any) -> None:
    before = subscribed.everything()
    planned = subscribed.done("image_policy", _options(subscribed, SMALL), check=True)
    assert planned["changed"] is True and planned["rules"][0]["images"] == [IMAGE]
    assert subscribed.everything() == before
    assert subscribed.done("image_policy", _options(subscribed, SMALL))["diff"] == planned["diff"]


def test_a_second_run_changes_nothing(subscribed: t.Any) -> None:
    subscribed.done("image_policy", _options(subscribed, SMALL, author="sally"))
    before = subscribed.everything()
    again = subscribed.done("image_policy", _options(subscribed, {**SMALL, "match": {"size_max": 5000}}))
    assert again["changed"] is False and again["rules"][0]["author"] == "sally"
    assert subscribed.everything() == before


def test_rules_come_before_the_first_subscription(bench: t.Any) -> None:
    planned = bench.done("image_policy", _options(bench, SMALL), check=True)
    assert planned["changed"] is True and not bench.state_dir.exists()
    assert bench.done("image_policy", _options(bench, SMALL))["changed"] is True
    bench.publish()
    bench.subscribe(new_images="cache")
    assert bench.verdict()["code"] == "blacklisted"


@pytest.mark.parametrize(
    ("rule", "option"),
    [
        ({"match": {"size_min": "20 gigs"}}, "rules[1].match.size_min"),
        ({"match": {"osversion": 5.1}}, "rules[1].match.osversion"),
        ({"match": {}}, "rules[1].match"),
        ({"match": {"sl:os": "x"}}, "rules[1].match.sl:os"),
        ({"decision": "approve", "match": {"os": "*"}}, "rules[1].match"),
        ({"name": "small"}, "rules[1].name"),
        ({"until": "tomorrow"}, "rules[1].until"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_place_and_changes_nothing(bench: t.Any, rule: t.Any, option: str) -> None:
    bench.done("image_policy", _options(bench, SMALL))
    before = bench.everything()
    wrong = {"name": "x", "decision": "blacklist", "match": {"os": "x"}, **rule}
    result = bench.run("image_policy", _options(bench, SMALL, wrong))
    assert result.failed and result["code"] == "rule_invalid"
    assert result["context"]["option"] == option and result["msg"].startswith(f"{option}: ")
    assert bench.everything() == before
