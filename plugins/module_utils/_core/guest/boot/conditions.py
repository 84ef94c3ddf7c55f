# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be true of a boot entry for each mode, one condition a function: it adds what is not to the findings."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..disk.naming import find, tag_of
from ..initrd.contents import Initrd
from .devices import consoles_of, depends_on_the_hypervisor, disk_of, root_of
from .drivers import Drivers
from .kernels import Kernel
from .survey import Survey

#: Since then a guest of the second kind of PVH boots, which is the only one that Xen has left.
_PVH_SINCE: t.Final = (4, 11)
_UNPLUGS_SINCE: t.Final = (2, 6, 36)
_NEEDED: t.Final = ("/", "/boot", "/usr", "/var")

#: The requirement that is not met, and how.
Findings = list[tuple[str, str]]


@dataclass(frozen=True)
class Start:
    """What a boot loader starts: paths in the tree, and the kernel's arguments."""

    index: int
    title: str
    kernel: str | None
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    hypervisor: bool = False
    device: str | None = None


# the kernel and its initrd


def find_kernel(survey: Survey, start: Start, reasons: Findings) -> Kernel | None:
    """The kernel that is started, if that is what the entry does."""
    if start.hypervisor or (start.kernel or "").rsplit("/", 1)[-1].startswith("xen"):
        reasons.append(("A13", "The entry starts a hypervisor, not the system's kernel."))
        return None
    if start.kernel is None:
        reasons.append(("A10", "The entry loads no kernel."))
        return None
    if start.kernel not in survey.images:
        problem = survey.problem_of(start.kernel)
        reasons.append(("A10", f"{start.kernel} is not there." if problem is None else problem.detail))
        return None
    kernel = survey.kernel_of(start.kernel)
    if kernel is None:
        reasons.append(("A10", f"{start.kernel} is none of the kernels in /boot."))
    return kernel


def find_initrd(survey: Survey, start: Start, kernel: Kernel | None, reasons: Findings) -> tuple[Initrd | None, bool]:
    """The initrd that has modules, if there are several; and whether all of them could be read."""
    read: list[Initrd] = []
    for path in start.initrds:
        initrd = survey.initrds.get(path)
        if initrd is None:
            problem = survey.problem_of(path)
            reasons.append(("A12", f"{path} is not there." if problem is None else problem.detail))
        else:
            read.append(initrd)
    found = max(read, key=lambda initrd: len(initrd.modules), default=None)
    if found is not None and kernel is not None and found.kernels and kernel.version not in found.kernels:
        reasons.append(("A12", f"{found.path} is for kernel {', '.join(found.kernels)}, not {kernel.version}."))
    return found, len(read) == len(start.initrds)


def check_kernel(mode: str, kernel: Kernel, reasons: Findings) -> None:
    """The kernel is built for the mode."""
    if mode in ("kvm", "xen_hvm"):
        if kernel.is_xen_only:
            reasons.append(("A14", f"Kernel {kernel.version} runs paravirtualised under Xen only."))
        return
    if mode == "xen_para" and kernel.is_xen_only:
        return
    name = "XEN_PV" if mode == "xen_para" else "XEN_PVH"
    configured = kernel.has(name)
    if mode == "xen_para" and configured is False and "XEN_PV" not in kernel.options and kernel.number < (4, 12):
        configured = kernel.has("XEN")
    if configured is None:
        reasons.append(
            ("A11", f"Whether kernel {kernel.version} has {name} cannot be told: its configuration is missing.")
        )
    elif not configured:
        reasons.append(("A11", f"Kernel {kernel.version} is built without {name}."))
    elif mode == "xen_pvh" and kernel.number[:2] < _PVH_SINCE:
        reasons.append(("A11", f"Kernel {kernel.version} is too old for PVH, which is there since 4.11."))


# the disk


def check_disk(mode: str, drivers: Drivers, start: Start, reasons: Findings) -> None:
    """The drivers of the mode's disk are at hand before the root is mounted."""
    if mode == "kvm":
        _need(drivers, ("virtio_pci", "virtio_blk"), "A09", reasons)
        _order(drivers, ("virtio_ring", "virtio", "virtio_pci", "virtio_blk"), reasons)
    elif mode == "xen_hvm":
        _hvm_disk(drivers, start, reasons)
    elif drivers.kernel.is_xen_only:
        _need(drivers, ("xenblk",), "A12", reasons)
    else:
        _need(drivers, ("xen_blkfront",), "A12", reasons)


