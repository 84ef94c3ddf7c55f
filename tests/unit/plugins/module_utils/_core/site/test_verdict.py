# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict: every reason, and which of them weighs most."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement.verdict import (
    Decision,
    FileFacts,
    ImageFacts,
    ListFacts,
    PathStatus,
    Verdict,
    verdict,
)

NOW = datetime(2026, 11, 20, 12, 0, 0, tzinfo=timezone.utc)
DAY = timedelta(days=1)
LIST = "4e186b44-2c64-40ea-97d5-e9e5c0bce059"
OTHER_LIST = "11111111-2c64-40ea-97d5-e9e5c0bce059"
IMAGE = "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"

GOOD_LIST = ListFacts(LIST, True, "7", NOW - DAY, NOW + 20 * DAY, None, False, False)
GOOD_IMAGE = ImageFacts(IMAGE, "SL5", "SL5", "1", True, LIST, None, FileFacts("/cache/current/x", True))
GOOD_PATH = PathStatus(None, "", NOW + 5 * DAY)


def _decided(decision: str, *, target: str = IMAGE, kind: str = "image", until: datetime | None = None) -> Decision:
    return Decision(decision, kind, target, "because", "sam", until)


APPROVED = (_decided("approve"),)


def _judge(
    image: ImageFacts = GOOD_IMAGE,
    of: ListFacts = GOOD_LIST,
    path: PathStatus = GOOD_PATH,
    decisions: tuple[Decision, ...] = APPROVED,
    now: datetime = NOW,
) -> Verdict:
    return verdict(image, of, path, decisions, now)


def test_endorsed_approved_cached_and_valid_is_allowed() -> None:
    found = _judge()
    assert (found.allowed, found.code, found.path) == (True, "allowed", "/cache/current/x")
    assert found.good_until == NOW + 5 * DAY


REFUSALS: dict[str, dict[str, t.Any]] = {
    "unsubscribed": {"of": replace(GOOD_LIST, subscribed=False)},
    "not_yet_accepted": {"of": replace(GOOD_LIST, version=None, created=None, expires=None)},
    "uuid_clash": {"image": replace(GOOD_IMAGE, owner=OTHER_LIST)},
    "withdrawn": {"image": replace(GOOD_IMAGE, endorsed=False)},
    "revoked": {"path": PathStatus("revoked", "CRL 7 names the signer.", None)},
    "blacklisted": {"decisions": (*APPROVED, _decided("blacklist", kind="tag", target="SL5"))},
    "not_authorised": {"path": PathStatus("not_authorised", "The signer is no endorser.", None)},
    "list_expired": {"of": replace(GOOD_LIST, expires=NOW)},
    "image_expired": {"image": replace(GOOD_IMAGE, expires=NOW)},
    "crl_unavailable": {"path": PathStatus("crl_unavailable", "The CRL is stale.", None)},
    "no_valid_path": {"path": PathStatus(None, "", NOW)},
    "list_not_yet_valid": {"of": replace(GOOD_LIST, created=NOW + DAY)},
    "list_stale": {"of": replace(GOOD_LIST, max_age=DAY)},
    "not_approved": {"decisions": ()},
    "file_changed": {"image": replace(GOOD_IMAGE, file=FileFacts("/cache/current/x", False))},
    "not_cached": {"image": replace(GOOD_IMAGE, file=None)},
}


@pytest.mark.parametrize("code", REFUSALS)
def test_each_reason_alone_refuses(code: str) -> None:
    found = _judge(**REFUSALS[code])
    assert (found.allowed, found.code, found.good_until) == (False, code, None)
    assert [reason.code for reason in found.reasons] == [code]
    assert found.as_dict()["remedy"]


@pytest.mark.parametrize("code", REFUSALS)
def test_run_anyway_overrides_expiry_and_nothing_else(code: str) -> None:
    facts = dict(REFUSALS[code])
    given = tuple(item for item in facts.pop("decisions", ()) if item.decision == "blacklist")
    found = _judge(decisions=(*given, _decided("run_anyway")), **facts)
    # It approves as well, so that an image that nobody approved may run.
    assert found.allowed is (code in ("list_expired", "image_expired", "not_approved"))
    if code in ("list_expired", "image_expired"):
        assert found.code == "run_anyway"
        assert code in [reason.code for reason in found.reasons]


def test_run_anyway_ends() -> None:
    old = replace(GOOD_LIST, expires=NOW - DAY)
    decisions = (_decided("run_anyway", until=NOW + DAY),)
    found = _judge(of=old, decisions=decisions)
    assert found.allowed
    assert found.good_until == NOW + DAY
    assert _judge(of=old, decisions=decisions, now=NOW + DAY).code == "list_expired"


def test_several_reasons_are_all_told_and_the_weightiest_is_the_code() -> None:
    found = _judge(
        image=replace(GOOD_IMAGE, endorsed=False, file=None),
        of=replace(GOOD_LIST, expires=NOW - DAY),
        path=PathStatus("crl_unavailable", "The CRL is stale.", None),
        decisions=(_decided("blacklist"),),
    )
    assert [reason.code for reason in found.reasons] == [
        "withdrawn",
        "blacklisted",
        "list_expired",
        "crl_unavailable",
        "not_approved",
        "not_cached",
    ]


def test_a_blacklist_wins_over_an_approval_of_the_same_image() -> None:
    decisions = (_decided("approve"), _decided("blacklist", kind="tag", target="SL5"))
    assert _judge(decisions=decisions).code == "blacklisted"


def test_a_decision_about_another_image_does_not_count() -> None:
    assert _judge(decisions=(_decided("approve", target="x"),)).code == "not_approved"
    assert _judge(decisions=(*APPROVED, _decided("blacklist", target="x"))).allowed


def test_the_verdict_is_good_until_the_first_end() -> None:
    ends = _judge(
        image=replace(GOOD_IMAGE, expires=NOW + 3 * DAY),
        of=replace(GOOD_LIST, max_age=3 * DAY),
        decisions=(_decided("approve", until=NOW + 4 * DAY),),
    )
    assert ends.good_until == NOW + 2 * DAY


def test_a_subscription_may_want_each_image_approved_by_name() -> None:
    strict = replace(GOOD_LIST, by_name_only=True)
    assert _judge(of=strict).allowed
    assert _judge(of=strict, decisions=(_decided("approve", kind="tag", target="SL5"),)).code == "not_approved"
    assert _judge(of=strict, decisions=(_decided("run_anyway", kind="tag", target="SL5"),)).code == "not_approved"
    assert _judge(of=strict, decisions=(_decided("blacklist", kind="tag", target="SL5"),)).code == "blacklisted"


def test_a_subscription_may_approve_whatever_its_endorsers_list() -> None:
    assert _judge(of=replace(GOOD_LIST, approves_new=True), decisions=()).allowed
