# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import typing as t
from datetime import datetime, timedelta, timezone

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.check import check_list, content_digest
from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.writer import write_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.steps import Explanation

LIST_ID = "4e186b44-2c64-40ea-97d5-e9e5c0bce059"
CREATED = datetime(2026, 11, 1, tzinfo=timezone.utc)
WHEN = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
EXPIRES = datetime(2026, 12, 15, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)
STRANGER = ("/DC=org/CN=Somebody Else", "/DC=org/CN=Other CA")


def endorsed_by(*people: tuple[str, str]) -> t.Any:
    many = [{"hv:x509": {"hv:dn": dn, "hv:ca": ca}} for dn, ca in people]
    return many if len(many) > 1 else many[0]


@pytest.fixture
def content(pki: t.Any) -> t.Callable[..., bytes]:
    def write(**changes: t.Any) -> bytes:
        return write_list(
            {
                "dc:date:created": "2026-11-01T00:00:00Z",
                "dc:date:expires": "2026-12-15T00:00:00Z",
                "dc:identifier": LIST_ID,
                "hv:version": "7",
                "hv:endorser": endorsed_by((pki.endorser.dn, pki.endorser.ca)),
                **{key.replace("_", ":"): value for key, value in changes.items()},
            }
        )

    return write


@pytest.fixture
def judge(pki: t.Any) -> t.Callable[..., str]:
    """The code of the refusal, or "accepted"."""

    def run(octets: bytes, when: datetime = WHEN, **expected: t.Any) -> str:
        known = {
            "identifier": LIST_ID,
            "endorsers": [STRANGER, (pki.endorser.dn, pki.endorser.ca)],
            "last_accepted": None,
            **expected,
        }
        try:
            found = check_list(octets, pki.endorser.certificate, when, **known)
        except TrustError as refusal:
            return refusal.code
        assert found.identifier == LIST_ID
        return "accepted"

    return run


def test_a_good_list_is_accepted(content: t.Any, judge: t.Any) -> None:
    assert judge(content()) == "accepted"
    assert judge(content(), identifier=LIST_ID.upper()) == "accepted"
    assert judge(content(), identifier=None) == "accepted"


def test_what_cannot_be_read_is_refused_first(judge: t.Any) -> None:
    assert judge(b"{}", endorsers=[]) == "list_malformed"


def test_the_endorser_is_the_signer(content: t.Any, judge: t.Any, pki: t.Any) -> None:
    signer = (pki.endorser.dn, pki.endorser.ca)
    assert judge(content(hv_endorser=endorsed_by(STRANGER))) == "endorser_mismatch"
    assert judge(content(hv_endorser=endorsed_by((signer[0], STRANGER[1])))) == "endorser_mismatch"
    assert judge(content(hv_endorser=endorsed_by((signer[0] + "x", signer[1])))) == "endorser_mismatch"
    assert judge(content(hv_endorser=endorsed_by(STRANGER, signer))) == "accepted"
    assert judge(content(hv_endorser=endorsed_by(STRANGER, STRANGER))) == "endorser_mismatch"


def test_the_pair_of_signer_and_ca_is_authorised(content: t.Any, judge: t.Any, pki: t.Any) -> None:
    dn, ca = pki.endorser.dn, pki.endorser.ca
    assert judge(content(), endorsers=[(dn, ca)]) == "accepted"
    assert judge(content(), endorsers=[(dn, STRANGER[1]), (STRANGER[0], ca)]) == "not_authorised"
    assert judge(content(), endorsers=[]) == "not_authorised"
    assert judge(content(), endorsers=None) == "accepted"


def test_the_identifier_is_the_pinned_one(content: t.Any, judge: t.Any) -> None:
    assert judge(content(), identifier=LIST_ID.replace("4", "5")) == "identifier_mismatch"


@pytest.mark.parametrize(
    ("when", "code"),
    [
        (CREATED - SECOND, "list_not_yet_valid"),
        (CREATED, "accepted"),
        (EXPIRES - SECOND, "accepted"),
        (EXPIRES, "list_expired"),
    ],
)
def test_a_list_has_a_beginning_and_an_end(content: t.Any, judge: t.Any, when: datetime, code: str) -> None:
    assert judge(content(), when) == code