def _hvm_disk(drivers: Drivers, start: Start, reasons: Findings) -> None:
    kernel = drivers.kernel
    if kernel.is_xen_only:
        return
    if kernel.number < _UNPLUGS_SINCE and kernel.has("XEN_PVHVM") is not True:
        _old_hvm_disk(drivers, start, reasons)
        return
    stays = any(word in ("xen_emul_unplug=never", "xen_nopv", "nopv") for word in start.arguments)
    if kernel.has("XEN_PVHVM") and kernel.has("XEN_BLKDEV_FRONTEND") and not stays:
        # The kernel unplugs the emulated disk whether or not the driver of the other is at hand.
        _need(drivers, ("xen_blkfront",), "A09", reasons)
    elif kernel.has("XEN_PVHVM") is None:
        why = f"How kernel {kernel.version} finds its disk cannot be told: its configuration is missing."
        reasons.append(("A09", why))
    else:
        _need(drivers, ("ata_piix",), "A09", reasons)


def _old_hvm_disk(drivers: Drivers, start: Start, reasons: Findings) -> None:
    """EL5: the emulated and the paravirtualised disk are the same one, and both are seen unless IDE is not probed."""
    paravirtualised = drivers.has("xen_vbd")
    if has_noprobe(start.arguments):
        _need(drivers, ("xen_platform_pci", "xen_balloon", "xen_vbd"), "A09", reasons)
        _order(drivers, ("xen_platform_pci", "xen_vbd"), reasons)
    elif paravirtualised:
        reasons.append(
            ("A10", "Without ide0=noprobe ide1=noprobe the disk is seen twice, emulated and paravirtualised.")
        )
    elif not drivers.has("piix") and not drivers.has("ata_piix"):
        reasons.append(("A09", f"{_where(drivers)} has no driver of the disk: neither xen_vbd nor piix."))


def _need(drivers: Drivers, names: tuple[str, ...], requirement: str, reasons: Findings) -> None:
    lacks = drivers.lacks(*names)
    if lacks:
        reasons.append((requirement, f"{_where(drivers)} lacks {', '.join(lacks)}."))


def _order(drivers: Drivers, names: tuple[str, ...], reasons: Findings) -> None:
    pair = drivers.misordered(*names)
    if pair is not None:
        reasons.append(("A09", f"{_where(drivers)} loads {pair[1]} before {pair[0]}, which it needs."))


def _where(drivers: Drivers) -> str:
    kernel = f"Kernel {drivers.kernel.version}"
    return f"{kernel} without an initrd" if drivers.initrd is None else f"{drivers.initrd.path}"


def check_file_system(survey: Survey, drivers: Drivers, reasons: Findings) -> None:
    """The driver of the root's file system is at hand."""
    mount = survey.fstab.of("/")
    partition = survey.disk.partition_of("/") if survey.disk is not None else None
    kind = partition.filesystem.kind if partition is not None and partition.filesystem is not None else None
    kind = kind or (mount.kind if mount is not None else None)
    serving = {
        "ext2": ("ext2", "ext4"),
        "ext3": ("ext3", "ext4"),
        "ext4": ("ext4",),
        "xfs": ("xfs",),
        "btrfs": ("btrfs",),
    }
    if kind in serving and not any(drivers.has(name) for name in serving[kind]):
        reasons.append(("A09", f"{_where(drivers)} lacks {' and '.join(serving[kind])}, the file system of the root."))


# names of disks


def check_root(survey: Survey, start: Start, disk: str, reasons: Findings, warnings: Findings) -> None:
    """The root and what else the system needs are found by what is on them, or by names that the mode has."""
    root = root_of(start.arguments)
    if root is None:
        reasons.append(("A02", "The kernel's arguments name no root."))
    elif depends_on_the_hypervisor(root):
        found = warnings if disk_of(root) == disk else reasons
        found.append(("A02", f"The root is {root}, which has another name under another hypervisor."))
    else:
        _named(survey, root, "the root", reasons)
    for mount in survey.fstab.mounts:
        if depends_on_the_hypervisor(mount.source):
            fatal = mount.target in _NEEDED and disk_of(mount.source) != disk
            found = reasons if fatal else warnings
            found.append(("A02", f"/etc/fstab: {mount.source} has another name under another hypervisor."))
        elif mount.target in _NEEDED and mount.target != "/":
            _named(survey, mount.source, mount.target, reasons)


