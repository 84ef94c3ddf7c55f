# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files in an image as text that is safe to print: an image may call its files whatever it likes."""

from __future__ import annotations

import typing as t

T = t.TypeVar("T")


def shown(name: str) -> str:
    """`name` on one line of valid UTF-8: control characters and octets that are no UTF-8 are written as escapes."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def printable(value: T) -> T:
    """`value`, a tree of mappings and sequences, with every text in it as `shown` has it: titles, labels, arguments."""
    made: t.Any = value
    if isinstance(value, str):
        made = shown(value)
    elif isinstance(value, t.Mapping):
        made = {printable(key): printable(item) for key, item in value.items()}
    elif isinstance(value, (list, tuple)):
        made = type(value)(printable(item) for item in value)
    return t.cast(T, made)
