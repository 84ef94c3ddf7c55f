# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel's arguments that a system needs to boot under every hypervisor."""

from __future__ import annotations

import typing as t

from ...boot.conditions import has_noprobe
from ...boot.devices import depends_on_the_hypervisor
from ...boot.kernels import Kernel
from ...boot.survey import Disk
from ...boot.system import System
from ..configuration.disks import lasting_name
from ..wishes import Wishes, is_of_today

_NAMES: t.Final = ("net.ifnames=0", "biosdevname=0")
_NOPROBE: t.Final = ("ide0=noprobe", "ide1=noprobe")


def adapted(
    arguments: t.Sequence[str], *, kernel: Kernel | None, system: System, disk: Disk | None, wishes: Wishes
) -> tuple[str, ...]:
    """The arguments with disks by label, the consoles and, where it needs them, the names of interfaces and no IDE."""
    words = [_by_label(word, disk) for word in arguments]
    if kernel is None or kernel.is_xen_only:
        return tuple(words)
    if not is_of_today(kernel):
        return tuple(_without_ide(words, wishes))
    return settled(words, system=system, wishes=wishes)


def settled(words: t.Sequence[str], *, system: System, wishes: Wishes) -> tuple[str, ...]:
    """The arguments of a kernel of today: also those that its updates are given."""
    found = list(words)
    wanted = [f"console={name}" for name in wishes.consoles]
    if wanted and [word for word in found if word.startswith("console=")] != wanted:
        found = [word for word in found if not word.startswith("console=")] + wanted
    if not wishes.predictable_names and system.init == "systemd":
        found += [word for word in _NAMES if word not in found]
    return tuple(found)


def why_adapted(before: t.Sequence[str], after: t.Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The requirements that the change is for."""
    gone, new = set(before) - set(after), set(after) - set(before)
    reasons = []
    if any(depends_on_the_hypervisor(word.split("=", 1)[-1]) for word in gone):
        reasons.append(("A02", "The root has another name under another hypervisor."))
    if any(word.startswith("console=") for word in gone | new) or (
        [word for word in before if word.startswith("console=")]
        != [word for word in after if word.startswith("console=")]
    ):
        reasons.append(("A15", "The consoles of every hypervisor are named, the one of Xen last."))
    if new & set(_NAMES):
        reasons.append(("A03", "The interface has another name under another hypervisor."))
    if new & set(_NOPROBE):
        reasons.append(("A10", "Under full virtualisation by Xen the emulated disk is the paravirtualised one."))
    return tuple(reasons)


def _by_label(word: str, disk: Disk | None) -> str:
    key, equals, value = word.partition("=")
    if key in ("root", "resume") and equals and depends_on_the_hypervisor(value):
        return f"{key}={lasting_name(value, disk) or value}"
    return word


def _without_ide(words: list[str], wishes: Wishes) -> list[str]:
    wanted = wishes.ide_noprobe == "always" or (wishes.ide_noprobe == "auto" and "xen_hvm" in wishes.modes)
    if wanted and not has_noprobe(words):
        return [*words, *_NOPROBE]
    if not wanted and wishes.ide_noprobe == "never":
        return [word for word in words if word not in _NOPROBE]
    return words
