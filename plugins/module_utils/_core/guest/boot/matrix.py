# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot-mode matrix: in which mode of which hypervisor the system boots, by which entry, and every reason why not.

Nothing is booted. A reason means that the mode does not reach a login; a warning, that it does and lacks something,
such as its network. What cannot be told counts as a reason.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from .conditions import (
    Findings,
    Start,
    check_boot_sector,
    check_console,
    check_disk,
    check_file_system,
    check_kernel,
    check_network,
    check_root,
    disk_name,
    find_initrd,
    find_kernel,
    has_noprobe,
)
from .devices import root_of
from .drivers import Drivers
from .kernels import Kernel
from .loaders import in_tree
from .survey import Survey

MODES: t.Final = ("kvm", "xen_hvm", "xen_para", "xen_pvh")


@dataclass(frozen=True)
class Verdict:
    """One mode: `entry` is the index for the mode's boot loader, that of pygrub for xen_para and xen_pvh."""

    ok: bool
    loader: str
    start: Start | None
    kernel: Kernel | None
    console: str
    disk: str
    reasons: tuple[tuple[str, str], ...]
    warnings: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, t.Any]:
        start = self.start
        arguments = () if start is None else start.arguments
        root = root_of(arguments)
        return {
            "ok": self.ok,
            "loader": self.loader,
            "entry": None if start is None else start.index,
            "title": None if start is None else start.title,
            "kernel": None if self.kernel is None else self.kernel.version,
            "kernel_path": None if start is None else start.kernel,
            "initrds": [] if start is None else list(start.initrds),
            "root": root,
            "root_by": _root_by(root),
            "disk": self.disk,
            "console": self.console,
            "ide_noprobe": has_noprobe(arguments),
            "reasons": [{"requirement": name, "text": text} for name, text in self.reasons],
            "warnings": [{"requirement": name, "text": text} for name, text in self.warnings],
        }


def judge(survey: Survey) -> dict[str, Verdict]:
    """The verdict on each mode."""
    return {mode: _judge(survey, mode) for mode in MODES}


def _judge(survey: Survey, mode: str) -> Verdict:
    if mode in ("kvm", "xen_hvm"):
        return _by_grub(survey, mode)
    return _by_pygrub(survey, mode)


def _by_grub(survey: Survey, mode: str) -> Verdict:
    """The boot sector and GRUB start the default entry."""
    loader = survey.loader
    if loader.default is None:
        problem = survey.problem_of(loader.path or "/boot") or next(
            (item for item in survey.problems if "grub" in item.path), None
        )
        why = problem.detail if problem is not None else "GRUB has no entry to boot."
        return _nothing("grub", mode, why)
    entry = loader.entries[loader.default]
    start = Start(
        loader.default, entry.title, entry.kernel, entry.initrds, entry.arguments, entry.hypervisor, entry.device
    )
    verdict = _judge_start(survey, mode, "grub", start)
    reasons = list(verdict.reasons)
    check_boot_sector(survey, start, reasons)
    return _with(verdict, tuple(reasons))


def _by_pygrub(survey: Survey, mode: str) -> Verdict:
    """The first entry that boots, else the one that lacks least."""
    found = survey.pygrub
    why = found.why or found.menu.error
    if not found.menu.images:
        problem = next((item for item in survey.problems if "grub" in item.path), None)
        if problem is not None:
            why = problem.detail
        told = f"{found.path}: {why}" if found.path and why else why or "pygrub finds no entry."
        more = " Entries are in files of their own, which pygrub does not read." if survey.loader.entry_files else ""
        return _nothing("pygrub", mode, told.rstrip(".") + "." + more)
    verdicts = []
    for index, image in enumerate(found.menu.images):
        start = Start(
            index,
            image.title,
            None if image.kernel is None else in_tree(found.prefix, image.kernel),
            () if image.initrd is None else (in_tree(found.prefix, image.initrd),),
            tuple(image.arguments.split()),
        )
        verdicts.append(_judge_start(survey, mode, "pygrub", start))
    return min(verdicts, key=lambda verdict: (_is_of_another_mode(verdict), len(verdict.reasons)))


def _is_of_another_mode(verdict: Verdict) -> bool:
    return any(requirement in ("A10", "A11", "A13") for requirement, _text in verdict.reasons)


def _nothing(loader: str, mode: str, why: str) -> Verdict:
    return Verdict(False, loader, None, None, "", disk_name(mode, None, ()), (("A10", why),), ())


def _with(verdict: Verdict, reasons: tuple[tuple[str, str], ...]) -> Verdict:
    return Verdict(
        not reasons,
        verdict.loader,
        verdict.start,
        verdict.kernel,
        verdict.console,
        verdict.disk,
        reasons,
        verdict.warnings,
    )


def _judge_start(survey: Survey, mode: str, loader: str, start: Start) -> Verdict:
    reasons: Findings = []
    warnings: Findings = []
    kernel = find_kernel(survey, start, reasons)
    initrd, is_read = find_initrd(survey, start, kernel, reasons)
    disk = disk_name(mode, kernel, start.arguments)
    console = ""
    if kernel is not None:
        drivers = Drivers(kernel, initrd)
        check_kernel(mode, kernel, reasons)
        if is_read:
            check_disk(mode, drivers, start, reasons)
            check_file_system(survey, drivers, reasons)
        check_root(survey, start, disk, reasons, warnings)
        check_network(mode, drivers, warnings)
        console = check_console(survey, mode, kernel, start, warnings)
    if survey.pins:
        paths = dict.fromkeys(path for path, _text in survey.pins)
        warnings.append(("A03", f"The network is bound to one card: {', '.join(paths)}."))
    return Verdict(not reasons, loader, start, kernel, console, disk, tuple(reasons), tuple(warnings))


def _root_by(root: str | None) -> str | None:
    if root is None:
        return None
    return root.split("=", 1)[0].lower() if root.startswith(("LABEL=", "UUID=", "PARTUUID=")) else "device"
