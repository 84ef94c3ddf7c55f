# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Netplan's YAML, as far as it binds a configuration to one network card; written in block style, as is usual.

The file is not read as YAML: its lines keep their form, comments and all. What binds a card in flow style is found and
not changed.
"""

from __future__ import annotations

import re
import typing as t

from .lines import Document, indent

_KEY: t.Final = re.compile(r"[ ]*(?:- )?([A-Za-z0-9_.\"'*-]+)[ ]*:(?:[ ]+(.*?))?[ ]*(?:#.*)?\Z")


class Netplan(Document):
    """The keys of a netplan file."""

    @property
    def pins(self) -> tuple[int, ...]:
        """The lines that bind a configuration to a card's address, or set one."""
        return tuple(number for number, text in enumerate(self.bodies) if _key(text) == "macaddress")

    @property
    def unclear(self) -> tuple[int, ...]:
        """The lines that speak of a card's address in a way that is not understood here."""
        return tuple(
            number
            for number, text in enumerate(self.bodies)
            if "macaddress" in text.split("#", 1)[0] and number not in self.pins
        )

    def without_pins(self, name: str = "e*") -> Netplan:
        """The file that matches any card whose name begins as `name` says, and sets no address."""
        document = self
        gone: set[int] = set()
        for number in self.pins:
            match = self._parent(number)
            if match is None or _key(self.bodies[match]) != "match":
                gone.add(number)
                continue
            if "name" in self._keys(match):
                gone.add(number)
            else:
                document = document.with_body(number, f'{indent(self.bodies[number])}name: "{name}"')
            device = self._parent(match)
            gone |= set() if device is None else set(self._keys(device).get("set-name", ()))
        return document.without(gone)

    def _keys(self, number: int) -> dict[str, list[int]]:
        """The keys below that of a line, with their lines."""
        found: dict[str, list[int]] = {}
        for index in self._children(number):
            found.setdefault(_key(self.bodies[index]), []).append(index)
        return found

    def _parent(self, number: int) -> int | None:
        depth = len(indent(self.bodies[number]))
        for index in range(number - 1, -1, -1):
            if _key(self.bodies[index]) and len(indent(self.bodies[index])) < depth:
                return index
        return None

    def _children(self, number: int) -> tuple[int, ...]:
        depth = len(indent(self.bodies[number]))
        found: list[int] = []
        for index in range(number + 1, len(self.lines)):
            text = self.bodies[index]
            if _key(text) and len(indent(text)) <= depth:
                break
            if _key(text) and self._parent(index) == number:
                found.append(index)
        return tuple(found)


def _key(text: str) -> str:
    match = _KEY.match(text.rstrip("\r"))
    return match[1].strip("\"'") if match is not None else ""