def _named(survey: Survey, source: str, what: str, reasons: Findings) -> None:
    """A label or UUID, of a file system or of a partition, is that of exactly one of the disk."""
    tag = tag_of(source)
    if survey.disk is None or tag is None:
        return
    count = len(find(survey.disk.layout, tag))
    if count != 1:
        kind = "partition" if tag[0].startswith("PART") else "file system"
        many = f"No {kind}" if count == 0 else f"More than one {kind}"
        reasons.append(("A02", f"{many} of the image is {source}, {what}."))


def disk_name(mode: str, kernel: Kernel | None, arguments: t.Sequence[str]) -> str:
    """What the kernel calls the first disk in that mode."""
    if mode == "kvm":
        return "vda"
    if mode == "xen_hvm" and kernel is not None and not unplugs(kernel) and not has_noprobe(arguments):
        return "sda" if kernel.number >= _UNPLUGS_SINCE else "hda"
    return "xvda"


def unplugs(kernel: Kernel) -> bool:
    """Whether the kernel, in a guest with full virtualisation, takes the paravirtualised disk for the emulated one."""
    return kernel.has("XEN_PVHVM") is not False and (kernel.has("XEN_PVHVM") or kernel.number >= _UNPLUGS_SINCE)


def has_noprobe(arguments: t.Sequence[str]) -> bool:
    """Whether the kernel is told to leave the emulated IDE disks alone."""
    return any(word.startswith("ide") and word.endswith("=noprobe") for word in arguments)


def check_boot_sector(survey: Survey, start: Start, reasons: Findings) -> None:
    """A BIOS finds GRUB, and GRUB the kernel."""
    disk = survey.disk
    if disk is None:
        return
    if not disk.boots:
        reasons.append(("A10", "A BIOS finds no GRUB in the first sector of the disk, nor of its active partition."))
    holder = disk.partition_of("/boot") or disk.partition_of("/")
    if start.device is not None and survey.loader.kind == "grub" and holder is not None and disk.layout.table == "dos":
        wanted = f"(hd0,{holder.number - 1})"
        if start.device.replace(" ", "") != wanted:
            reasons.append(("A10", f"GRUB looks for the kernel on {start.device}; it is on {wanted}."))


# what a system can do without


def check_network(mode: str, drivers: Drivers, warnings: Findings) -> None:
    """The system has a driver of the mode's network."""
    old = drivers.kernel.number < _UNPLUGS_SINCE
    names = {
        "kvm": ("virtio_net",),
        "xen_hvm": ("xen_vnif", "xen_netfront", "8139cp") if old else ("xen_netfront", "8139cp", "e1000"),
    }.get(mode, ("xennet", "xen_netfront"))
    if not any(drivers.has_later(name) for name in names):
        warnings.append(("A09", f"There is no driver of the network: {' or '.join(names)}."))


def check_console(survey: Survey, mode: str, kernel: Kernel, start: Start, warnings: Findings) -> str:
    """The console of the mode, and what it lacks."""
    named = consoles_of(start.arguments)
    paravirtual = mode in ("xen_para", "xen_pvh")
    console = ("xvc0" if kernel.is_xen_only else "hvc0") if paravirtual else _serial(named)
    if paravirtual and named and named[-1] != console and not kernel.is_xen_only:
        warnings.append(
            ("A15", f"The last console is {named[-1]}, so that what is written while booting is lost on {console}.")
        )
    if survey.consoles.gettys or survey.consoles.automatic:
        if not survey.consoles.serves(console):
            warnings.append(("A15", f"There is no login on {console}."))
        elif not survey.consoles.lets_root_in(console):
            warnings.append(("A16", f"/etc/securetty does not let root in on {console}."))
    return console


def _serial(named: tuple[str, ...]) -> str:
    return next((name for name in named if name.startswith("ttyS")), "tty1")
