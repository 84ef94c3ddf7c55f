# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""interfaces(5) of ifupdown."""

from __future__ import annotations

import typing as t

from .lines import Document

_STANZAS: t.Final = ("iface", "mapping", "auto", "source", "source-directory", "no-auto-down", "no-scripts")


class Interfaces(Document):
    """The stanzas of a file."""

    def options(self, name: str) -> tuple[tuple[int, str, str], ...]:
        """Line number, interface and value of every option `name` of an iface stanza."""
        found: list[tuple[int, str, str]] = []
        interface = ""
        for number, text in enumerate(self.bodies):
            words = text.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] in _STANZAS or words[0].startswith("allow-"):
                interface = words[1] if words[0] == "iface" and len(words) > 1 else ""
            elif interface and words[0] == name:
                found.append((number, interface, " ".join(words[1:])))
        return tuple(found)

    def without_option(self, name: str) -> Interfaces:
        """The file without that option in any stanza."""
        return self.without({number for number, _interface, _value in self.options(name)})
