# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A09, A12: initrds that hold the drivers of every wanted mode, and configuration that keeps them so after an update.

An initrd is built only when what it holds is not enough; its age says nothing.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...errors import GuestError
from ..boot.drivers import Drivers
from ..boot.kernels import Kernel
from ..boot.survey import Survey
from ..formats.assignments import Assignments
from ..formats.words import Words
from ..initrd.contents import Initrd, module_name, read_initrd
from ..root.draft import Draft
from ..root.tree import Root
from .wishes import Kernels, Note, Wishes, is_of_today

PARAVIRT: t.Final = "/boot/initrd-paravirt.img"
XEN_PARA: t.Final = "/boot/initrd-xen-para.img"

_KVM: t.Final = ("virtio_pci", "virtio_blk", "virtio_net")
_XEN: t.Final = ("xen-blkfront", "xen-netfront")
_OLD_KVM: t.Final = ("virtio_ring", "virtio", "virtio_pci", "virtio_blk", "virtio_net")
_OLD_HVM: t.Final = ("xen-platform-pci", "xen-balloon", "xen-vbd", "xen-vnif")
_OLD_PARA: t.Final = ("xenblk", "xennet")
#: What mkinitrd finds where it runs, and a kernel-xen does not have.
_FOUND: t.Final = ("virtio_pci", "virtio", "virtio_blk", "xen_vbd")

_OURS: t.Final = "# hepix.vmimages: the drivers of every hypervisor that the image is meant for.\n"


@dataclass(frozen=True)
class Build:
    """An initrd to be built by `argv` inside the system, why, and the modules that it must hold then."""

    path: str
    kernel: str
    argv: tuple[str, ...]
    why: tuple[str, ...]
    needs: frozenset[str]

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "path": self.path,
            "kernel": self.kernel,
            "command": list(self.argv),
            "why": list(self.why),
            "needs": sorted(self.needs),
        }


def plan_initrds(
    draft: Draft, survey: Survey, kernels: Kernels, wishes: Wishes
) -> tuple[tuple[Build, ...], tuple[Note, ...]]:
    """Plan the configuration; returns what has to be built, and what cannot be. Raises `GuestError`."""
    tool = survey.system.initrd_tool
    if kernels.main is None:
        return (), ()
    if tool is None:
        return (), (Note("A09", "The system has no tool that makes an initrd: dracut, initramfs-tools or mkinitrd."),)
    if tool == "mkinitrd":
        return _by_mkinitrd(draft, kernels, wishes), ()
    return _of_today(draft, survey, kernels.main, wishes, tool)


def lacking(root: Root, path: str, kernel: str, needs: t.Iterable[str]) -> tuple[str, ...]:
    """Why the initrd at `path` will not do for the kernel; empty when it will."""
    try:
        initrd = read_initrd(root, path)
    except GuestError as error:
        return (error.sentence,)
    return _lacking(initrd, kernel, needs)


def _lacking(initrd: Initrd, kernel: str, needs: t.Iterable[str]) -> tuple[str, ...]:
    why = []
    if initrd.kernels and kernel not in initrd.kernels:
        why.append(f"{initrd.path} is for kernel {', '.join(initrd.kernels)}, not {kernel}.")
    missing = [name for name in needs if name not in initrd.modules]
    if missing:
        why.append(f"{initrd.path} lacks {', '.join(sorted(missing))}.")
    return tuple(why)


def _build(draft: Draft, path: str, kernel: str, argv: tuple[str, ...], needs: t.Iterable[str]) -> tuple[Build, ...]:
    wanted = frozenset(module_name(name) for name in needs)
    why = lacking(draft.root, path, kernel, wanted)
    return (Build(path, kernel, argv, why, wanted),) if why else ()


# dracut and initramfs-tools


