# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration files as their lines, each with the line end that it has: what nobody changed stays as it is.

Every format of this package is a frozen view of such lines. ``dump(parse(octets)) == octets`` holds for any octets, and
an edit touches the lines that it is about and no others.
"""

from __future__ import annotations

import dataclasses
import typing as t
from dataclasses import dataclass
from functools import cached_property

D = t.TypeVar("D", bound="Document")


@dataclass(frozen=True)
class Document:
    """The lines of a file, decoded without loss."""

    lines: tuple[str, ...] = ()

    @classmethod
    def parse(cls: type[D], octets: bytes) -> D:
        """The document in `octets`, whatever they are."""
        return cls(split(octets.decode("utf-8", "surrogateescape")))

    def dump(self) -> bytes:
        """The octets of the document."""
        return "".join(self.lines).encode("utf-8", "surrogateescape")

    def with_lines(self: D, lines: t.Iterable[str]) -> D:
        """The document with other lines."""
        return dataclasses.replace(self, lines=tuple(lines))

    def with_body(self: D, index: int, text: str) -> D:
        """The document with another text in line `index`, which keeps its end."""
        return self.with_lines([*self.lines[:index], text + end(self.lines[index]), *self.lines[index + 1 :]])

    def without(self: D, indices: t.Collection[int]) -> D:
        """The document without these lines."""
        return self.with_lines(line for index, line in enumerate(self.lines) if index not in indices)

    def inserted(self: D, index: int, bodies: t.Iterable[str]) -> D:
        """The document with new lines before line `index`, ended as the file ends its lines."""
        newline = self.newline
        before = list(self.lines[:index])
        new = [body + newline for body in bodies]
        if new and before and not end(before[-1]):
            before[-1] += newline
        return self.with_lines([*before, *new, *self.lines[index:]])

    @property
    def newline(self) -> str:
        """How the file ends its lines."""
        return end(self.lines[0]) if self.lines and end(self.lines[0]) else "\n"

    @cached_property
    def bodies(self) -> tuple[str, ...]:
        """The lines without their ends."""
        return tuple(body(line) for line in self.lines)


def split(text: str) -> tuple[str, ...]:
    """The lines of `text` with their ends; only a line feed ends a line."""
    parts = text.split("\n")
    return tuple([part + "\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else []))


def end(line: str) -> str:
    """The end of a line: carriage return and line feed, line feed, or nothing."""
    return "\r\n" if line.endswith("\r\n") else "\n" if line.endswith("\n") else ""


def body(line: str) -> str:
    """A line without its end."""
    return line[: len(line) - len(end(line))]


def indent(text: str) -> str:
    """The white space that `text` begins with."""
    return text[: len(text) - len(text.lstrip(" \t"))]
