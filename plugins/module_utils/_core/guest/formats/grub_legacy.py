# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""grub.conf or menu.lst of grub 0.97."""

from __future__ import annotations

import dataclasses
import re
import typing as t
from dataclasses import dataclass

from .lines import Document, indent

_COMMAND: t.Final = re.compile(r"[ \t]*([A-Za-z]+)([ \t]*=[ \t]*|[ \t]+|\Z)")


@dataclass(frozen=True)
class Entry(Document):
    """The lines of one entry, from its title to its last command."""

    @property
    def title(self) -> str:
        return self.get("title") or ""

    def get(self, command: str) -> str | None:
        """What follows the first such command; None when there is none."""
        number = self._find(command)
        return None if number is None else _argument(self.bodies[number])

    def all(self, command: str) -> tuple[str, ...]:
        """What follows each such command."""
        return tuple(_argument(text) for text in self.bodies if _name(text) == command)

    @property
    def kernel(self) -> str | None:
        """The kernel's path, as written."""
        words = (self.get("kernel") or "").split()
        return next((word for word in words if not word.startswith("--")), None)

    @property
    def arguments(self) -> tuple[str, ...]:
        """The kernel's arguments."""
        words = (self.get("kernel") or "").split()
        kernel = self.kernel
        return () if kernel is None else tuple(words[words.index(kernel) + 1 :])

    def with_arguments(self, arguments: tuple[str, ...]) -> Entry:
        """The entry whose kernel has these arguments."""
        if arguments == self.arguments:
            return self
        words = (self.get("kernel") or "").split()
        kernel = self.kernel
        if kernel is None:
            return self
        return self.with_command("kernel", " ".join([*words[: words.index(kernel) + 1], *arguments]))

    def with_command(self, command: str, argument: str) -> Entry:
        """The entry in which that command's first line has this argument; it is added at the end if there is none."""
        number = self._find(command)
        if number is None:
            lead = indent(self.bodies[-1]) if len(self.lines) > 1 else "\t"
            return self.inserted(len(self.lines), [f"{lead}{command} {argument}"])
        text = self.bodies[number]
        if _argument(text) == argument:
            return self
        match = t.cast("re.Match[str]", _COMMAND.match(text))
        return self.with_body(number, (match[0] if match[2] else match[0] + " ") + argument)

    def without_command(self, command: str) -> Entry:
        """The entry without any such command."""
        return self.without({number for number, text in enumerate(self.bodies) if _name(text) == command})

    def _find(self, command: str) -> int | None:
        return next((number for number, text in enumerate(self.bodies) if _name(text) == command), None)


@dataclass(frozen=True)
class GrubConf(Document):
    """What comes before the entries, the entries, and the lines between and after them, which keep their place."""

    @property
    def head(self) -> Document:
        """The lines before the first title."""
        starts = self._starts
        return Document(self.lines[: starts[0]] if starts else self.lines)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry, in order."""
        return tuple(entry for entry, _gap in self._parts)

    @property
    def default(self) -> str | None:
        """What the last default command says."""
        said = [_argument(text) for text in self.head.bodies if _name(text) == "default"]
        return said[-1] if said else None

    def with_default(self, index: int) -> GrubConf:
        """The file whose default entry is that of this index."""
        head = self.head
        own = [number for number, text in enumerate(head.bodies) if _name(text) == "default"]
        if not own:
            return self if index == 0 else self.inserted(len(head.lines), [f"default={index}"])
        text = head.bodies[own[-1]]
        if _argument(text) == str(index):
            return self
        match = t.cast("re.Match[str]", _COMMAND.match(text))
        return self.with_body(own[-1], match[0] + str(index))

    def with_entries(self, entries: t.Sequence[Entry]) -> GrubConf:
        """The file with these entries; what lay between the old ones stays between, and the rest stays last."""
        gaps = [gap for _entry, gap in self._parts]
        lines = list(self.head.lines)
        for number, entry in enumerate(entries):
            lines += _ended(entry, self.newline) if number + 1 < len(entries) or any(gaps[number:]) else entry.lines
            if number < len(gaps):
                lines += gaps[number]
        for gap in gaps[len(entries) :]:
            lines += gap
        return dataclasses.replace(self, lines=tuple(lines))

    @property
    def _starts(self) -> tuple[int, ...]:
        return tuple(number for number, text in enumerate(self.bodies) if _name(text) == "title")

    @property
    def _parts(self) -> tuple[tuple[Entry, tuple[str, ...]], ...]:
        starts = self._starts
        found: list[tuple[Entry, tuple[str, ...]]] = []
        for start, stop in zip(starts, [*starts[1:], len(self.lines)]):
            last = stop
            while last > start + 1 and _idle(self.bodies[last - 1]):
                last -= 1
            found.append((Entry(self.lines[start:last]), self.lines[last:stop]))
        return tuple(found)


def _ended(entry: Entry, newline: str) -> tuple[str, ...]:
    last = entry.lines[-1]
    return entry.lines if last.endswith("\n") else (*entry.lines[:-1], last + newline)


def _idle(text: str) -> bool:
    return not text.strip() or text.lstrip().startswith("#")


def _name(text: str) -> str:
    match = _COMMAND.match(text.rstrip("\r"))
    return match[1] if match is not None else ""


def _argument(text: str) -> str:
    match = _COMMAND.match(text.rstrip("\r"))
    return text[match.end() :].strip() if match is not None else ""
