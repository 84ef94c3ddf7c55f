# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of octets as people write them in options: ``20 GiB``, ``1.5 GB``, ``700MB``, ``4096``."""

from __future__ import annotations

import re
import typing as t
from fractions import Fraction

_PREFIXES: t.Final = "KMGTP"
_SHAPE: t.Final = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))? ?(?:([KMGTP])(i?)B|B)?", re.ASCII | re.IGNORECASE)


def parse_size(given: t.Any) -> int:
    """The number of octets: a whole number, or text with a unit (B, kB = 1000 B, KiB = 1024 B, ... PB, PiB).

    Raises `ValueError`, with a sentence that can be shown to the reader, for anything else.
    """
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    match = _SHAPE.fullmatch(given.strip()) if isinstance(given, str) else None
    if match is None:
        raise ValueError(
            f"{given!r} is not a size: write a number of octets or one with a unit, as in 20 GiB or 700 MB"
        )
    whole, fraction, prefix, binary = match.groups()
    unit = (1024 if binary else 1000) ** (_PREFIXES.index(prefix.upper()) + 1) if prefix else 1
    octets = Fraction(f"{whole}.{fraction or 0}") * unit
    if octets.denominator != 1:
        raise ValueError(f"{given!r} is not a whole number of octets")
    return int(octets)


def size_text(octets: int) -> str:
    """The number of octets for people: ``3.2 GiB``; whole octets below one KiB."""
    amount = float(octets)
    for unit in ("octets", *(f"{prefix}iB" for prefix in _PREFIXES)):
        if amount < 1024 or unit == "PiB":
            break
        amount /= 1024
    return f"{octets} octets" if unit == "octets" else f"{amount:.1f} {unit}"
