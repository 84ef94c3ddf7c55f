# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lengths of time as people write them in options: ``28d``, ``12h``, ``15m``, ``90s``, ``1w``."""

from __future__ import annotations

import re
import typing as t
from datetime import timedelta

_UNITS: t.Final[t.Mapping[str, str]] = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
#: A thousand years: the longest length of time that can be added to any date that is met.
LONGEST: t.Final = timedelta(days=365_000)
_SHAPE: t.Final = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)


def parse_duration(text: str) -> timedelta:
    """Return the length of time that `text` names: a whole number and one unit (s, m, h, d, w).

    Raises `ValueError`, with a sentence that can be shown to the reader, for anything else.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write a whole number and a unit, as in 28d, 12h, 15m or 90s")
    number, unit = match.groups()
    try:
        length = timedelta(**{_UNITS[unit]: int(number)})
    except OverflowError:
        length = timedelta.max
    if length > LONGEST:
        raise ValueError(f"{text!r} is longer than any date allows")
    return length


def duration_text(value: timedelta) -> str:
    """A length of time (whole seconds) as `parse_duration` reads it, in the largest unit up to days that fits."""
    seconds = int(value.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"
