# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A10, A13, A14: the entries of grub 0.97: each complete, the main kernel's first, and none that pygrub mistakes."""

from __future__ import annotations

import typing as t

from ...boot.kernels import Kernel
from ...boot.loaders import in_tree
from ...boot.survey import Survey
from ...formats.assignments import Assignments
from ...formats.grub_legacy import Entry, GrubConf
from ...root.draft import Draft
from ..initrds import PARAVIRT, XEN_PARA
from ..wishes import Kernels, Wishes
from .arguments import adapted, why_adapted

_SYSCONFIG: t.Final = "/etc/sysconfig/kernel"


def plan_legacy(draft: Draft, survey: Survey, kernels: Kernels, wishes: Wishes) -> None:
    """Plan the entries. Raises `GuestError`."""
    path = survey.loader.path
    if path is None or kernels.main is None:
        return
    editor = _Editor(draft, survey, path, wishes)
    editor.take_hypervisors_away(kernels)
    editor.adapt()
    editor.correct_partition()
    if survey.system.initrd_tool == "mkinitrd":
        editor.set_initrd(kernels.main, PARAVIRT, "A10")
        if kernels.xen is not None:
            editor.set_initrd(kernels.xen, XEN_PARA, "A13")
    editor.order(kernels)
    _default_kernel(draft, kernels)


class _Editor:
    def __init__(self, draft: Draft, survey: Survey, path: str, wishes: Wishes) -> None:
        self._draft = draft
        self._survey = survey
        self._path = path
        self._wishes = wishes
        self._prefix = "/boot" if survey.separate_boot else ""

    def take_hypervisors_away(self, kernels: Kernels) -> None:
        """pygrub ignores module lines: what they load becomes the entry's kernel and initrd."""
        entries = list(self._document.entries)
        for number, entry in enumerate(entries):
            modules = entry.all("module")
            if not modules or self._kernel(modules[0].split()[0]) is None:
                continue
            if kernels.xen is None:
                continue
            changed = entry.with_command("kernel", modules[0]).without_command("module")
            if len(modules) > 1:
                changed = changed.with_command("initrd", modules[1])
            entries[number] = changed
        why = "pygrub ignores module lines, and would start the hypervisor as the guest."
        self._write(self._document.with_entries(entries), "A13", why)

    def adapt(self) -> None:
        """The kernels' arguments."""
        entries = list(self._document.entries)
        reasons: list[tuple[str, str]] = []
        for number, entry in enumerate(entries):
            if entry.kernel is None or entry.all("module"):
                continue
            kernel = self._kernel(entry.kernel)
            after = adapted(
                entry.arguments,
                kernel=kernel,
                system=self._survey.system,
                disk=self._survey.disk,
                wishes=self._wishes,
            )
            reasons += why_adapted(entry.arguments, after)
            entries[number] = entry.with_arguments(after)
        document = self._document.with_entries(entries)
        for requirement, why in dict.fromkeys(reasons):
            self._write(document, requirement, why)

    def correct_partition(self) -> None:
        """The partition that grub looks on, which pygrub never asks for."""
        disk = self._survey.disk
        holder = None if disk is None else disk.partition_of("/boot") or disk.partition_of("/")
        if disk is None or holder is None or disk.layout.table != "dos":
            return
        wanted = f"(hd0,{holder.number - 1})"
        entries = [
            entry.with_command("root", wanted) if entry.get("root") else entry for entry in self._document.entries
        ]
        self._write(self._document.with_entries(entries), "A10", f"The kernels are on {wanted}.")

    def set_initrd(self, kernel: Kernel, path: str, requirement: str) -> None:
        """The initrd of every entry of that kernel."""
        entries = [
            entry.with_command("initrd", self._shown(path)) if self._is_of(entry, kernel) else entry
            for entry in self._document.entries
        ]
        why = f"Only {path} is sure to have the drivers."
        self._write(self._document.with_entries(entries), requirement, why)

    def order(self, kernels: Kernels) -> None:
        """The main kernel first and by default, the paravirtualised one second; the rest as it was."""
        document = self._document
        entries = list(document.entries)
        default = document.default
        chosen = int(default) if default is not None and default.isdecimal() else 0
        main, xen = t.cast(Kernel, kernels.main), kernels.xen
        if xen is None and chosen < len(entries) and self._is_of(entries[chosen], main):
            return
        first = next((entry for entry in entries if self._is_of(entry, main)), None)
        second = next((entry for entry in entries if xen is not None and self._is_of(entry, xen)), None)
        if first is None:
            first = self._made(main, PARAVIRT)
        if xen is not None and second is None:
            second = self._made(xen, XEN_PARA)
        ahead = [entry for entry in (first, second) if entry is not None]
        rest = [entry for entry in entries if not any(entry is taken for taken in ahead)]
        why = "The kernel for KVM and full virtualisation comes first, the paravirtualised one second."
        self._write(document.with_entries([*ahead, *rest]).with_default(0), "A14", why)

    @property
    def _document(self) -> GrubConf:
        return GrubConf.parse(self._draft.read(self._path) or b"")

    def _write(self, document: GrubConf, requirement: str, why: str) -> None:
        self._draft.change(self._path, document.dump(), requirement, why)

    def _kernel(self, written: str) -> Kernel | None:
        path = in_tree(self._prefix, written)
        found = self._survey.kernel_of(path)
        return found or next((item for item in self._survey.kernels if item.image == path), None)

    def _is_of(self, entry: Entry, kernel: Kernel) -> bool:
        return entry.kernel is not None and not entry.all("module") and self._kernel(entry.kernel) == kernel

    def _shown(self, path: str) -> str:
        return path[len(self._prefix) :]

    def _made(self, kernel: Kernel, initrd: str) -> Entry:
        """An entry as the others are, for a kernel that has none."""
        like = next((entry for entry in self._document.entries if entry.arguments), Entry())
        lines = [
            f"title {self._survey.system.name or 'Linux'} ({kernel.version})\n",
            f"\troot {like.get('root') or '(hd0,0)'}\n",
            f"\tkernel {self._shown(kernel.image or '')} {' '.join(like.arguments)}\n",
            f"\tinitrd {self._shown(initrd)}\n",
        ]
        arguments = adapted(
            like.arguments, kernel=kernel, system=self._survey.system, disk=self._survey.disk, wishes=self._wishes
        )
        return Entry(tuple(lines)).with_arguments(arguments)


def _default_kernel(draft: Draft, kernels: Kernels) -> None:
    """An update of the paravirtualised kernel does not become the default."""
    octets = draft.read(_SYSCONFIG)
    if octets is None or kernels.xen is None:
        return
    document = Assignments.parse(octets)
    if document.get("DEFAULTKERNEL") == "kernel-xen":
        why = "An update of kernel-xen would become the default entry."
        draft.change(_SYSCONFIG, document.with_value("DEFAULTKERNEL", "kernel").dump(), "A14", why)
