# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of version texts such as ``7``, ``3.3.0-1`` and ``2.6.0-4-rc1``.

A version splits at ``.`` and ``-`` into components of ASCII letters and digits. All-digit components compare as
numbers (10 > 9), others as text, and a number comes before a text; of two versions of which one begins the other, the
shorter is the lower.
"""

from __future__ import annotations

import re
import typing as t

from ..errors import TrustError

#: Longest version text that is read: versions become parts of file names.
LONGEST: t.Final = 128

_VERSION: t.Final = re.compile(r"[A-Za-z0-9]+(?:[.-][A-Za-z0-9]+)*")
_SEPARATOR: t.Final = re.compile(r"[.-]")
_LAST: t.Final = re.compile(r"[A-Za-z0-9]+\Z")

#: (0, number of digits, digits) for a number, (1, 0, text) for a text: tuples of these compare as versions do.
Component = tuple[int, int, str]


def is_version(text: str) -> bool:
    """Whether the text is a version at all."""
    return len(text) <= LONGEST and _VERSION.fullmatch(text) is not None


def parse(text: str) -> tuple[Component, ...]:
    """The version's sort key. Raises TrustError ``list_malformed``."""
    if not is_version(text):
        raise TrustError("list_malformed", f"{text[:LONGEST]!a} is not a version.")
    return tuple(_component(part) for part in _SEPARATOR.split(text))


def compare(a: str, b: str) -> int:
    """-1, 0 or 1 as `a` is lower than, the same as or higher than `b`. Raises TrustError ``list_malformed``."""
    left, right = parse(a), parse(b)
    return (left > right) - (left < right)


def next_version(text: str) -> str:
    """The version after this one: its last number plus one, or ``.1`` behind a last component that is a text.

    Raises TrustError ``list_malformed``.
    """
    parse(text)
    last = _LAST.search(text)
    if last is None or not last.group().isdigit():
        return f"{text}.1"
    return f"{text[: last.start()]}{int(last.group()) + 1}"


def _component(part: str) -> Component:
    if not part.isdigit():
        return (1, 0, part)
    # As digits, not as int: a hostile version may have more digits than int() converts.
    digits = part.lstrip("0")
    return (0, len(digits), digits)
