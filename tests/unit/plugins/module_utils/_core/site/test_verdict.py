# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict: every reason, and which of them weighs most."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


ENDORSER = "/DC=org/CN=Erin issued by /DC=org/CN=CA"
SIGNED = replace(GOOD_LIST, endorsers=frozenset({ENDORSER, "erin"}))
TARGETS = {"image": IMAGE, "tag": "SL5", "list": LIST, "endorser": ENDORSER, "rule": "a rule"}


def _about(kind: str, decision: str, **more: t.Any) -> Decision:
    return Decision(decision, kind, TARGETS[kind], "because", "sam", **{"until": None, **more})


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("decision", ["approve", "run_anyway"])
def test_a_decision_of_each_kind_approves(kind: str, decision: str) -> None:
    found = _judge(of=SIGNED, decisions=(_about(kind, decision),))
    assert (found.allowed, found.code) == (True, "allowed")
    assert TARGETS[kind] in found.reasons[0].text and "by sam: because." in found.reasons[0].text


@pytest.mark.parametrize("forbidding", TARGETS)
@pytest.mark.parametrize("allowing", TARGETS)
def test_a_blacklist_of_any_kind_wins_over_an_approval_of_any_kind(forbidding: str, allowing: str) -> None:
    for approval in ("approve", "run_anyway"):
        both = (_about(allowing, approval), _about(forbidding, "blacklist"))
        for decisions in (both, both[::-1]):
            found = _judge(of=SIGNED, decisions=decisions)
            assert (found.allowed, found.code) == (False, "blacklisted")
            assert TARGETS[forbidding] in found.reasons[0].text


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize(
    ("code", "facts"),
    [(code, facts) for code, facts in REFUSALS.items() if code not in ("blacklisted", "not_approved")],
)
def test_what_run_anyway_of_any_kind_overrides(kind: str, code: str, facts: t.Any) -> None:
    given = {**facts, "of": replace(facts.get("of", GOOD_LIST), endorsers=SIGNED.endorsers)}
    found = _judge(**given, decisions=(_about(kind, "run_anyway"),))
    overridden = code in ("list_expired", "image_expired")
    assert (found.allowed, found.code) == ((True, "run_anyway") if overridden else (False, code))


@pytest.mark.parametrize("kind", ["tag", "list", "endorser", "rule"])
def test_only_an_approval_by_uuid_counts_where_each_image_is_approved_by_name(kind: str) -> None:
    strict = replace(SIGNED, by_name_only=True)
    assert _judge(of=strict, decisions=(_about(kind, "approve"),)).code == "not_approved"
    assert _judge(of=strict, decisions=(_about(kind, "approve"), _about("image", "approve"))).allowed
    assert _judge(of=strict, decisions=(_about(kind, "blacklist"), _about("image", "approve"))).code == "blacklisted"


def test_a_decision_about_another_list_or_endorser_does_not_count() -> None:
    others = (
        replace(_about("list", "approve"), target=OTHER_LIST),
        replace(_about("endorser", "approve"), target="mallory"),
        replace(_about("endorser", "approve"), list_id=OTHER_LIST),
        replace(_about("rule", "approve"), list_id=OTHER_LIST),
        replace(_about("image", "approve"), target_type="a kind of tomorrow"),
    )
    assert _judge(of=SIGNED, decisions=others).code == "not_approved"
    assert _judge(of=SIGNED, decisions=(replace(_about("endorser", "approve"), target="erin"),)).allowed


def test_a_blacklist_that_begins_later_ends_the_verdict_then() -> None:
    coming = _about("rule", "blacklist", begins=NOW + 2 * DAY)
    found = _judge(decisions=(*APPROVED, coming))
    assert found.allowed and found.good_until == NOW + 2 * DAY
    assert _judge(decisions=(*APPROVED, coming), now=NOW + 2 * DAY).code == "blacklisted"
    over = replace(coming, until=NOW + DAY)
    assert _judge(decisions=(*APPROVED, over)).good_until == NOW + 5 * DAY
    assert _judge(decisions=(*APPROVED, over), now=NOW + 3 * DAY).allowed


def test_the_verdict_stands_while_one_approval_does() -> None:
    short, long = (
        _decided("approve", until=NOW + DAY),
        _decided("approve", kind="tag", target="SL5", until=NOW + 2 * DAY),
    )
    assert _judge(decisions=(short,)).good_until == NOW + DAY
    assert _judge(decisions=(short, long)).good_until == NOW + 2 * DAY
    assert _judge(decisions=(short, *APPROVED)).good_until == NOW + 5 * DAY
    assert _judge(of=replace(GOOD_LIST, approves_new=True), decisions=(short,)).good_until == NOW + 5 * DAY
    later = _about("rule", "approve", begins=NOW + DAY)
    assert _judge(decisions=(short, later)).good_until == NOW + DAY
    assert _judge(decisions=(later,)).code == "not_approved"


