# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""grub.cfg of grub 2, as far as needed: its entries, the kernels and initrds they load, and what is the default.

grub.cfg is a program. Its entries are read as if every condition around them held, which is so for what grub-mkconfig
writes; a line is changed only inside an entry.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from .lines import Document

_LOAD: t.Final = re.compile(r"([ \t]*)(linux|linux16|linuxefi|initrd|initrd16|initrdefi)([ \t]+)(\S+)(.*)\Z")
_MENU: t.Final = re.compile(r"[ \t]*(menuentry|submenu)[ \t]+(.*)\Z")
_TITLE: t.Final = re.compile(r"""(?:'([^']*)'|"((?:[^"\\]|\\.)*)"|(\S+))""")
_ID: t.Final = re.compile(r"""(?:--id|\$menuentry_id_option)[ \t]+(?:'([^']*)'|"([^"]*)"|(\S+))""")
_SET: t.Final = re.compile(r"""[ \t]*set[ \t]+([A-Za-z_][A-Za-z0-9_]*)=(?:"(.*)"|'(.*)'|(\S*))[ \t]*\Z""")


@dataclass(frozen=True)
class Load:
    """A command that loads a kernel or an initrd; `line` is its number, from 0."""

    command: str
    path: str
    arguments: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class MenuEntry:
    """An entry: `position` is its place in the menu and each submenu above it, as in ``1>2``."""

    title: str
    identifier: str | None
    position: str
    first: int
    last: int
    kernel: Load | None
    initrds: tuple[str, ...]
    root: str | None
    search: str | None
    modules: tuple[str, ...]

    @property
    def depth(self) -> int:
        """How many submenus the entry is in."""
        return self.position.count(">")


class GrubCfg(Document):
    """The entries of a file."""

    @property
    def entries(self) -> tuple[MenuEntry, ...]:
        """Every entry, those of submenus as well, in order."""
        return _Reader(self.bodies).entries()

    @property
    def default(self) -> str | None:
        """The default: the last that is set and is not the next boot's exception."""
        said: str | None = None
        for text in self.bodies:
            match = _SET.match(text.rstrip("\r"))
            if match is not None and match[1] == "default":
                value = match[2] or match[3] or match[4] or ""
                if "next_entry" not in value:
                    said = value
        return said

    @property
    def reads_entries(self) -> tuple[int, ...]:
        """The lines that have grub read boot loader specification entries."""
        return tuple(number for number, text in enumerate(self.bodies) if text.split()[:1] == ["blscfg"])

    def with_arguments(self, entry: MenuEntry, arguments: tuple[str, ...]) -> GrubCfg:
        """The file in which that entry's kernel has these arguments."""
        kernel = entry.kernel
        if kernel is None or kernel.arguments == arguments:
            return self
        match = t.cast("re.Match[str]", _LOAD.match(self.bodies[kernel.line]))
        return self.with_body(kernel.line, " ".join([f"{match[1]}{match[2]}{match[3]}{match[4]}", *arguments]))


class _Reader:
    def __init__(self, bodies: tuple[str, ...]) -> None:
        self._bodies = bodies
        self._found: list[MenuEntry] = []
        self._counts = [0]
        self._submenus: list[int] = []
        self._level = 0

    def entries(self) -> tuple[MenuEntry, ...]:
        function: int | None = None
        start: tuple[int, str] | None = None
        for number, text in enumerate(self._bodies):
            plain = text.strip()
            if not plain or plain.startswith("#"):
                continue
            opens = _MENU.match(text.rstrip("\r ")) if start is None and function is None else None
            if plain.startswith("function ") and start is None:
                function = self._level
            if opens is not None and opens[1] == "menuentry":
                start = (number, opens[2])
                inside = self._level
            elif opens is not None:
                self._submenus.append(self._level)
                self._counts.append(0)
            self._level += _braces(plain)
            if function is not None and self._level <= function:
                function = None
            if start is not None and self._level <= inside:
                self._add(start, number)
                start = None
            elif self._submenus and start is None and self._level <= self._submenus[-1]:
                self._submenus.pop()
                self._counts.pop()
                self._counts[-1] += 1
        return tuple(self._found)

    def _add(self, start: tuple[int, str], last: int) -> None:
        first, head = start
        position = ">".join(map(str, self._counts))
        self._counts[-1] += 1
        title, identifier = _TITLE.match(head), _ID.search(head)
        inner = self._bodies[first + 1 : last]
        loads = [load for index, text in enumerate(inner) if (load := _load(text, first + 1 + index)) is not None]
        words = [text.split() for text in inner]
        self._found.append(
            MenuEntry(
                title=_group(title),
                identifier=_group(identifier) if identifier is not None else None,
                position=position,
                first=first,
                last=last,
                kernel=next((load for load in loads if load.command.startswith("linux")), None),
                initrds=tuple(
                    path for load in loads if load.command.startswith("initrd") for path in (load.path, *load.arguments)
                ),
                root=next((_value(text, "root") for text in reversed(inner) if _value(text, "root")), None),
                search=next((line[-1] for line in words if line[:1] == ["search"]), None),
                modules=tuple(line[0] for line in words if line and line[0].startswith(("multiboot", "module"))),
            )
        )


def _load(text: str, number: int) -> Load | None:
    match = _LOAD.match(text.rstrip("\r"))
    return None if match is None else Load(match[2], match[4], tuple(match[5].split()), number)


def _value(text: str, name: str) -> str | None:
    match = _SET.match(text.rstrip("\r"))
    return (match[2] or match[3] or match[4]) if match is not None and match[1] == name else None


def _group(match: re.Match[str] | None) -> str:
    return "" if match is None else next((group for group in match.groups() if group is not None), "")


def _braces(text: str) -> int:
    """How much deeper the text ends than it begins: braces that stand alone, outside of quotation marks."""
    bare = re.sub(r"""'[^']*'|"(?:[^"\\]|\\.)*"|\$\{[^}]*\}""", "", text)
    return bare.count("{") - bare.count("}")
