# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of sections and keys: NetworkManager keyfiles, systemd-networkd's .network and .link, systemd units."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .lines import Document

_SECTION: t.Final = re.compile(r"[ \t]*\[([^\[\]]+)\][ \t]*\Z")
_KEY: t.Final = re.compile(r"[ \t]*([A-Za-z0-9][A-Za-z0-9._-]*)[ \t]*=(.*)\Z")


@dataclass(frozen=True)
class Setting:
    """One key of a section; `line` is its number, from 0."""

    section: str
    key: str
    value: str
    line: int


class Keyfile(Document):
    """The settings of a file."""

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Every setting, in order."""
        found: list[Setting] = []
        section = ""
        for number, text in enumerate(self.bodies):
            plain = text.rstrip("\r")
            heading, pair = _SECTION.match(plain), _KEY.match(plain)
            if heading is not None:
                section = heading[1]
            elif pair is not None:
                found.append(Setting(section, pair[1], pair[2].strip(" \t"), number))
        return tuple(found)

    def get(self, section: str, key: str) -> str | None:
        """The last value of the key; None when it is not set."""
        values = [item.value for item in self.settings if (item.section, item.key) == (section, key)]
        return values[-1] if values else None

    def without_keys(self, section: str, *keys: str) -> Keyfile:
        """The file without these keys of that section."""
        return self.without({item.line for item in self.settings if item.section == section and item.key in keys})

    def with_value(self, section: str, key: str, value: str) -> Keyfile:
        """The file in which the key has that value; its last setting is changed, or one added to its section."""
        own = [item for item in self.settings if (item.section, item.key) == (section, key)]
        if own:
            same = own[-1].value == value
            return self if same else self.with_body(own[-1].line, f"{key}={value}")
        for number, text in enumerate(self.bodies):
            heading = _SECTION.match(text.rstrip("\r"))
            if heading is not None and heading[1] == section:
                return self.inserted(number + 1, [f"{key}={value}"])
        return self.inserted(len(self.lines), [f"[{section}]", f"{key}={value}"])
