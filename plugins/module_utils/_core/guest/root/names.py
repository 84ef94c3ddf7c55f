# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of files in an image as text that is safe to print: an image may call its files whatever it likes."""

from __future__ import annotations


def shown(name: str) -> str:
    """`name` on one line of valid UTF-8: control characters and octets that are no UTF-8 are written as escapes."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )
