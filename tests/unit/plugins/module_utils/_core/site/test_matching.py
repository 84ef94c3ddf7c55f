# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image is like: each key of a match, its mistakes, and its times."""

from __future__ import annotations

import fnmatch
import json
import time
import typing as t
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.matching import (
    KEYS,
    MatchError,
    Subject,
    Window,
    parse,
)

DATED = datetime(2026, 11, 1, tzinfo=timezone.utc)
DAY = timedelta(days=1)
NOW = DATED + 10 * DAY
LIST = "4e186b44-2c64-40ea-97d5-e9e5c0bce059"

METADATA = {
    "sl:os": "Linux",
    "sl:osversion": "SL 5.5",
    "sl:arch": "x86_64",
    "hv:hypervisor": "kvm,xen",
    "hv:format": "QCOW2",
    "dc:title": "CernVM [beta] 2.3",
    "ad:group": ["batch", "login"],
    "hv:core_minimum": 4,
    "x:signed": True,
    "x:null": None,
}


def _subject(**changes: t.Any) -> Subject:
    facts: dict[str, t.Any] = {
        "image_id": "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d",
        "list_id": LIST,
        "address": "https://images.example.org/List",
        "tag": "CernVM",
        "size": 5000,
        "dated": "2026-11-01T00:00:00Z",
        "described": json.dumps({**METADATA, **changes.pop("metadata", {})}),
        "vo": "cms",
        "endorsers": ("/DC=org/CN=Erin issued by /DC=org/CN=CA", "erin"),
    }
    return Subject(**{**facts, **changes})


#: key -> (what fits, what does not)
KEYS_AND_VALUES: dict[str, tuple[t.Any, t.Any]] = {
    "os": ("linux", "lin"),
    "osversion": (["SL 6*", "SL 5.?"], ["SL 6*", "SL 5"]),
    "arch": ("X86_64", "i?86"),
    "hypervisor": ("*xen*", "xen"),
    "vo": ("CMS", "atlas"),
    "format": ("qcow2", "raw"),
    "title": ("CernVM [beta]*", "CernVM [a-z]*"),
    "tag": ("cern*", "*slc*"),
    "list": ("HTTPS://images.example.org/*", "*.org"),
    "endorser": ("*/CN=erin issued by *", "*/CN=Erin"),
    "size_min": (5000, "5001"),
    "size_max": ("5 kB", 4999),
    "older_than": ("10d", "11d"),
    "newer_than": ("11d", "10d"),
    "metadata": ({"ad:group": "log*"}, {"ad:group": "log"}),
}


def test_the_table_knows_every_key() -> None:
    assert {*KEYS_AND_VALUES, "all"} == set(KEYS)


@pytest.mark.parametrize("key", KEYS_AND_VALUES)
def test_each_key_fits_what_it_says(key: str) -> None:
    fitting, other = KEYS_AND_VALUES[key]
    assert parse({key: fitting}).fits(_subject(), NOW)
    assert not parse({key: other}).fits(_subject(), NOW)


def test_all_keys_must_fit() -> None:
    assert parse({key: fitting for key, (fitting, _other) in KEYS_AND_VALUES.items()}).fits(_subject(), NOW)
    assert not parse({"os": "linux", "size_max": 10}).fits(_subject(), NOW)


def test_all_means_every_image() -> None:
    assert parse({"all": True}).fits(_subject(described="{}"), NOW)


@pytest.mark.parametrize(
    ("glob", "key"),
    [("4", "hv:core_minimum"), ("true", "x:signed"), ("login", "ad:group")],
)
def test_values_that_are_no_text_are_compared_as_it(glob: str, key: str) -> None:
    assert parse({"metadata": {key: glob}}).fits(_subject(), NOW)


@pytest.mark.parametrize("key", ["x:null", "x:absent"])
def test_what_the_list_does_not_say_fits_nothing(key: str) -> None:
    assert not parse({"metadata": {key: "*"}}).fits(_subject(), NOW)
    assert not parse({"os": "*"}).fits(_subject(described="{}"), NOW)


