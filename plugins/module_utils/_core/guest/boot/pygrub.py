# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A boot loader's configuration as pygrub reads it, which is not how grub does.

pygrub (of Xen 4.17 and before) looks at file systems in the order of the partition table, takes the first of its list
of files that is there, and reads it by rules of its own: it knows neither boot loader specification entries nor
multiboot, nor the modules that a hypervisor would load; ``saved`` means the first entry.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

#: Where pygrub looks, in this order, and in what form it expects each.
PLACES: t.Final = (
    ("/boot/grub/grub.cfg", "grub2"),
    ("/grub/grub.cfg", "grub2"),
    ("/boot/grub2/grub.cfg", "grub2"),
    ("/grub2/grub.cfg", "grub2"),
    ("/boot/isolinux/isolinux.cfg", "extlinux"),
    ("/boot/extlinux/extlinux.conf", "extlinux"),
    ("/boot/extlinux.conf", "extlinux"),
    ("/extlinux/extlinux.conf", "extlinux"),
    ("/extlinux.conf", "extlinux"),
    ("/boot/grub/menu.lst", "grub"),
    ("/boot/grub/grub.conf", "grub"),
    ("/grub/menu.lst", "grub"),
    ("/grub/grub.conf", "grub"),
)

_MENUENTRY: t.Final = re.compile(r"menuentry [\"'](.*?)[\"'] (.*){")
_COMMANDS: t.Final = {
    "grub": {"kernel": "kernel", "initrd": "initrd", "root": "root", "rootnoverify": "root"},
    "grub2": {"linux": "kernel", "linux16": "kernel", "initrd": "initrd", "initrd16": "initrd", "set:root": "root"},
}


@dataclass(frozen=True)
class Image:
    """An entry as pygrub has it: ``--entry`` takes its place in the list."""

    title: str
    kernel: str | None
    arguments: str
    initrd: str | None


@dataclass(frozen=True)
class Menu:
    """The entries, and the index of the default; `error`: why pygrub would give up."""

    images: tuple[Image, ...]
    default: int
    error: str | None = None


def read_menu(text: str, form: str) -> Menu:
    """The menu in `text`, which is of the form grub or grub2."""
    reader = _Reader(form)
    try:
        for line in text.split("\n"):
            plain = line.strip()
            if plain and not plain.startswith("#"):
                reader.take(plain)
        reader.end()
    except ValueError as error:
        return Menu((), 0, str(error))
    images = tuple(reader.images)
    return Menu(images, _default(reader.default, images))


class _Reader:
    def __init__(self, form: str) -> None:
        self.images: list[Image] = []
        self.default = "0"
        self._form = form
        self._title = ""
        self._lines: list[str] | None = None
        self._submenus = 0
        self._in_function = False

    def take(self, line: str) -> None:
        if self._form == "grub":
            self._take_grub(line)
        else:
            self._take_grub2(line)

    def end(self) -> None:
        if self._form == "grub2" and self._lines is not None:
            raise ValueError("the file ends inside an entry")
        if self._lines:
            self._add()

    def _take_grub(self, line: str) -> None:
        if line.startswith("title"):
            if self._lines is not None:
                self._add()
            self._lines, self._title = [], line[6:]
        elif self._lines is not None:
            self._lines.append(line)
        else:
            command, argument = _pair(line)
            if command == "default":
                self._set_default(argument.strip())
            elif command == "splashimage":
                _path(argument.strip())

    def _take_grub2(self, line: str) -> None:
        if line.startswith("function"):
            self._in_function = True
            return
        if self._in_function:
            self._in_function = not line.startswith("}")
            return
        match = _MENUENTRY.match(line)
        if match is not None:
            if self._lines is not None:
                raise ValueError("an entry begins inside another")
            self._lines, self._title = [], match[1]
        elif line.startswith("submenu"):
            self._submenus += 1
        elif line.startswith("}"):
            self._close()
        elif self._lines is not None:
            self._lines.append(line)
        else:
            command, argument = _pair(line)
            if command == "set" and self._form == "grub2":
                name, value = _setting(argument)
                if name == "default":
                    value = value.strip()
                    self._set_default("0" if value in ("${saved_entry}", "${next_entry}") else value)

    def _close(self) -> None:
        if self._lines is not None:
            self._add()
            self._lines = None
        elif self._submenus > 0:
            self._submenus -= 1
        else:
            raise ValueError("a brace closes what was not opened")

    def _set_default(self, value: str) -> None:
        try:
            number = 0 if value == "saved" else int(value)
        except ValueError:
            number = 0
        if number < 0:
            raise ValueError("the default is negative")
        self.default = str(number)

    def _add(self) -> None:
        kernel, arguments, initrd = None, "", None
        for line in self._lines or []:
            command, argument = _pair(line)
            argument = argument.strip()
            if command == "set" and self._form == "grub2":
                name, argument = _setting(argument)
                command, argument = f"set:{name}", argument.strip()
            meaning = _COMMANDS[self._form].get(command)
            if meaning == "kernel":
                words = argument.split(None, 1) if " " in argument else [argument]
                kernel, arguments = _path(words[0]), words[1] if len(words) > 1 else ""
            elif meaning == "initrd":
                initrd = _path(argument)
            elif meaning == "root":
                _check_device(argument)
        self.images.append(Image(self._title.strip(), kernel, arguments, initrd))


def _split(line: str, most: int) -> list[str]:
    """The parts between equals signs or between white space, whichever comes first."""
    equals = line.find("=")
    spaces = [at for at in (line.find(" "), line.find("\t")) if at >= 0]
    if equals >= 0 and (not spaces or equals < min(spaces)):
        return line.split("=", most)
    return line.split(None, most)


def _pair(line: str) -> tuple[str, str]:
    """A command and what follows it."""
    parts = _split(line, 1)
    return parts[0], parts[1] if len(parts) > 1 else ""


def _setting(argument: str) -> tuple[str, str]:
    """A variable and its value; a second equals sign is more than pygrub can read."""
    parts = _split(argument, 2)
    if len(parts) != 2:
        raise ValueError(f"it cannot read: set {argument}")
    match = re.match("([\"'])(.*)\\1", parts[1])
    return parts[0], match[2] if match is not None else parts[1]


def _path(word: str) -> str:
    """The path without the device that grub would take it from."""
    if not word.startswith("("):
        return word
    device, bracket, path = word.partition(")")
    if not bracket:
        raise ValueError("a bracket is not closed")
    _check_device(device)
    return path


def _check_device(text: str) -> None:
    """pygrub gives the whole file up for a device whose numbers it cannot read."""
    disk, comma, part = text.partition(",")
    if "," in part:
        raise ValueError(f"{text} is no device")
    plain = disk.replace("(", "").replace(")", "")
    if plain.startswith("/dev/xvd"):
        if len(plain) < 9:
            raise ValueError(f"{text} is no device")
    else:
        int(plain[2:])
    if comma:
        number = part.replace("(", "").replace(")", "")
        number = number[5:] if number.startswith("msdos") else number
        int(number[3:] if number.startswith("gpt") else number)


def _default(value: str, images: tuple[Image, ...]) -> int:
    number = int(value)
    return number if number < len(images) else 0
