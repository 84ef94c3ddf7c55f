# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A02, A03, A15 in GRUB 2: the kernels' arguments where they are used, and where its configuration is made from."""

from __future__ import annotations

import typing as t

from ...boot.loaders import ENTRIES
from ...boot.survey import Survey
from ...formats.assignments import Assignments
from ...formats.bls import BootEntry
from ...formats.grub_cfg import GrubCfg
from ...root.draft import Draft
from ..wishes import Kernels, Note, Wishes
from .arguments import adapted, settled, why_adapted
from .static import plan_static

_DEFAULTS: t.Final = "/etc/default/grub"
_CMDLINE: t.Final = "/etc/kernel/cmdline"


def plan_grub2(draft: Draft, survey: Survey, kernels: Kernels, wishes: Wishes) -> tuple[Note, ...]:
    """Plan the entries, and what later ones are made from; returns what cannot be. Raises `GuestError`."""
    path = survey.loader.path
    if path is None:
        return ()
    _configuration(draft, survey, path, wishes)
    if survey.loader.entry_files:
        _entry_files(draft, survey, wishes)
    notes = _defaults(draft, survey, wishes)
    return (*notes, *plan_static(draft, survey, kernels, wishes, path))


def _configuration(draft: Draft, survey: Survey, path: str, wishes: Wishes) -> None:
    document = GrubCfg.parse(draft.read(path) or b"")
    of_entry = {entry.position: entry for entry in survey.loader.entries if entry.source == path}
    reasons: list[tuple[str, str]] = []
    for entry in document.entries:
        known = of_entry.get(entry.position)
        if entry.kernel is None or known is None or known.kernel is None:
            continue
        after = _adapted(survey, known.kernel, entry.kernel.arguments, wishes)
        reasons += why_adapted(entry.kernel.arguments, after)
        document = document.with_arguments(entry, after)
    for requirement, why in dict.fromkeys(reasons):
        draft.change(path, document.dump(), requirement, why)


def _entry_files(draft: Draft, survey: Survey, wishes: Wishes) -> None:
    """The variables that a line of options has keep their place."""
    for entry in survey.loader.entries:
        if not entry.source.startswith(ENTRIES) or entry.kernel is None:
            continue
        document = BootEntry.parse(draft.read(entry.source) or b"")
        before = document.arguments
        if "$kernelopts" in before:
            before = entry.arguments
        words = tuple(word for word in before if not word.startswith("$"))
        variables = tuple(word for word in before if word.startswith("$"))
        after = _adapted(survey, entry.kernel, words, wishes)
        if after == words:
            continue
        changed = document.with_arguments((*after, *variables)).dump()
        for requirement, why in why_adapted(words, after):
            draft.change(entry.source, changed, requirement, why)
    octets = draft.read(_CMDLINE)
    if octets is not None:
        words = tuple(octets.decode("utf-8", "surrogateescape").split())
        root = survey.loader.entries[0].kernel if survey.loader.entries else None
        after = _adapted(survey, root or "", words, wishes)
        for requirement, why in why_adapted(words, after):
            draft.change(_CMDLINE, (" ".join(after) + "\n").encode("utf-8", "surrogateescape"), requirement, why)


def _adapted(survey: Survey, kernel: str, words: t.Sequence[str], wishes: Wishes) -> tuple[str, ...]:
    found = survey.kernel_of(kernel)
    return adapted(words, kernel=found, system=survey.system, disk=survey.disk, wishes=wishes)


def _defaults(draft: Draft, survey: Survey, wishes: Wishes) -> tuple[Note, ...]:
    """What grub-mkconfig makes entries from: the consoles stand in GRUB_CMDLINE_LINUX, and only there."""
    if not draft.is_file(_DEFAULTS):
        return ()
    directory = f"{_DEFAULTS}.d"
    paths = [_DEFAULTS, *(f"{directory}/{name}" for name in draft.root.names(directory) if name.endswith(".cfg"))]
    general = _last_with(draft, paths, "GRUB_CMDLINE_LINUX") or _DEFAULTS
    special = _last_with(draft, paths, "GRUB_CMDLINE_LINUX_DEFAULT")
    notes = []
    for path, name in ((special, "GRUB_CMDLINE_LINUX_DEFAULT"), (general, "GRUB_CMDLINE_LINUX")):
        if path is None:
            continue
        document = Assignments.parse(draft.read(path) or b"")
        value = document.get(name) or ""
        if "$" in value or "`" in value:
            notes.append(Note("A15", f"{path}: {name} is made of other variables, and is not changed here."))
            continue
        words = value.split()
        after = settled(words, system=survey.system, wishes=wishes)
        if name.endswith("_DEFAULT"):
            after = tuple(word for word in words if not (wishes.consoles and word.startswith("console=")))
        if list(after) != words:
            reason = "The entries of a kernel update are made from this."
            requirement = "A15" if any(word.startswith("console=") for word in set(words) ^ set(after)) else "A03"
            draft.change(path, document.with_value(name, " ".join(after)).dump(), requirement, reason)
    return tuple(notes)


def _last_with(draft: Draft, paths: list[str], name: str) -> str | None:
    found = [path for path in paths if Assignments.parse(draft.read(path) or b"").get(name) is not None]
    return found[-1] if found else None