def test_the_vo_of_the_image_comes_before_that_of_the_list() -> None:
    named = _subject(metadata={"ad:vo": "atlas"})
    assert parse({"vo": "atlas"}).fits(named, NOW)
    assert not parse({"vo": "cms"}).fits(named, NOW)
    assert not parse({"vo": "*"}).fits(_subject(vo=""), NOW)


def test_an_age_says_from_when_until_when() -> None:
    match = parse({"older_than": "2d", "newer_than": "4d"})
    assert match.window(_subject()) == Window(DATED + 2 * DAY, DATED + 4 * DAY)
    found = [match.fits(_subject(), DATED + timedelta(hours=hours)) for hours in (47, 48, 95, 96)]
    assert found == [False, True, True, False]
    assert parse({"os": "*"}).window(_subject()) == Window(None, None)
    assert parse({"os": "BSD", "older_than": "2d"}).window(_subject()) is None
    with pytest.raises(MatchError, match="longer than any date allows"):
        parse({"older_than": "9999999d"})


@pytest.mark.parametrize(
    ("match", "path"),
    [
        ("Linux", ""),
        ([], ""),
        ({}, ""),
        ({"sl:os": "Linux"}, "sl:os"),
        ({5: "Linux"}, "5"),
        ({"os": ""}, "os"),
        ({"os": []}, "os"),
        ({"os": None}, "os"),
        ({"osversion": 5.1}, "osversion"),
        ({"osversion": ["5", 6]}, "osversion"),
        ({"vo": False}, "vo"),
        ({"title": "a\nb"}, "title"),
        ({"title": "x" * 1025}, "title"),
        ({"size_min": "20 G"}, "size_min"),
        ({"size_min": True}, "size_min"),
        ({"size_min": 5, "size_max": "4 B"}, "size_max"),
        ({"older_than": "a year"}, "older_than"),
        ({"older_than": 30}, "older_than"),
        ({"older_than": "7d", "newer_than": "1w"}, "newer_than"),
        ({"metadata": {}}, "metadata"),
        ({"metadata": "ad:vo=cms"}, "metadata"),
        ({"metadata": {"ad:vo": 5}}, "metadata.ad:vo"),
        ({"metadata": {"": "x"}}, "metadata."),
        ({"all": False}, "all"),
        ({"all": "yes"}, "all"),
        ({"all": True, "os": "Linux"}, "all"),
    ],
)
def test_a_match_that_makes_no_sense_says_where(match: t.Any, path: str) -> None:
    with pytest.raises(MatchError) as found:
        parse(match)
    assert found.value.path == path
    assert str(found.value) and not str(found.value).endswith(".")


def test_a_match_is_one_whatever_the_units_and_the_order() -> None:
    one = parse({"size_min": "1 KiB", "older_than": "1w", "os": ["b", "a", "b"], "arch": ["x"]})
    other = parse({"arch": "x", "os": ["a", "b"], "older_than": "168h", "size_min": 1024})
    assert one == other and hash(one) == hash(other)
    assert one.as_dict() == {"arch": "x", "older_than": "7d", "os": ["a", "b"], "size_min": 1024}
    assert parse(one.as_dict()) == one != parse({"os": "a"})


@settings(max_examples=300, deadline=None)
@given(glob=st.text("ab*?.", min_size=1, max_size=8), text=st.text("abAB.\n", max_size=10))
@example(glob="a*b*a", text="aba")
@example(glob="*ab?", text="aabab.")
def test_globs_are_those_of_the_shell_without_sets(glob: str, text: str) -> None:
    fits = parse({"tag": glob}).fits(_subject(tag=text), NOW)
    assert fits is fnmatch.fnmatchcase(text.casefold(), glob.casefold())


def test_no_text_makes_a_glob_slow() -> None:
    started = time.process_time()
    assert not parse({"tag": "*a" * 500 + "b"}).fits(_subject(tag="a" * 20_000), NOW)
    assert time.process_time() - started < 2
