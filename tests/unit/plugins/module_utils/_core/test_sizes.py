# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes in options, and for people."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.sizes import parse_size, size_text


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        (17, 17),
        ("17", 17),
        ("20 GiB", 20 * 1024**3),
        ("1.5 gib", 3 * 512 * 1024**2),
        ("500 MB", 500_000_000),
        (" 1TiB ", 1024**4),
        ("3 B", 3),
        ("0", 0),
    ],
)
def test_a_size_is_read(text: t.Any, octets: int) -> None:
    assert parse_size(text) == octets


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1 XB", "1e9", "1 GiB more", "\u0661", -1, True, None, 1.5, "0.1 B"])
def test_anything_else_is_refused_with_a_sentence(text: t.Any) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_size(text)


def test_a_size_for_people() -> None:
    told = [size_text(octets) for octets in (0, 1023, 1536, 10 * 1024**3)]
    assert told == ["0 octets", "1023 octets", "1.5 KiB", "10.0 GiB"]
