# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endorser list is read whole, or refused whole with the field that is wrong."""

from __future__ import annotations

import copy
import json
import types
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorserlist.model import ListAddress
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorserlist.reader import (
    LONGEST,
    MAX_ALL_LISTS,
    MAX_LISTS,
    MAX_MEMBERS,
    MAX_NAMES,
    read_list,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.endorserlist.writer import write_list
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import TrustError

UUID = "4e186b44-2c64-40ea-97d5-e9e5c0bce059"
CA = "/DC=org/CN=CA"


def member(person: str = "erin", more: t.Mapping[str, t.Any] = types.MappingProxyType({})) -> dict[str, t.Any]:
    return {
        "hv:endorser": {
            "dc:identifier": person,
            "hv:x509": {"hv:dn": f"/DC=org/CN={person}", "hv:ca": CA},
            "hv:imagelists": [{"hv:uri": f"https://example.org/{person}", "dc:identifier": UUID}],
            **more,
        }
    }


def document(*members: t.Any, more: t.Mapping[str, t.Any] = types.MappingProxyType({})) -> dict[str, t.Any]:
    return {
        "hv:endorserlist": {
            "dc:identifier": UUID.upper(),
            "dc:title": "Endorsers of the VO",
            "hv:version": "3",
            "dc:date:created": "2026-11-20T10:00:00Z",
            "dc:date:expires": "2026-12-20T10:00:00Z",
            "hv:uri": "https://example.org/endorsers",
            "ad:vo": "example",
            "hv:endorser": {"hv:x509": {"hv:dn": "/DC=org/CN=VO", "hv:ca": CA}},
            "hv:endorsers": list(members),
            **more,
        }
    }


def refusal(found: t.Any) -> TrustError:
    with pytest.raises(TrustError) as refused:
        read_list(json.dumps(found).encode())
    return refused.value


def test_a_list_is_read() -> None:
    two = [
        {"hv:dn": "/DC=org/CN=Eve", "hv:ca": CA, "dc:creator": "Eve", "hv:email": "eve@example.org"},
        {"hv:dn": "/C=XX/CN=Eve", "hv:ca": "/C=XX/CN=CA"},
    ]
    found = read_list(json.dumps(document(member(), member("eve", {"hv:x509": two, "hv:imagelists": []}))).encode())
    assert (found.identifier, found.version, found.vo) == (UUID, "3", "example")
    assert [one.identifier for one in found.members] == ["erin", "eve"]
    assert found.members[0].pairs == (("/DC=org/CN=erin", CA),)
    assert found.members[0].lists == (ListAddress("https://example.org/erin", UUID),)
    assert found.members[1].pairs == (("/DC=org/CN=Eve", CA), ("/C=XX/CN=Eve", "/C=XX/CN=CA"))
    assert found.members[1].as_dict()["email"] == "eve@example.org"


def test_unknown_keys_survive_a_round_trip() -> None:
    found = read_list(json.dumps({**document(member(more={"x:key": [1]}), more={"x:list": "y"}), "beside": 1}).encode())
    again = read_list(write_list(found))
    assert again == found
    assert again.raw["x:list"] == "y"
    assert again.beside == {"beside": 1}


def test_an_image_list_is_no_endorser_list() -> None:
    assert refusal({"hv:imagelist": document()["hv:endorserlist"]}).context["field"] == "hv:endorserlist"


FIRST, SECOND = "hv:endorsers[0].hv:endorser", "hv:endorsers[1].hv:endorser"
ERIN = member()["hv:endorser"]["hv:x509"]
NAME = {"hv:dn": "/DC=org/CN=x", "hv:ca": CA}


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ([member(), member()], f"{SECOND}.dc:identifier"),
        ([member(), member("ERIN")], f"{SECOND}.dc:identifier"),
        ([member(), member("eve", {"hv:x509": ERIN})], f"{SECOND}.hv:x509"),
        ([member(more={"hv:x509": [NAME, NAME]})], f"{FIRST}.hv:x509[1]"),
        ([member(more={"hv:x509": []})], f"{FIRST}.hv:x509"),
        ([member(more={"hv:x509": [NAME] * (MAX_NAMES + 1)})], f"{FIRST}.hv:x509"),
        ([member(more={"hv:x509": {**NAME, "hv:dn": "CN=x"}})], f"{FIRST}.hv:x509.hv:dn"),
        ([member("")], f"{FIRST}.dc:identifier"),
        ([member("/CN=erin")], f"{FIRST}.dc:identifier"),
        ([member("erin\u2028")], f"{FIRST}.dc:identifier"),
        ([member("e" * (LONGEST + 1))], f"{FIRST}.dc:identifier"),
        ([member(more={"hv:imagelists": [{"hv:uri": "file:///etc/passwd"}]})], f"{FIRST}.hv:imagelists[0].hv:uri"),
        ([member(more={"hv:imagelists": [{"hv:uri": "https://x/y"}] * 2})], f"{FIRST}.hv:imagelists[1]"),
        (
            [member(more={"hv:imagelists": [{"hv:uri": f"https://x/{n}"} for n in range(MAX_LISTS + 1)]})],
            f"{FIRST}.hv:imagelists",
        ),
        (
            [member(more={"hv:imagelists": [{"hv:uri": "https://x/y", "dc:identifier": "7"}]})],
            f"{FIRST}.hv:imagelists[0].dc:identifier",
        ),
        ([{"hv:x509": NAME}], FIRST),
        ([member(str(number)) for number in range(MAX_MEMBERS + 1)], "hv:endorsers"),
        (
            [
                member(str(n), {"hv:imagelists": [{"hv:uri": f"https://x/{m}"} for m in range(MAX_LISTS)]})
                for n in range(MAX_ALL_LISTS // MAX_LISTS + 1)
            ],
            "hv:endorsers",
        ),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(members: list[t.Any], field: str) -> None:
    refused = refusal(document(*copy.deepcopy(members)))
    assert (refused.code, refused.context["field"]) == ("list_malformed", field)


@pytest.mark.parametrize("key", ["dc:identifier", "hv:version", "dc:date:created", "dc:date:expires", "hv:endorser"])
def test_what_every_signed_list_has_must_be_there(key: str) -> None:
    found = document()
    del found["hv:endorserlist"][key]
    assert refusal(found).context["field"] == key


def test_two_lists_without_identifier_are_two_lists() -> None:
    lists = [{"hv:uri": "https://example.org/a"}, {"hv:uri": "https://example.org/b"}]
    found = read_list(json.dumps(document(member(more={"hv:imagelists": lists}))).encode())
    assert [one.identifier for one in found.members[0].lists] == [None, None]