def test_an_expiry_that_is_overridden_ends_the_verdict_with_what_overrides_it() -> None:
    soon = replace(GOOD_LIST, expires=NOW + 2 * DAY)
    anyway = _decided("run_anyway", until=NOW + DAY)
    assert _judge(of=soon, decisions=(*APPROVED, anyway)).good_until == NOW + 2 * DAY
    anyway = _decided("run_anyway", until=NOW + 3 * DAY)
    assert _judge(of=soon, decisions=(*APPROVED, anyway)).good_until == NOW + 3 * DAY


_TIMES = st.one_of(st.none(), st.integers(-40, 40).map(lambda hours: NOW + timedelta(hours=6 * hours)))
_DECISIONS = st.builds(
    _about, st.sampled_from(sorted(TARGETS)), st.sampled_from(["approve", "blacklist", "run_anyway"])
).flatmap(lambda item: st.builds(replace, st.just(item), until=_TIMES, begins=_TIMES))
_LISTS = st.builds(
    replace,
    st.just(SIGNED),
    expires=st.sampled_from([NOW - DAY, NOW + 3 * DAY]),
    approves_new=st.booleans(),
    by_name_only=st.booleans(),
    max_age=st.sampled_from([None, 2 * DAY]),
)
_IMAGES = st.builds(replace, st.just(GOOD_IMAGE), expires=_TIMES, endorsed=st.sampled_from([True, True, False]))


@settings(max_examples=300, deadline=None)
@given(image=_IMAGES, of=_LISTS, decisions=st.lists(_DECISIONS, max_size=5), blacklist=_DECISIONS, at=st.integers(0, 5))
def test_one_more_blacklist_never_turns_a_refusal_into_an_allowance(
    image: ImageFacts, of: ListFacts, decisions: list[Decision], blacklist: Decision, at: int
) -> None:
    blacklist = replace(blacklist, decision="blacklist")
    more = (*decisions[:at], blacklist, *decisions[at:])
    without, with_it = (_judge(image=image, of=of, decisions=tuple(some)) for some in (decisions, more))
    assert without.allowed or not with_it.allowed
    if blacklist.is_in_force(NOW):
        assert not with_it.allowed
    if with_it.allowed and with_it.good_until is not None:
        assert without.good_until is None or with_it.good_until <= without.good_until


@settings(max_examples=500, deadline=None)
@given(image=_IMAGES, of=_LISTS, decisions=st.lists(_DECISIONS, max_size=5), hours=st.integers(0, 120))
def test_an_allowance_holds_until_it_is_good_until(
    image: ImageFacts, of: ListFacts, decisions: list[Decision], hours: int
) -> None:
    found = _judge(image=image, of=of, decisions=tuple(decisions))
    if found.allowed:
        assert found.good_until is not None
        for when in (NOW + timedelta(hours=hours), found.good_until - timedelta(seconds=1)):
            if when < found.good_until:
                assert _judge(image=image, of=of, decisions=tuple(decisions), now=when).allowed


#: The table of the guide, for an image of an approved list: what else there is, and whether the image may run.
GUIDE: dict[str, tuple[bool, tuple[tuple[str, str], ...], dict[str, t.Any]]] = {
    "the image is blacklisted": (False, (("image", "blacklist"),), {}),
    "a rule blacklists, the image is approved": (False, (("rule", "blacklist"), ("image", "approve")), {}),
    "the endorser is blacklisted, the image may run anyway": (
        False,
        (("endorser", "blacklist"), ("image", "run_anyway")),
        {},
    ),
    "the image is cleared": (True, (), {}),
    "the list has expired": (False, (), {"of": replace(SIGNED, expires=NOW)}),
    "and a rule lets the image run anyway": (True, (("rule", "run_anyway"),), {"of": replace(SIGNED, expires=NOW)}),
    "withdrawn, and may run anyway": (
        False,
        (("image", "run_anyway"),),
        {"image": replace(GOOD_IMAGE, endorsed=False)},
    ),
}


@pytest.mark.parametrize("case", GUIDE)
def test_the_examples_of_the_guide(case: str) -> None:
    allowed, others, facts = GUIDE[case]
    decisions = (_about("list", "approve"), *(_about(kind, decision) for kind, decision in others))
    assert _judge(**{"of": SIGNED, **facts}, decisions=decisions).allowed is allowed
