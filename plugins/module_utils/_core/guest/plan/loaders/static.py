# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A10 where GRUB 2 takes its entries from files of their own: pygrub reads none of those, so they become static ones.

The static entries are what grub2-mkconfig would write with GRUB_ENABLE_BLSCFG=false, which is set for the updates of
kernels to come. They are made here, since grub2-mkconfig cannot find the disk of a system that does not run.
"""

from __future__ import annotations

import typing as t

from ...boot.loaders import ENTRIES, Entry
from ...boot.survey import Survey
from ...formats.assignments import Assignments
from ...formats.bls import BootEntry
from ...formats.grub_cfg import GrubCfg
from ...root.draft import Draft
from ..wishes import Kernels, Note, Wishes, runs_paravirtualised

_DEFAULTS: t.Final = "/etc/default/grub"
_REASON: t.Final = "pygrub reads no entries of /boot/loader."
_LATER: t.Final = "An update of the kernel would make entries that pygrub does not read."


def plan_static(draft: Draft, survey: Survey, kernels: Kernels, wishes: Wishes, path: str) -> tuple[Note, ...]:
    """Plan the static entries, after those of /boot/loader are planned; returns what cannot be. Raises `GuestError`."""
    main = kernels.main
    if not survey.loader.entry_files or survey.pygrub.menu.images or main is None:
        return ()
    possible = {"xen_para": runs_paravirtualised(main), "xen_pvh": main.has("XEN_PVH") is True}
    if not any(possible.get(mode, False) for mode in wishes.modes):
        return ()
    if survey.pygrub.path is None:
        why = survey.pygrub.why or "pygrub finds no configuration of a boot loader"
        return (Note("A10", f"{why}: put /boot on a file system of its own, ext4."),)
    document = GrubCfg.parse(draft.read(path) or b"")
    reads = document.reads_entries
    lines = [line for entry in _entries(survey) for line in _static(draft, entry)]
    document = document.inserted(reads[0], lines)
    gone = {number + len(lines) for number in reads}
    gone |= {number for number, text in enumerate(document.bodies) if text.split() == ["insmod", "blscfg"]}
    draft.change(path, document.without(gone).dump(), "A10", _REASON)
    settings = Assignments.parse(draft.read(_DEFAULTS) or b"")
    changed = settings.with_value("GRUB_ENABLE_BLSCFG", "false")
    draft.change(_DEFAULTS, changed.dump(), "A10", _LATER)
    return ()


def _entries(survey: Survey) -> list[Entry]:
    return [entry for entry in survey.loader.entries if entry.source.startswith(ENTRIES) and entry.kernel is not None]


def _static(draft: Draft, entry: Entry) -> list[str]:
    """The lines of one entry, of the file as it is planned, with the id by which it may be the default."""
    document = BootEntry.parse(draft.read(entry.source) or b"")
    identifier = entry.source.rsplit("/", 1)[-1][: -len(".conf")]
    planned = document.arguments
    words = list(entry.arguments) if any(word.startswith("$kernelopts") for word in planned) else list(planned)
    arguments = [word for word in words if not word.startswith("$")]
    lines = [
        f"menuentry {_quoted(entry.title)} --class gnu-linux --id {_quoted(identifier)} {{",
        f"\tlinux {' '.join([document.get('linux') or '', *arguments])}",
    ]
    if document.initrds:
        lines.append(f"\tinitrd {' '.join(document.initrds)}")
    return [*lines, "}"]


def _quoted(text: str) -> str:
    """One word of GRUB's language, on one line."""
    return "'" + text.replace("\r", " ").replace("\n", " ").replace("'", "'\\''") + "'"
