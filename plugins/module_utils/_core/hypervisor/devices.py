# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the disks of a machine are attached: the same names in every output, and found by the guest.

Emulated IDE disks are invisible to a system that is told ide0=noprobe; Xen refuses a read-only IDE disk that is no
CD-ROM, and gives only the first four disks an emulated twin.
"""

from __future__ import annotations

import string
import typing as t
from dataclasses import dataclass

from ..errors import HypervisorError
from .machine import PARAVIRTUAL, QEMU_MODES, Context, Machine, Volume

_BUSES: t.Final = {"vd": "virtio", "hd": "ide", "sd": "sata", "xvd": "xen"}
_IDE_CDROMS: t.Final = ("hdc", "hdd")


@dataclass(frozen=True)
class Attachment:
    """A disk at its place: `target` as in vda, `bus` as libvirt calls it."""

    volume: Volume
    target: str
    bus: str
    is_cdrom: bool
    is_readonly: bool


def attachments(machine: Machine) -> tuple[Attachment, ...]:
    """The machine's own disk, then its context ISOs in order.

    Raises `HypervisorError`: ``disk_place_refused``.
    """
    _check_first(machine)
    first = Attachment(machine.volume, machine.target, bus_of(machine.target), False, False)
    taken = [machine.target]
    placed = [first]
    for context in machine.contexts:
        target, is_cdrom = _place(machine, context, taken)
        taken.append(target)
        placed.append(Attachment(Volume(context.path, "raw"), target, bus_of(target), is_cdrom, True))
    return tuple(placed)


def bus_of(target: str) -> str:
    """The bus of a name such as vda or hdc."""
    return _BUSES[target[:-1]]


def _check_first(machine: Machine) -> None:
    target, mode = machine.target, machine.mode
    kind = target[:-1]
    if kind == "hd" and machine.boot.has_noprobe and mode not in PARAVIRTUAL:
        raise _refused(machine, target, "the image's kernel is told ide0=noprobe and would not see an IDE disk")
    if kind == "hd" and machine.board == "q35":
        raise _refused(machine, target, "the machine q35 has no IDE")
    allowed = {"kvm": ("vd", "hd", "sd"), "qemu": ("vd", "hd", "sd"), "xen_hvm": ("xvd", "hd")}.get(mode, ("xvd",))
    if kind not in allowed:
        raise _refused(machine, target, f"in mode {mode} there is no such disk")
    if mode in QEMU_MODES and machine.boot.is_root_by_device and target != machine.boot.disk:
        raise _refused(machine, target, f"the image looks for its root on {machine.boot.disk} by that name")


def _place(machine: Machine, context: Context, taken: t.Sequence[str]) -> tuple[str, bool]:
    """Where a context ISO goes, and whether it is a CD-ROM there."""
    if machine.mode in QEMU_MODES:
        return _place_in_qemu(machine, context, taken)
    if machine.mode in PARAVIRTUAL:
        if context.attach == "cdrom":
            raise _refused(machine, context.path, f"in mode {machine.mode} there is no CD-ROM drive")
        return _free(machine, "xvd", "b", taken), False
    if context.attach == "cdrom" and machine.boot.has_noprobe:
        raise _refused(machine, context.path, "the image's kernel is told ide0=noprobe and would not see an IDE CD-ROM")
    if context.attach != "disk" and not machine.boot.has_noprobe:
        free = [name for name in _IDE_CDROMS if name not in taken]
        if free:
            return free[0], True
        if context.attach == "cdrom":
            raise _refused(machine, context.path, "there are two CD-ROM drives only")
    return _free(machine, "xvd", "e", taken), False


def _place_in_qemu(machine: Machine, context: Context, taken: t.Sequence[str]) -> tuple[str, bool]:
    if context.attach != "cdrom":
        return _free(machine, "vd", "a" if machine.target[:-1] != "vd" else "b", taken), False
    if machine.board == "q35":
        return _free(machine, "sd", "a", taken), True
    if machine.boot.has_noprobe:
        raise _refused(machine, context.path, "the image's kernel is told ide0=noprobe and would not see an IDE CD-ROM")
    free = [name for name in _IDE_CDROMS if name not in taken]
    if not free:
        raise _refused(machine, context.path, "there are two CD-ROM drives only")
    return free[0], True


def _free(machine: Machine, kind: str, first: str, taken: t.Sequence[str]) -> str:
    letters = string.ascii_lowercase[string.ascii_lowercase.index(first) :]
    for letter in letters:
        if kind + letter not in taken:
            return kind + letter
    raise _refused(machine, f"{kind}z", "there are no more names for disks")


def _refused(machine: Machine, what: str, why: str) -> HypervisorError:
    return HypervisorError(
        "disk_place_refused", f"{machine.name}: {what}: {why}", mode=machine.mode, noprobe=machine.boot.has_noprobe
    )
