# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""inittab(5) of System V init."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .lines import Document

_ENTRY: t.Final = re.compile(r"([^:#\s][^:]{0,7}):([^:]*):([^:]*):(.*)\Z")
_AFTER: t.Final = "# Run gettys in standard runlevels"


@dataclass(frozen=True)
class Process:
    """One entry; `line` is its number, from 0."""

    identifier: str
    runlevels: str
    action: str
    command: str
    line: int

    @property
    def terminal(self) -> str | None:
        """The terminal that a getty of this entry serves."""
        words = self.command.split()
        if not words or not re.search(r"(?:^|/)(?:m?in|a|fb|m)?getty\Z|(?:^|/)mingetty\Z", words[0]):
            return None
        return next((word for word in words[1:] if re.match(r"(?:tty|hvc|xvc|console)", word)), None)


class Inittab(Document):
    """What init runs."""

    @property
    def processes(self) -> tuple[Process, ...]:
        """Every entry, in order."""
        found: list[Process] = []
        for number, text in enumerate(self.bodies):
            match = _ENTRY.match(text.rstrip("\r"))
            if match is not None:
                found.append(Process(match[1], match[2], match[3], match[4], number))
        return tuple(found)

    @property
    def terminals(self) -> tuple[str, ...]:
        """The terminals that have a getty in runlevel 3 or 2."""
        return tuple(
            process.terminal
            for process in self.processes
            if process.terminal and process.action == "respawn" and set("23") & set(process.runlevels)
        )

    def commented(self, process: Process) -> Inittab:
        """The file with that entry as a comment."""
        return self.with_body(process.line, "#" + self.bodies[process.line])

    def with_getty(self, identifier: str, command: str) -> Inittab:
        """The file with a getty in runlevels 2 to 5, where the book puts it: after the comment on gettys."""
        entry = f"{identifier}:2345:respawn:{command}"
        for number, text in enumerate(self.bodies):
            if text.strip() == _AFTER:
                return self.inserted(number + 1, [entry])
        gettys = [process.line for process in self.processes if process.terminal]
        return self.inserted(gettys[0] if gettys else len(self.lines), [entry])
