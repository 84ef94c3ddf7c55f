# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of shell assignments: ifcfg-*, /etc/sysconfig/*, /etc/default/grub, /etc/selinux/config, dracut.conf.

Only what a shell would certainly take for a plain assignment is read as one; all else is left alone.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .lines import Document, body, end, split

_START: t.Final = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)(\+?=)")
_PLAIN: t.Final = re.compile(r"[A-Za-z0-9_./:,@%+=-]*\Z")


@dataclass(frozen=True)
class Assignment:
    """One assignment: lines `first` to `last`; its value's octets are [start, end) of the joined lines."""

    name: str
    operator: str
    value: str
    first: int
    last: int
    start: int
    end: int


class Assignments(Document):
    """The assignments of a file, in order."""

    @property
    def found(self) -> tuple[Assignment, ...]:
        """Every assignment."""
        found: list[Assignment] = []
        index = 0
        while index < len(self.lines):
            assignment = _read(self.lines, index)
            if assignment is not None:
                found.append(assignment)
                index = assignment.last
            index += 1
        return tuple(found)

    def get(self, name: str) -> str | None:
        """The value of `name` in the end, with ``+=`` added up; None when it is not set."""
        value: str | None = None
        for item in self.found:
            if item.name == name:
                value = (value or "") + item.value if item.operator == "+=" else item.value
        return value

    def with_value(self, name: str, value: str) -> Assignments:
        """The file in which `name` is `value`: the last assignment is changed, or one is added at the end."""
        if self.get(name) == value:
            return self
        own = [item for item in self.found if item.name == name]
        if not own or own[-1].operator == "+=":
            return self.inserted(len(self.lines), [f"{name}={quoted(value)}"])
        last = own[-1]
        text = "".join(self.lines[last.first : last.last + 1])
        old = text[last.start : last.end]
        changed = text[: last.start] + quoted(value, like=old[:1]) + text[last.end :]
        return self.with_lines([*self.lines[: last.first], *split(changed), *self.lines[last.last + 1 :]])

    def without_names(self, *names: str) -> Assignments:
        """The file without any assignment of these names."""
        gone = {index for item in self.found if item.name in names for index in range(item.first, item.last + 1)}
        return self.without(gone)


def quoted(value: str, *, like: str = "") -> str:
    """`value` as a shell word, quoted as the old one was where that can be."""
    if like == "'" and "'" not in value:
        return f"'{value}'"
    if like != '"' and _PLAIN.match(value):
        return value
    return '"' + re.sub(r'([\\"`$])', r"\\\1", value) + '"'


def _read(lines: tuple[str, ...], index: int) -> Assignment | None:
    match = _START.match(lines[index])
    if match is None:
        return None
    text, last = lines[index], index
    while True:
        read = _word(text, match.end())
        if read is not None:
            break
        last += 1
        if last == len(lines) or last - index > 200:
            return None
        text += lines[last]
    value, stop = read
    rest = body(text)[stop:] if end(text) else text[stop:]
    if rest.strip() and not re.match(r"[ \t]+#|[ \t]*\r?\Z", rest):
        return None
    return Assignment(match[1], match[2], value, index, last, match.end(), stop)


def _word(text: str, start: int) -> tuple[str, int] | None:
    """The shell word at `start` and where it ends; None when a quotation is still open."""
    value: list[str] = []
    at = start
    while at < len(text):
        character = text[at]
        if character in " \t\n;#&|" or text.startswith("\r\n", at):
            break
        if character == "'":
            close = text.find("'", at + 1)
            if close < 0:
                return None
            value.append(text[at + 1 : close])
            at = close + 1
        elif character == '"':
            inner = _double(text, at + 1)
            if inner is None:
                return None
            value.append(inner[0])
            at = inner[1]
        elif character == "\\":
            if at + 1 >= len(text):
                return None
            value.append("" if text[at + 1] == "\n" else text[at + 1])
            at += 2
        else:
            value.append(character)
            at += 1
    return "".join(value), at


def _double(text: str, start: int) -> tuple[str, int] | None:
    value: list[str] = []
    at = start
    while at < len(text):
        character = text[at]
        if character == '"':
            return "".join(value), at + 1
        if character == "\\" and at + 1 < len(text) and text[at + 1] in '\\"`$\n':
            value.append("" if text[at + 1] == "\n" else text[at + 1])
            at += 2
        else:
            value.append(character)
            at += 1
    return None
