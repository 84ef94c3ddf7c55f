# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of QEMU, always emulated: /dev/kvm may be there and hang.

with qemu.machine([Disk(image), Disk(iso, bus="ide", cdrom=True)], log=path) as console:
    console.wait("login:", timeout=300)

booted = qemu.boot([Disk(image, bus="ide")], "login:", log=path)
"""

from __future__ import annotations

import contextlib
import time
import typing as t
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .console import Booted, Console, patience, running

#: Three times what a boot takes on a quiet machine.
_BOOT: t.Final = 150.0
_DEVICES: t.Final = {"virtio": "virtio-blk-pci", "ide": "ide-hd", "scsi": "scsi-hd"}
_CDROMS: t.Final = {"ide": "ide-cd", "scsi": "scsi-cd"}


@dataclass(frozen=True)
class Disk:
    """A raw file at a place of the machine: `bus` is virtio, ide or scsi (virtio's).

    What the guest writes is lost, unless `writable`; a CD-ROM, or a disk that is `readonly`, cannot be written at all.
    """

    path: Path
    bus: str = "virtio"
    cdrom: bool = False
    writable: bool = False
    readonly: bool = False
    serial: str = ""

    def options(self, number: int) -> list[str]:
        access = "snapshot=off" if self.writable else "snapshot=on"
        if self.cdrom or self.readonly:
            access = "readonly=on"
        device = _CDROMS[self.bus] if self.cdrom else _DEVICES[self.bus]
        serial = f",serial={self.serial}" if self.serial else ""
        path = str(self.path).replace(",", ",,")
        return [
            "-drive",
            f"file={path},format=raw,if=none,id=disk{number},{access}",
            "-device",
            f"{device},drive=disk{number},bootindex={number + 1}{serial}",
        ]


@contextlib.contextmanager
def machine(
    disks: Sequence[Disk], *, log: Path, memory: int = 512, network: bool = False, more: Sequence[str] = ()
) -> Iterator[Console]:
    """A machine that boots from the first of the disks, its first serial line on the console; killed at the end.

    `memory` in MiB; `network`: a virtio card behind QEMU's own router, which reaches nothing but what QEMU offers.
    """
    command = ["qemu-system-x86_64", "-accel", "tcg", "-m", str(memory), "-nographic", "-no-reboot"]
    command += ["-monitor", "none", "-serial", "stdio"]
    command += ["-netdev", "user,id=net,restrict=on"] if network else ["-nic", "none"]
    command += ["-device", "virtio-net-pci,netdev=net,romfile="] if network else []
    if any(disk.bus == "scsi" for disk in disks):
        command += ["-device", "virtio-scsi-pci"]
    for number, disk in enumerate(disks):
        command += disk.options(number)
    with running([*command, *more], log) as console:
        yield console


def boot(disks: Sequence[Disk], *until: str, log: Path, timeout: float = _BOOT, **options: t.Any) -> Booted:
    """Boot until all of the patterns have appeared. Raises `BootFailed`; the options are those of `machine`.

    `timeout` is for a quiet machine, and longer on one with more to do.
    """
    began = time.monotonic()
    with machine(disks, log=log, **options) as console:
        text = console.wait(*until, timeout=patience(timeout))
    return Booted(text, time.monotonic() - began, log)
