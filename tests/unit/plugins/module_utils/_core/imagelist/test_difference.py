# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What changed between two versions of a list."""

from __future__ import annotations

import typing as t

from ansible_collections.hepix.vmimages.plugins.module_utils._core.imagelist.difference import (
    compare,
    difference,
    meaning,
)

KEPT = "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
OTHER = "588dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"


def _image(identifier: str = KEPT, sha512: str = "AB" * 64, **keys: t.Any) -> dict[str, t.Any]:
    raw = {"dc:identifier": identifier, "dc:title": "SL5", "hv:version": "1", "sl:checksum:sha512": sha512, **keys}
    return {"hv:image": raw}


def _list(*images: t.Any, **keys: t.Any) -> dict[str, t.Any]:
    return {"dc:title": "a list", "hv:version": "1", "hv:images": list(images), **keys}


def test_images_that_come_and_go_are_told() -> None:
    found = difference(_list(_image(KEPT.upper())), _list(_image(OTHER))).as_dict()["images"]
    brief = {"title": "SL5", "version": "1", "sha512": "ab" * 64}
    assert found == {
        "added": [{"identifier": OTHER, **brief}],
        "removed": [{"identifier": KEPT, **brief}],
        "changed": [],
    }


def test_every_changed_key_of_an_image_has_its_before_and_after() -> None:
    further: dict[str, t.Any] = {"hv:version": "2", "ad:vo": ["a", "b"]}
    after = _image(sha512="cd" * 64, **further)
    (changed,) = difference(_list(_image()), _list(after)).as_dict()["images"]["changed"]
    assert changed == {
        "identifier": KEPT,
        "title": "SL5",
        "octets": True,
        "changed_keys": [
            {"key": "ad:vo", "before": None, "after": ["a", "b"]},
            {"key": "hv:version", "before": "1", "after": "2"},
            {"key": "sl:checksum:sha512", "before": "AB" * 64, "after": "cd" * 64},
        ],
    }


def test_an_image_whose_words_alone_changed_has_its_octets_still() -> None:
    (changed,) = difference(_list(_image()), _list(_image(**{"sl:os": "Linux"}))).as_dict()["images"]["changed"]
    assert (changed["octets"], [key["key"] for key in changed["changed_keys"]]) == (False, ["sl:os"])


def test_the_lists_own_keys_are_told_apart_from_its_images() -> None:
    found = difference(_list(_image()), _list(_image(), **{"dc:title": "renamed"}))
    assert [change.as_dict() for change in found.keys] == [{"key": "dc:title", "before": "a list", "after": "renamed"}]
    assert not (found.added or found.removed or found.changed)


def test_the_order_of_the_images_is_no_difference() -> None:
    assert not difference(_list(_image(), _image(OTHER)), _list(_image(OTHER), _image()))


def test_a_lists_beginning_is_a_difference_to_nothing() -> None:
    found = difference({}, _list(_image()))
    assert list(found.added) == [KEPT]
    assert {change.key for change in found.keys} == {"dc:title", "hv:version"}


def test_dates_and_version_are_no_meaning() -> None:
    before = _list(_image(), **{"dc:date:created": "2026-01-01T00:00:00Z", "dc:date:expires": "2026-02-01T00:00:00Z"})
    assert meaning(before) == meaning(_list(_image(), **{"hv:version": "2"}))
    assert meaning(before) != meaning(_list(_image(**{"sl:os": "Linux"})))


def test_sides_are_sorted() -> None:
    sides = compare({"c": 1, "b": 1, "a": 1}, {"b": 2, "c": 1, "e": 1, "d": 1, "a": 2})
    assert (sides.added, sides.removed, sides.changed) == (("d", "e"), (), ("a", "b"))
