# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of endorsers: what is said is recorded once, and counts at once."""

from __future__ import annotations

import typing as t

import pytest

DN, CA = "/DC=org/DC=example-grid/CN=Erin Endorser", "/DC=org/DC=example-grid/CN=Example Grid Classic CA"
PAIR = {"dn": DN, "ca": CA}


def register(bench: t.Any, options: t.Mapping[str, t.Any], **how: t.Any) -> t.Any:
    return bench.run("endorser", {"state_dir": str(bench.state_dir), **options}, **how)


def test_an_endorser_is_added_changed_and_removed(bench: t.Any) -> None:
    added = register(bench, {"name": "erin", "pairs": [PAIR]})
    assert added["actions"] == [{"action": "add", "endorser": "erin"}]
    assert added["endorsers"] == [{"name": "erin", "pairs": [PAIR], "email": "", "comment": ""}]
    changed = register(bench, {"name": "erin", "pairs": [PAIR], "email": "erin@example.org"})
    assert changed["actions"] == [{"action": "change", "endorser": "erin"}]
    assert changed["diff"]["before"]["erin"]["email"] == ""
    removed = register(bench, {"name": "erin", "state": "absent"})
    assert removed["removed"] == ["erin"]
    assert removed["diff"]["after"] == {"erin": None}


def test_a_second_run_changes_nothing(bench: t.Any) -> None:
    options = {"endorsers": [{"name": "erin", "pairs": [PAIR]}, {"name": "eve", "state": "absent"}]}
    assert register(bench, options)["changed"] is True
    before = bench.everything()
    assert register(bench, options)["changed"] is False
    assert bench.everything() == before


def test_check_mode_plans_the_same_and_writes_nothing(bench: t.Any) -> None:
    options = {"name": "erin", "pairs": [PAIR]}
    planned = register(bench, options, check=True)
    assert not bench.state_dir.exists()
    done = register(bench, options)
    assert (planned["diff"], planned["actions"]) == (done["diff"], done["actions"])


def test_a_subscription_by_name_stops_with_the_endorser(bench: t.Any) -> None:
    signer = {"dn": bench.pki.endorser.dn, "ca": bench.pki.endorser.ca}
    register(bench, {"name": "erin", "pairs": [signer]})
    bench.publish()
    bench.subscribe(endorsers=[{"name": "erin"}], new_images="cache")
    bench.cache()
    assert bench.verdict()["code"] == "allowed"
    register(bench, {"name": "erin", "state": "absent", "reason": "Left.", "author": "sally"})
    found = bench.verdict()
    assert found["code"] == "not_authorised"
    assert "was removed by sally at" in found["reasons"][0]["text"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "erin"}, "pairs:"),
        ({"name": "/CN=erin", "pairs": [PAIR]}, "name:"),
        ({"endorsers": [{"name": "erin", "pairs": [{"dn": "erin", "ca": CA}]}]}, "endorsers[0].pairs[0].dn:"),
        ({"endorsers": [{"name": "erin", "pairs": [PAIR]}, {"name": "eve", "pairs": [PAIR]}]}, "pairs:"),
    ],
)
def test_a_wrong_option_is_named(bench: t.Any, options: dict[str, t.Any], words: str) -> None:
    refused = register(bench, options)
    assert refused["code"] == "endorser_invalid"
    assert refused["msg"].startswith(words)
    assert not (bench.state_dir / "journal.jsonl").exists()


@pytest.mark.parametrize("item", [{"dn": DN}, {"dn": DN, "ca": CA, "name": "erin"}, {"endorser_list": "x"}])
def test_an_endorser_of_a_subscription_is_a_pair_or_a_name(bench: t.Any, item: dict[str, t.Any]) -> None:
    assert bench.run("imagelist_subscribe", bench.subscription(endorsers=[item])).failed
