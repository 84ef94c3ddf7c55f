# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""fstab(5)."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .lines import Document

_FIELDS: t.Final = re.compile(r"[ \t]*([^ \t#][^ \t]*)[ \t]+([^ \t]+)[ \t]+([^ \t]+)(?:[ \t]+([^ \t]+))?")
_OCTAL: t.Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """One line: what is mounted where; `line` is its number, from 0."""

    source: str
    target: str
    kind: str
    options: tuple[str, ...]
    line: int

    @property
    def label(self) -> str | None:
        """The label that the source is found by."""
        return self.source[6:].strip("\"'") if self.source.startswith("LABEL=") else None

    @property
    def uuid(self) -> str | None:
        """The file system's UUID that the source is found by."""
        return self.source[5:].strip("\"'").lower() if self.source.startswith("UUID=") else None


class Fstab(Document):
    """The mounts of a system."""

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """Every mount, in order."""
        found: list[Mount] = []
        for number, text in enumerate(self.bodies):
            match = _FIELDS.match(text.rstrip("\r"))
            if match is not None:
                options = tuple((match[4] or "defaults").split(","))
                found.append(Mount(_plain(match[1]), _plain(match[2]), match[3], options, number))
        return tuple(found)

    def of(self, target: str) -> Mount | None:
        """What is mounted at `target`."""
        return next((mount for mount in self.mounts if (mount.target.rstrip("/") or "/") == target), None)

    def with_source(self, mount: Mount, source: str) -> Fstab:
        """The file with another source in that line."""
        text = self.bodies[mount.line]
        match = t.cast("re.Match[str]", _FIELDS.match(text))
        coded = source.replace("\\", "\\134").replace(" ", "\\040").replace("\t", "\\011")
        return self.with_body(mount.line, text[: match.start(1)] + coded + text[match.end(1) :])


def _plain(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8) & 0xFF), field)
