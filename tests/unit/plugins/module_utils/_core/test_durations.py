# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from datetime import timedelta

import pytest
from ansible_collections.hepix.vmimages.plugins.module_utils._core.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("12h", timedelta(hours=12)),
        ("28d", timedelta(days=28)),
        ("2w", timedelta(days=14)),
        ("0s", timedelta()),
        (" 1d ", timedelta(days=1)),
    ],
)
def test_each_unit_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "d", "1", "1.5d", "-1d", "1y", "1d12h", "1 d", "٣d", "999999999w"])
def test_anything_else_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="duration") as refused:
        parse_duration(text)
    assert str(refused.value).endswith(".")


@pytest.mark.parametrize("text", ["90s", "5m", "12h", "28d", "0s"])
def test_formatting_gives_back_what_was_read(text: str) -> None:
    assert format_duration(parse_duration(text)) == text
