# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A VO's list of endorsers is published as declared, signed only when it says something else, and merged on demand."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.trust.message.smime import read_message

VO_LIST = "7c1f0a52-0c55-4c5c-a7f1-2f3f3c1d5a90"
IMAGES = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
CA = "/DC=org/CN=CA"
ERIN: dict[str, t.Any] = {
    "identifier": "erin",
    "name": "Erin",
    "email": "erin@example.org",
    "pairs": [{"dn": "/DC=org/CN=Erin", "ca": CA}],
    "lists": [{"uri": "https://images.example.org/erin", "identifier": IMAGES.upper()}],
}
EVE: dict[str, t.Any] = {
    "identifier": "eve",
    "pairs": [{"dn": "/DC=org/CN=Eve", "ca": CA}, {"dn": "/C=XX/CN=Eve", "ca": "/C=XX/CN=CA"}],
}


def publish(bench: t.Any, *endorsers: t.Any, **more: t.Any) -> t.Any:
    check = more.pop("check", False)
    options = {
        "identifier": VO_LIST,
        "vo": "example",
        "title": "Endorsers",
        "uri": f"{bench.server}/endorsers.list",
        "endorsers": list(endorsers),
        "certificate": str(bench.pki.endorser.certificate_path),
        "private_key": str(bench.pki.endorser.key_path),
        "history_dir": str(bench.history_dir),
        "uploads": [{"uri_match": f"{bench.server}/", "uri_replace": f"{bench.www}/"}],
        **bench.trust,
        **more,
    }
    return bench.run("endorserlist_publish", options, check=check)


def content(bench: t.Any) -> dict[str, t.Any]:
    found = json.loads(read_message((bench.www / "endorsers.list").read_bytes()).content)
    return t.cast("dict[str, t.Any]", found["hv:endorserlist"])


def test_what_is_declared_is_published(bench: t.Any) -> None:
    result = publish(bench, ERIN, EVE)
    assert [action["action"] for action in result["actions"]] == ["sign", "upload"]
    assert result["list"]["version"] == "1"
    assert [person["identifier"] for person in result["endorsers"]] == ["erin", "eve"]
    assert result["endorsers"][1]["pairs"] == EVE["pairs"]
    found = content(bench)
    assert (found["ad:vo"], found["hv:endorser"]["hv:x509"]["hv:dn"]) == ("example", bench.pki.endorser.dn)
    assert "hv:images" not in found
    assert found["hv:endorsers"][0]["hv:endorser"] == {
        "dc:identifier": "erin",
        "hv:x509": {"hv:dn": "/DC=org/CN=Erin", "hv:ca": CA, "dc:creator": "Erin", "hv:email": "erin@example.org"},
        "hv:imagelists": [{"hv:uri": "https://images.example.org/erin", "dc:identifier": IMAGES}],
    }


def test_check_mode_plans_the_same_and_writes_nothing(bench: t.Any) -> None:
    planned = publish(bench, ERIN, check=True)
    assert not (bench.www / "endorsers.list").exists()
    assert not bench.history_dir.exists()
    done = publish(bench, ERIN)
    assert planned["actions"] == done["actions"]
    assert planned["diff"]["after"]["endorsers"] == done["diff"]["after"]["endorsers"]


def test_a_version_is_raised_only_for_what_changed(bench: t.Any) -> None:
    publish(bench, ERIN, EVE)
    assert publish(bench, EVE, ERIN)["changed"] is False
    result = publish(bench, ERIN)
    assert (result["changed"], result["list"]["version"]) == (True, "2")
    assert set(result["diff"]["before"]["endorsers"]) == {"erin", "eve"}
    assert len(list((bench.history_dir / VO_LIST / "messages").iterdir())) == 2


def test_one_person_can_be_changed_by_a_merge(bench: t.Any) -> None:
    publish(bench, ERIN, EVE)
    result = publish(bench, {"identifier": "eve", "email": "eve@example.org"}, purge_endorsers=False)
    assert [person["identifier"] for person in result["endorsers"]] == ["erin", "eve"]
    assert result["endorsers"][1]["email"] == "eve@example.org"
    assert result["endorsers"][1]["pairs"] == EVE["pairs"]


@pytest.mark.parametrize(
    ("endorsers", "words"),
    [
        ([{"identifier": "erin"}], "endorsers[0].pairs:"),
        ([ERIN, {**EVE, "identifier": "Erin"}], "endorsers[1].identifier:"),
        ([{**ERIN, "identifier": "/CN=erin"}], "endorsers[0]:"),
        ([{**ERIN, "lists": [{"uri": "file:///srv/list"}]}], "endorsers[0]:"),
        ([{**ERIN, "lists": [{"uri": "https://x/y", "identifier": "7"}]}], "endorsers[0].lists[0].identifier:"),
        ([{**ERIN, "metadata": {"hv:x509": {}}}], "endorsers[0].metadata.hv:x509:"),
    ],
)
def test_a_wrong_option_is_named(bench: t.Any, endorsers: list[t.Any], words: str) -> None:
    refused = publish(bench, *endorsers)
    assert refused["code"] == "publish_invalid"
    assert refused["msg"].startswith(words)


def test_a_pair_of_two_persons_is_not_signed(bench: t.Any) -> None:
    refused = publish(bench, ERIN, {**EVE, "pairs": ERIN["pairs"]})
    assert refused["code"] == "list_malformed"
    assert not (bench.www / "endorsers.list").exists()
