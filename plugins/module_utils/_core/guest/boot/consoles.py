# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which terminals somebody can log in, and where the kernel writes."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ..formats.inittab import Inittab
from ..formats.words import Words
from ..root.tree import Root
from .system import System

_UNIT: t.Final = re.compile(r"(?:serial-)?getty@([A-Za-z0-9]+)\.service\Z")
_TERMINAL: t.Final = re.compile(r"\b(?:tty|hvc|xvc)[A-Za-z0-9]*")


@dataclass(frozen=True)
class Consoles:
    """`gettys`: terminals with a login; `automatic`: each console of the kernel gets one; `secure`: where root may."""

    gettys: tuple[str, ...]
    automatic: bool
    secure: tuple[str, ...] | None

    def serves(self, terminal: str) -> bool:
        """Whether there is a login on a terminal that is a console of the kernel."""
        return self.automatic or terminal in self.gettys

    def lets_root_in(self, terminal: str) -> bool:
        """Whether root may log in there."""
        return self.secure is None or terminal in self.secure

    def as_dict(self) -> dict[str, t.Any]:
        secure = None if self.secure is None else list(self.secure)
        return {"gettys": list(self.gettys), "automatic": self.automatic, "securetty": secure}


def read_consoles(root: Root, system: System) -> Consoles:
    """The terminals of the system. Raises `GuestError`."""
    secure = root.read("/etc/securetty")
    words = None if secure is None else Words.parse(secure).words
    if system.init == "systemd":
        enabled = root.names("/etc/systemd/system/getty.target.wants")
        units = [match[1] for name in enabled if (match := _UNIT.match(name)) is not None]
        return Consoles(tuple(units), True, words)
    if system.init == "upstart":
        texts = [root.text(f"/etc/init/{name}") or "" for name in root.names("/etc/init") if name.endswith(".conf")]
        found = [terminal for text in texts for terminal in _started(text)]
        return Consoles(tuple(dict.fromkeys(found)), root.is_file("/etc/init/serial.conf"), words)
    inittab = Inittab.parse(root.read("/etc/inittab") or b"")
    return Consoles(inittab.terminals, False, words)


def _started(text: str) -> t.Iterator[str]:
    """The terminals for which a job of upstart starts a getty."""
    for row in text.split("\n"):
        words = row.split()
        program, *arguments = words[1:] if words[:1] == ["exec"] and len(words) > 1 else words or [""]
        if program.endswith("getty"):
            found = (_TERMINAL.search(word) for word in arguments)
            yield from [match[0] for match in found if match is not None][:1]
