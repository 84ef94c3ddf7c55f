# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as people write them in options."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("28d", timedelta(days=28)),
        ("12h", timedelta(hours=12)),
        ("15m", timedelta(minutes=15)),
        ("90s", timedelta(seconds=90)),
        ("2w", timedelta(days=14)),
        ("0s", timedelta(0)),
        (" 7d ", timedelta(days=7)),
    ],
)
def test_reads_a_number_and_a_unit(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "1d12h", "7 d", "7D", "7y", "\u0667d", "1e3s"])
def test_refuses_anything_else_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration: write a whole number and a unit"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["999999999w", "9999999d", "365001d"])
def test_refuses_a_length_no_date_can_bear(text: str) -> None:
    with pytest.raises(ValueError, match="longer than any date allows"):
        parse_duration(text)
