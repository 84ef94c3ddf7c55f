# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VO's list of endorsers is followed as the options say: who is accepted, and what happens with their lists."""

from __future__ import annotations

import typing as t

import pytest

VO_LIST = "7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90"
LIST = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"


@pytest.fixture
def vo(bench: t.Any) -> t.Any:
    """A bench whose endorser is named by a VO's list; the VO signs with a certificate of its own."""
    bench.publish()
    elect(bench)
    return bench


def elect(bench: t.Any, *, endorsers: list[t.Any] | None = None) -> None:
    signer = bench.pki.issue("Vera Voms")
    erin = {
        "identifier": "erin",
        "pairs": [{"dn": bench.pki.endorser.dn, "ca": bench.pki.endorser.ca}],
        "lists": [{"uri": bench.uri, "identifier": LIST}],
    }
    bench.done(
        "endorserlist_publish",
        {
            "identifier": VO_LIST,
            "vo": "example",
            "uri": f"{bench.server}/endorsers.list",
            "endorsers": [erin] if endorsers is None else endorsers,
            "certificate": str(signer.certificate_path),
            "private_key": str(signer.key_path),
            "history_dir": str(bench.history_dir),
            "uploads": [{"uri_match": f"{bench.server}/", "uri_replace": f"{bench.www}/"}],
            **bench.trust,
        },
    )


def subscribe(bench: t.Any, *, check: bool = False, **more: t.Any) -> t.Any:
    signer = bench.pki.issue("Vera Voms")
    options = {
        "uri": f"{bench.server}/endorsers.list",
        "authorities": [{"dn": signer.dn, "ca": signer.ca}],
        "ca_path": str(bench.pki.tls / "ca.pem"),
        "allow_private": True,
        "state_dir": str(bench.state_dir),
        **bench.trust,
        **more,
    }
    return bench.run("endorserlist_subscribe", options, check=check)


def test_an_endorser_is_reported_and_nothing_is_subscribed(vo: t.Any) -> None:
    result = subscribe(vo)
    assert [action["action"] for action in result["actions"]] == ["subscribe", "accept"]
    assert result["list"]["new_endorsers"] == ["erin"]
    assert [(one["identifier"], one["accepted"]) for one in result["endorsers"]] == [("erin", False)]
    assert result["followed"] == []


def test_lists_of_accepted_endorsers_are_subscribed_to_at_once(vo: t.Any) -> None:
    result = subscribe(vo, accept=["erin"], lists="subscribe", subscription={"new_images": "cache"})
    assert [one["identifier"] for one in result["followed"]] == [LIST]
    assert result["actions"][-1] == {"action": "subscribe", "list": LIST}
    vo.cache()
    assert vo.verdict()["code"] == "allowed"
    again = subscribe(vo, accept=["erin"], lists="subscribe", subscription={"new_images": "cache"})
    assert again["changed"] is False


def test_other_terms_reach_the_subscriptions_that_were_made(vo: t.Any) -> None:
    subscribe(vo, new_endorsers="accept", lists="subscribe")
    assert vo.verdict()["code"] == "not_approved"
    changed = subscribe(vo, new_endorsers="accept", lists="subscribe", subscription={"new_images": "cache"})
    assert {"action": "subscribe", "list": LIST} in changed["actions"]
    vo.cache()
    assert vo.verdict()["code"] == "allowed"


def test_the_end_of_the_subscription_ends_what_it_has_brought(vo: t.Any) -> None:
    subscribe(vo, new_endorsers="accept", lists="subscribe", subscription={"new_images": "cache"})
    vo.cache()
    before = vo.everything()
    ending: dict[str, t.Any] = {"identifier": VO_LIST, "state": "absent", "uri": None, "authorities": None}
    planned = subscribe(vo, check=True, **ending)
    assert vo.everything() == before
    ended = subscribe(vo, **ending)
    assert ended["actions"] == planned["actions"]
    assert [action["list"] for action in ended["actions"]] == [VO_LIST, LIST]
    assert ended["subscription"] is None
    assert vo.verdict()["code"] == "unsubscribed"
    assert subscribe(vo, **ending)["changed"] is False


def test_check_mode_writes_nothing(vo: t.Any) -> None:
    result = subscribe(vo, check=True, new_endorsers="accept", lists="subscribe")
    assert result["list"]["new_endorsers"] == ["erin"]
    assert not vo.state_dir.exists()


def test_a_list_of_another_kind_is_refused(vo: t.Any) -> None:
    vo.subscribe()
    refused = subscribe(vo, identifier=LIST, uri=vo.uri, move=True)
    assert refused["code"] == "subscription_clash"
    refused = subscribe(vo, uri=vo.uri + "?x", identifier=None)
    assert refused["code"] == "list_malformed"


def test_the_address_of_a_list_of_another_kind_is_refused(vo: t.Any) -> None:
    """Without an identifier the address was taken for the list's own, and no line of the journal was read any more."""
    vo.subscribe()
    vo.decide()
    assert subscribe(vo, uri=vo.uri)["code"] == "subscription_clash"
    assert subscribe(vo, uri=vo.uri, check=True)["code"] == "subscription_clash"
    assert vo.verdict()["code"] == "not_cached"
    assert not subscribe(vo).failed
    wrong = {**vo.subscription(uri=f"{vo.server}/endorsers.list"), "identifier": None}
    assert vo.run("imagelist_subscribe", wrong)["code"] == "subscription_clash"
    assert not subscribe(vo).failed


def test_a_list_that_cannot_be_had_fails_and_the_rest_is_done(vo: t.Any) -> None:
    other = {
        "identifier": "eve",
        "pairs": [{"dn": "/CN=eve", "ca": "/CN=CA"}],
        "lists": [{"uri": f"{vo.server}/nothing.list"}],
    }
    erin = {
        "identifier": "erin",
        "pairs": [{"dn": vo.pki.endorser.dn, "ca": vo.pki.endorser.ca}],
        "lists": [{"uri": vo.uri, "identifier": LIST}],
    }
    elect(vo, endorsers=[erin, other])
    result = subscribe(vo, new_endorsers="accept", lists="subscribe")
    assert result.failed
    assert result["code"] == "not_found"
    assert [one["status"] for one in result["followed"]] == ["new", "failed"]
    assert vo.verdict()["code"] == "not_approved"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subscription": {"max_list_age": "yesterday"}}, "subscription.max_list_age:"),
        ({"authorities": [{"dn": "x", "ca": "/CN=CA"}]}, "authorities[0].dn:"),
        ({"authorities": []}, "authorities:"),
    ],
)
def test_a_wrong_option_is_named(vo: t.Any, options: dict[str, t.Any], words: str) -> None:
    refused = subscribe(vo, **options)
    assert refused["code"] == "subscription_invalid"
    assert refused["msg"].startswith(words)
