# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time as text: UTC, whole seconds, ``YYYY-MM-DDThh:mm:ssZ``."""

from __future__ import annotations

from datetime import datetime, timezone

_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> datetime:
    """The present time, aware, in UTC."""
    return datetime.now(timezone.utc)


def to_text(when: datetime) -> str:
    """`when` (aware) in UTC, fractions of a second dropped."""
    return when.astimezone(timezone.utc).strftime(_FORMAT)


def from_text(text: str) -> datetime:
    """The aware datetime that `to_text` wrote; ValueError for anything else."""
    return datetime.strptime(text, _FORMAT).replace(tzinfo=timezone.utc)
