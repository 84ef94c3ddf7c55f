# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time as text: UTC, whole seconds, ``YYYY-MM-DDThh:mm:ssZ``."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_TEXT = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z")


def utc_now() -> datetime:
    """The present time, aware, in UTC."""
    return datetime.now(timezone.utc)


def to_text(when: datetime) -> str:
    """`when` (aware) in UTC, fractions of a second dropped."""
    # strftime writes the years before 1000 with fewer than four digits, and from_text would not read them.
    return f"{when.astimezone(timezone.utc).replace(microsecond=0, tzinfo=None).isoformat()}Z"


def from_text(text: str) -> datetime:
    """The aware datetime that `to_text` wrote; ValueError for anything else."""
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time as YYYY-MM-DDThh:mm:ssZ")
    year, month, day, hour, minute, second = map(int, found.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
