# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a system names its disks: by what is on them, which holds everywhere, or by where they are attached."""

from __future__ import annotations

import re
import typing as t

_ATTACHED: t.Final = re.compile(r"/dev/((?:[hsv]d|xvd)[a-z])[0-9]*")


def root_of(arguments: t.Sequence[str]) -> str | None:
    """What the kernel's arguments name as the root."""
    named = [word[5:] for word in arguments if word.startswith("root=")]
    return named[-1].strip("\"'") if named else None


def depends_on_the_hypervisor(source: str) -> bool:
    """Whether this name of a disk is another one under another hypervisor."""
    return disk_of(source) is not None


def disk_of(source: str) -> str | None:
    """The disk that a name such as /dev/vda2 is of: vda; None for other names."""
    match = _ATTACHED.fullmatch(source)
    return None if match is None else match[1]


def consoles_of(arguments: t.Sequence[str]) -> tuple[str, ...]:
    """The consoles that the kernel's arguments name, the last of which is /dev/console."""
    named = [word[8:].split(",")[0] for word in arguments if word.startswith("console=")]
    return tuple(dict.fromkeys(named[::-1]))[::-1]
