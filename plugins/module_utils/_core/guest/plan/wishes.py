# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the builder wants of a system, and the notes of what it cannot have."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..boot.kernels import Kernel
from ..boot.survey import Survey

#: What a desktop needs and a node does not (book, chapter 3), and kudzu, which asks about new hardware.
SERVICES = ("bluetooth", "cups", "firstboot", "gpm", "ip6tables", "isdn", "kudzu", "pcscd")
FIREWALLS = ("iptables", "ip6tables", "firewalld", "nftables", "ufw")


@dataclass(frozen=True)
class Wishes:
    """The options of image_boot; `modes` are those of the matrix."""

    modes: tuple[str, ...] = ("kvm", "xen_hvm", "xen_para")
    kernel: str | None = None
    xen_kernel: str | None = None
    consoles: tuple[str, ...] = ("ttyS0,115200", "hvc0")
    inittab_ttys: str = "keep_first"
    console_guard: bool = False
    ide_noprobe: str = "auto"
    predictable_names: bool = False
    services_off: tuple[str, ...] = SERVICES
    firewall: str = "keep"
    selinux: str = "keep"
    identity: t.Mapping[str, str] | None = None

    def wants_xen(self) -> bool:
        """Whether any mode of Xen is wanted."""
        return any(mode.startswith("xen_") for mode in self.modes)


@dataclass(frozen=True)
class Kernels:
    """The kernel that is the default entry, and the one for xen_para where the first cannot run so."""

    main: Kernel | None
    xen: Kernel | None


@dataclass(frozen=True)
class Note:
    """What a requirement still lacks and no plan can give: a person has to."""

    requirement: str
    text: str

    def as_dict(self) -> dict[str, str]:
        return {"requirement": self.requirement, "text": self.text}


def choose_kernels(survey: Survey, wishes: Wishes) -> tuple[Kernels, list[Note]]:
    """The newest kernels of their kinds, or those that are wished for by version."""
    with_image = [kernel for kernel in survey.kernels if kernel.image is not None]
    notes: list[Note] = []
    main = _chosen([item for item in with_image if not item.is_xen_only], wishes.kernel, notes)
    xen = _chosen([item for item in with_image if item.is_xen_only], wishes.xen_kernel, notes)
    if main is None:
        notes.append(Note("A14", "There is no kernel in /boot for KVM and full virtualisation."))
    elif "xen_para" in wishes.modes and xen is None and not runs_paravirtualised(main):
        why = f"Neither kernel {main.version} nor another runs paravirtualised: install one that does (kernel-xen)."
        notes.append(Note("A11", why))
    return Kernels(main, xen if "xen_para" in wishes.modes else None), notes


def runs_paravirtualised(kernel: Kernel) -> bool:
    """Whether one kernel is enough for xen_para, too."""
    if "XEN_PV" in kernel.options:
        return kernel.has("XEN_PV") is True
    return kernel.has("XEN") is True and kernel.number < (4, 12)


def is_of_today(kernel: Kernel) -> bool:
    """A kernel that finds by itself under which hypervisor it runs; EL5's do not."""
    # dracut names the kernel for rescue after no version; it came with systems of after that time.
    return not kernel.is_xen_only and (kernel.number >= (2, 6, 32) or kernel.version.startswith("0-rescue-"))


def _chosen(kernels: list[Kernel], version: str | None, notes: list[Note]) -> Kernel | None:
    if version is None:
        return kernels[0] if kernels else None
    found = next((kernel for kernel in kernels if kernel.version == version), None)
    if found is None:
        there = ", ".join(kernel.version for kernel in kernels) or "none"
        notes.append(Note("A14", f"Kernel {version} is not in /boot; those that are: {there}."))
    return found
