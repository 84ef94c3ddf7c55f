# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Words that every report shares: foreign text made harmless, points in time, and lengths of time."""

from __future__ import annotations

import typing as t
from datetime import datetime, timedelta, timezone

_LONGEST: t.Final = 400
_MINUTE: t.Final = 60
_HOUR: t.Final = 3600
_DAY: t.Final = 86400


def one_line(text: t.Any, longest: int = _LONGEST) -> str:
    """What somebody else wrote as one line of at most `longest` characters, none of which moves or reorders others."""
    words = "".join(character if character.isprintable() else "\ufffd" for character in str(text)[: longest + 1])
    return words if len(words) <= longest else f"{words[: longest - 1]}\u2026"


def moment(when: datetime) -> str:
    """``2026-01-31 12:00 UTC``."""
    return when.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def span(length: timedelta) -> str:
    """The length of time in its two largest units: ``45 s``, ``12 min``, ``3 h 5 min``, ``5 d 3 h``, ``45 d``."""
    seconds = abs(int(length.total_seconds()))
    if seconds < _MINUTE:
        return f"{seconds} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE} min"
    if seconds < _DAY:
        return _pair(seconds // _HOUR, "h", seconds % _HOUR // _MINUTE, "min")
    days = seconds // _DAY
    return _pair(days, "d", seconds % _DAY // _HOUR if days < 10 else 0, "h")


def relative(when: datetime, now: datetime) -> str:
    """``3 h ago`` or ``in 3 h``, seen from `now`."""
    return f"{span(now - when)} ago" if when <= now else f"in {span(when - now)}"


def counted(number: int, one: str, many: str = "") -> str:
    """``1 list``, ``2 lists``."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _pair(first: int, unit: str, second: int, smaller: str) -> str:
    return f"{first} {unit} {second} {smaller}" if second else f"{first} {unit}"