def _of_today(
    draft: Draft, survey: Survey, kernel: Kernel, wishes: Wishes, tool: str
) -> tuple[tuple[Build, ...], tuple[Note, ...]]:
    names = [*(_KVM if "kvm" in wishes.modes else ()), *(_XEN if wishes.wants_xen() else ())]
    drivers = Drivers(kernel, None)
    needed = [name for name in names if not drivers.is_builtin(module_name(name))]
    absent = [name for name in needed if module_name(name) not in kernel.modules]
    notes = tuple(Note("A11", f"Kernel {kernel.version} has no driver {name}.") for name in absent)
    present = [name for name in needed if name not in absent]
    path = _initrd_of(survey, kernel)
    if path is None and not present:
        return (), notes
    if tool == "dracut":
        _configure_dracut(draft, present)
        path = path or f"/boot/initramfs-{kernel.version}.img"
        argv: tuple[str, ...] = ("dracut", "-f", path, kernel.version)
    else:
        _configure_initramfs(draft, present)
        path = path or f"/boot/initrd.img-{kernel.version}"
        argv = ("update-initramfs", "-u" if draft.is_file(path) else "-c", "-k", kernel.version)
    return _build(draft, path, kernel.version, argv, present), notes


def _initrd_of(survey: Survey, kernel: Kernel) -> str | None:
    """The initrd that an entry of the kernel names, the last one where it names several."""
    for entry in survey.loader.entries:
        if entry.kernel is not None and entry.initrds and survey.kernel_of(entry.kernel) == kernel:
            return entry.initrds[-1]
    return None


def _configure_dracut(draft: Draft, names: list[str]) -> None:
    text = f'{_OURS}hostonly="no"\nadd_drivers+=" {" ".join(names)} "\n'
    reason = "A kernel update makes an initrd for the hardware that it sees."
    draft.change("/etc/dracut.conf.d/hepix.conf", text.encode(), "A09", reason)


def _configure_initramfs(draft: Draft, names: list[str]) -> None:
    base = "/etc/initramfs-tools"
    document = Words.parse(draft.read(f"{base}/modules") or b"")
    there = {module_name(word) for word in document.words}
    changed = document.with_words(*(name for name in names if module_name(name) not in there))
    draft.change(f"{base}/modules", changed.dump(), "A09", "A kernel update makes an initrd without these drivers.")
    for path in (f"{base}/initramfs.conf", *(f"{base}/conf.d/{name}" for name in draft.root.names(f"{base}/conf.d"))):
        if not draft.is_file(path):
            continue
        settings = Assignments.parse(draft.read(path) or b"")
        if settings.get("MODULES") == "dep":
            reason = "A kernel update makes an initrd for the hardware that it sees."
            draft.change(path, settings.with_value("MODULES", "most").dump(), "A09", reason)


# EL5's mkinitrd


def _by_mkinitrd(draft: Draft, kernels: Kernels, wishes: Wishes) -> tuple[Build, ...]:
    main, xen = t.cast(Kernel, kernels.main), kernels.xen
    paravirtual = "xen_hvm" in wishes.modes and wishes.ide_noprobe != "never"
    names = [*(_OLD_KVM if "kvm" in wishes.modes else ()), *(_OLD_HVM if paravirtual else ())]
    if is_of_today(main):
        names = [*(_KVM if "kvm" in wishes.modes else ()), *(_XEN if wishes.wants_xen() else ())]
    present = [name for name in names if module_name(name) in main.modules]
    _configure_mkinitrd(draft, [*present, *(_OLD_PARA if xen is not None else ())])
    options = ("mkinitrd", "-f", "-v", "--fstab=/etc/fstab", "--allow-missing")
    builds = _build(
        draft,
        PARAVIRT,
        main.version,
        (*options, *(f"--with={name}" for name in present), PARAVIRT, main.version),
        present,
    )
    if xen is not None:
        drivers = ("--preload=xenblk", "--with=xennet", *(f"--builtin={name}" for name in _FOUND))
        argv = ("mkinitrd", "-f", "-v", "--fstab=/etc/fstab", *drivers, XEN_PARA, xen.version)
        builds += _build(draft, XEN_PARA, xen.version, argv, _OLD_PARA)
    return builds


def _configure_mkinitrd(draft: Draft, names: list[str]) -> None:
    """A name with a dash before it may be missing, so that one file serves both kernels."""
    text = f'{_OURS}MODULES="$MODULES {" ".join(f"-{name}" for name in names)}"\n'
    reason = "A kernel update makes an initrd without these drivers."
    draft.change("/etc/sysconfig/mkinitrd/hepix", text.encode(), "A09", reason, mode=0o755)
