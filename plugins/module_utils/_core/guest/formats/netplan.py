# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Netplan's YAML, as far as it binds a configuration to one network card; written in block style, as is usual.

The file is not read as YAML: its lines keep their form, comments and all. What binds a card in flow style is found and
not changed.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .lines import Document, indent

_KEY: t.Final = re.compile(r"[ ]*(?:- )?([A-Za-z0-9_.\"'*-]+)[ ]*:(?:[ #]|\Z)")


class Netplan(Document):
    """The keys of a netplan file."""

    @property
    def pins(self) -> tuple[int, ...]:
        """The lines that bind a configuration to a card's address, or set one."""
        return tuple(number for number, text in enumerate(self.bodies) if _key(text) == "macaddress")

    @property
    def unclear(self) -> tuple[int, ...]:
        """The lines that speak of a card's address in a way that is not understood here."""
        pins = set(self.pins)
        return tuple(
            number
            for number, text in enumerate(self.bodies)
            if "macaddress" in text.split("#", 1)[0] and number not in pins
        )

    def without_pins(self, name: str = "e*") -> Netplan:
        """The file that matches any card whose name begins as `name` says, and sets no address."""
        document, outline = self, self._outline()
        gone: set[int] = set()
        named: set[int] = set()
        for number in self.pins:
            match = outline.parents[number]
            if match is None or outline.keys[match] != "match":
                gone.add(number)
                continue
            if match in named or outline.below(match, "name"):
                gone.add(number)
            else:
                named.add(match)
                document = document.with_body(number, f'{indent(self.bodies[number])}name: "{name}"')
            device = outline.parents[match]
            if device is not None:
                gone.update(outline.below(device, "set-name"))
        return document.without(gone)

    def _outline(self) -> _Outline:
        keys = tuple(_key(text) for text in self.bodies)
        parents: list[int | None] = []
        found: dict[tuple[int, str], list[int]] = {}
        above: list[tuple[int, int]] = []
        for number, key in enumerate(keys):
            if not key:
                parents.append(None)
                continue
            depth = len(indent(self.bodies[number]))
            while above and above[-1][0] >= depth:
                above.pop()
            parents.append(above[-1][1] if above else None)
            if above:
                found.setdefault((above[-1][1], key), []).append(number)
            above.append((depth, number))
        return _Outline(keys, tuple(parents), found)


@dataclass(frozen=True)
class _Outline:
    """Of each line its key (empty for none) and the line of the key that it is below; `found`: those below, by key."""

    keys: tuple[str, ...]
    parents: tuple[int | None, ...]
    found: t.Mapping[tuple[int, str], t.Sequence[int]]

    def below(self, number: int, key: str) -> t.Sequence[int]:
        """The lines of a key right below that of a line."""
        return self.found.get((number, key), ())


def _key(text: str) -> str:
    match = _KEY.match(text.rstrip("\r"))
    return match[1].strip("\"'") if match is not None else ""