@pytest.mark.parametrize(
    ("accepted", "code"), [("6", "accepted"), ("7", "version_reused"), ("07", "version_reused"), ("10", "rollback")]
)
def test_versions_only_rise(content: t.Any, judge: t.Any, accepted: str, code: str) -> None:
    other = {"version": accepted, "sha512_of_signed_content": "00" * 64}
    assert judge(content(), last_accepted=other) == code


def test_the_same_content_is_accepted_again(content: t.Any, judge: t.Any) -> None:
    same = {"version": "7", "sha512_of_signed_content": content_digest(content())}
    assert judge(content(), last_accepted=same) == "accepted"
    assert judge(content(dc_title="x"), last_accepted=same) == "version_reused"


def test_one_content_comes_back_by_an_act_of_rebaselining(content: t.Any, judge: t.Any) -> None:
    for accepted, code in (("999999999", "rollback"), ("7", "version_reused")):
        last = {"version": accepted, "sha512_of_signed_content": "00" * 64}
        assert judge(content(), last_accepted=last, rebaseline=content_digest(content())) == "accepted"
        assert judge(content(dc_title="x"), last_accepted=last, rebaseline=content_digest(content())) == code


def test_rebaselining_overrides_the_version_only(content: t.Any, judge: t.Any) -> None:
    expected = {
        "last_accepted": {"version": "999999999", "sha512_of_signed_content": "00" * 64},
        "rebaseline": content_digest(content()),
    }
    assert judge(content(), EXPIRES, **expected) == "list_expired"
    assert judge(content(), endorsers=[STRANGER], **expected) == "not_authorised"
    assert judge(content(), identifier=LIST_ID.replace("4", "5"), **expected) == "identifier_mismatch"


def test_a_content_that_was_set_aside_does_not_come_back_by_its_version(content: t.Any, judge: t.Any) -> None:
    expected: dict[str, t.Any] = {"last_accepted": {"version": "4", "sha512_of_signed_content": "00" * 64}}
    set_aside = {content_digest(content())}
    assert judge(content(), set_aside=set_aside, **expected) == "rollback"
    assert judge(content(dc_title="x"), set_aside=set_aside, **expected) == "accepted"
    assert judge(content(), set_aside=set_aside, rebaseline=content_digest(content()), **expected) == "accepted"


NO_STEP: t.Final[dict[str, t.Any]] = {"endorsers": None, "identifier": None, "last_accepted": None}
REFUSED_AT: t.Final[dict[int, dict[str, t.Any]]] = {
    12: {"changes": {"hv_endorser": endorsed_by(STRANGER)}},
    13: {"endorsers": [STRANGER]},
    14: {"identifier": LIST_ID.replace("4", "5")},
    15: {"when": EXPIRES},
    16: {"last_accepted": {"version": "8", "sha512_of_signed_content": "00" * 64}},
}


@pytest.mark.parametrize("number", REFUSED_AT)
def test_the_step_of_a_refusal_is_recorded(content: t.Any, judge: t.Any, number: int) -> None:
    explanation = Explanation()
    case = dict(REFUSED_AT[number])
    code = judge(content(**case.pop("changes", {})), explanation=explanation, **case)
    refused = explanation.refused()
    assert refused is not None and (refused.number, refused.code) == (number, code)
    outcomes = [step.outcome for step in explanation.steps()[10:]]
    assert outcomes[: number - 11] == ["passed"] * (number - 11)
    assert outcomes[number - 10 :] == ["not reached"] * (16 - number)


def test_what_cannot_be_read_is_refused_at_its_step(judge: t.Any) -> None:
    explanation = Explanation()
    assert judge(b"[", explanation=explanation) == "json_invalid"
    assert [step.number for step in explanation.steps() if step.outcome == "refused"] == [11]


def test_a_question_that_is_not_asked_is_not_passed(content: t.Any, judge: t.Any) -> None:
    explanation = Explanation()
    assert judge(content(), explanation=explanation, **NO_STEP) == "accepted"
    not_asked = [step.number for step in explanation.steps() if step.outcome == "not asked"]
    assert not_asked == [13, 14, 16]
    assert explanation.refused() is None
