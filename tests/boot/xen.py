# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Xen with its tools, in a machine of QEMU: guests are created there by files for xl, one after the other.

    with xen.dom0(images.dom0(), {"pv": text}, [Disk(image, serial="worker.img")], log=path) as host:
        assert host.dry_run("pv").accepted
        booted = host.boot("pv", "login:")

A disk's serial number is its name in dom0: /srv/images/worker.img, and that is what a configuration names. The bridge
is xenbr0. A guest's console is what xenconsoled logs, or the file that its configuration says for its serial line; give
one under `CONSOLES` to a guest with full virtualisation.
"""

from __future__ import annotations

import contextlib
import io
import re
import tarfile
import time
import typing as t
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .console import PANICS, Booted, Console, patience
from .qemu import Disk, machine

IMAGES: t.Final = "/srv/images"
CONSOLES: t.Final = "/var/log/xen/console"
BRIDGE: t.Final = "xenbr0"

#: Three times what each takes on a quiet machine: dom0, a guest with full virtualisation, a command of xl.
_START: t.Final = 90.0
_GUEST: t.Final = 400.0
_COMMAND: t.Final = 90.0

#: Nested virtualisation as Xen and dom0 bear it: other processors crash one or the other.
_PROCESSOR: t.Final = ("-cpu", "qemu64,+svm,+npt", "-smp", "2")
_XEN: t.Final = (
    "dom0_mem=1024M,max:1024M dom0_max_vcpus=1 dom0_vcpus_pin cpuidle=off com1=115200,8n1 console=com1 loglvl=warning"
    " guest_loglvl=warning noreboot"
)
_DOM0: t.Final = "root=/dev/vda rw console=hvc0 quiet init=/sbin/dom0-init"


@dataclass(frozen=True)
class DryRun:
    """What ``xl -N create`` said of a configuration."""

    accepted: bool
    said: str


class Dom0:
    """The host; `boot` is for one guest at a time."""

    def __init__(self, console: Console, log: Path) -> None:
        self._console = console
        self._log = log

    def dry_run(self, name: str) -> DryRun:
        status, said = self._do(f"dry {name}")
        return DryRun(status == 0, said)

    def boot(self, name: str, *until: str, timeout: float = _GUEST, panics: Sequence[str] = PANICS) -> Booted:
        """Create the guest, wait until its console has all of the patterns, destroy it. Raises `BootFailed`."""
        began = time.monotonic()
        try:
            status, said = self._do(f"start {name}")
            assert status == 0, f"xl create {name}: {said}"
            text = self._console.wait(*until, timeout=patience(timeout), panics=[*panics, f"@@ gone {re.escape(name)}"])
            return Booted(text, time.monotonic() - began, self._log)
        finally:
            self._do(f"stop {name}")

    def _do(self, command: str) -> tuple[int, str]:
        """A command of dom0_init.sh: its status, and what came meanwhile. What comes later can be waited for."""
        self._console.mark()
        self._console.send(command)
        done = rf"^@@ {re.escape(command)} (\d+)$"
        text = self._console.wait(done, timeout=patience(_COMMAND), panics=[PANICS[1], PANICS[2]])
        match = re.search(done, text, re.MULTILINE)
        assert match is not None
        return int(match[1]), text[: match.start()]


@contextlib.contextmanager
def dom0(
    files: Path, configurations: Mapping[str, str], disks: Sequence[Disk], *, log: Path, memory: int = 2560
) -> Iterator[Dom0]:
    """Xen and dom0, of the directory that `images.dom0` gives, until the end of the block.

    `configurations` are texts for xl by the guests' names. 1 GiB of the `memory` (MiB) is dom0's.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    jobs = log.with_suffix(".jobs")
    _pack(jobs, configurations)
    of_dom0 = [Disk(files / "disk.img"), Disk(jobs, readonly=True)]
    start = ["-kernel", str(files / "xen"), "-append", _XEN]
    start += ["-initrd", f"{files / 'vmlinuz'} {_DOM0},{files / 'initrd'}"]
    with machine([*of_dom0, *disks], log=log, memory=memory, more=[*_PROCESSOR, *start]) as console:
        console.wait(r"^@@ dom0 ready 0$", timeout=patience(_START))
        yield Dom0(console, log)


def _pack(path: Path, configurations: Mapping[str, str]) -> None:
    """A tar archive; a multiple of a sector by itself."""
    with tarfile.open(path, "w") as archive:
        for name, text in configurations.items():
            octets = text.encode()
            member = tarfile.TarInfo(f"{name}.cfg")
            member.size = len(octets)
            archive.addfile(member, io.BytesIO(octets))
