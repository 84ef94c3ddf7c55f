# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is, in words."""

from __future__ import annotations

import typing as t

from ...sizes import size_text

_VERBS: t.Final = {"download": "downloading", "read": "reading", "derive": "making disks"}


def sentence(step: t.Mapping[str, t.Any]) -> str:
    """One step: ``worker (2b9e4f2c): downloading, 1.2 GiB of 10.0 GiB, 110.3 MiB/s, 80 s left``."""
    name = f"{step['title'] or 'image'} ({step['image'][:8]})"
    parts = [_VERBS.get(step["action"], step["action"]), size_text(step["done"])]
    if step["total"]:
        parts[-1] += f" of {size_text(step['total'])}"
    if step["rate"]:
        parts.append(f"{size_text(step['rate'])}/s")
    if step["seconds_left"] is not None:
        parts.append(f"{time_text(step['seconds_left'])} left")
    return f"{name}: {', '.join(parts)}"


def time_text(seconds: int) -> str:
    """A length of time for people, with one unit or two: ``2 h 5 min``, ``80 s``."""
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
