# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot loader specification entries, /boot/loader/entries/*.conf, and grub's environment block."""

from __future__ import annotations

import re

from .lines import Document


class BootEntry(Document):
    """The keys of one entry."""

    def get(self, key: str) -> str | None:
        """The first value of `key`; None when there is none."""
        for text in self.bodies:
            words = text.split(None, 1)
            if words and words[0] == key:
                return words[1].strip() if len(words) == 2 else ""
        return None

    @property
    def arguments(self) -> tuple[str, ...]:
        """The kernel's arguments: those of all options lines."""
        found: list[str] = []
        for text in self.bodies:
            words = text.split()
            if words and words[0] == "options":
                found += words[1:]
        return tuple(found)

    @property
    def initrds(self) -> tuple[str, ...]:
        """What all its initrd lines load, in order; GRUB's variables are left out."""
        words = [text.split() for text in self.bodies]
        return tuple(word for line in words if line[:1] == ["initrd"] for word in line[1:] if word[:1] != "$")

    def with_arguments(self, arguments: tuple[str, ...]) -> BootEntry:
        """The entry with these arguments, in its first options line."""
        if arguments == self.arguments:
            return self
        own = [number for number, text in enumerate(self.bodies) if text.split()[:1] == ["options"]]
        if not own:
            return self.inserted(len(self.lines), [f"options {' '.join(arguments)}"])
        head = re.match(r"\s*options[ \t]*", self.bodies[own[0]])
        lead = head[0] if head is not None and head[0].endswith((" ", "\t")) else "options "
        return self.with_body(own[0], lead + " ".join(arguments)).without(set(own[1:]))


def environment(octets: bytes) -> dict[str, str]:
    """The variables of a grubenv block."""
    found: dict[str, str] = {}
    for line in octets.decode("utf-8", "surrogateescape").split("\n"):
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found[name] = re.sub(r"\\(.)", r"\1", value)
    return found


def version_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts names as rpm compares versions, which is how grub orders its entries."""
    parts = [_part(part) for part in re.findall(r"[0-9]+|[A-Za-z]+|~", name)]
    return (*parts, (0, 0, ""))


def _part(part: str) -> tuple[int, int, str]:
    if part == "~":
        return (-1, 0, "")
    return (1, int(part), "") if part.isdecimal() and part.isascii() else (0, 0, part)
