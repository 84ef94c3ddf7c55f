# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Durations as people write them: ``28d``, ``12h``, ``90s``."""

from __future__ import annotations

import re
import typing as t
from datetime import timedelta

_SECONDS: t.Final[t.Mapping[str, int]] = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION: t.Final = re.compile(r"([0-9]{1,9})([smhdw])")


def parse_duration(text: str) -> timedelta:
    """The duration written as a number and one of the units s, m, h, d, w.

    Raises `ValueError` with one sentence that names what was found and what is expected.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write a number and a unit (s, m, h, d or w), such as 28d.")
    try:
        return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    except OverflowError:
        raise ValueError(f"{text!r} is longer than any duration can be.") from None


def format_duration(duration: timedelta) -> str:
    """The shortest exact form of a whole number of seconds, the inverse of `parse_duration`."""
    seconds = int(duration.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds // _SECONDS[unit]}{unit}"
    return f"{seconds}s"
