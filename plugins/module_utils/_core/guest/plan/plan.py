# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan for one system: every change and every build that its modes still need, and what no plan can give."""

from __future__ import annotations

from dataclasses import dataclass

from ..boot.network import plan_network
from ..boot.survey import Survey
from ..root.draft import Change, Draft
from ..root.tree import Root
from .configuration.consoles import plan_consoles
from .configuration.disks import plan_disks
from .configuration.identity import plan_identity
from .configuration.naming import plan_naming
from .configuration.services import plan_selinux, plan_services
from .initrds import Build, plan_initrds
from .loaders.grub2 import plan_grub2
from .loaders.legacy import plan_legacy
from .wishes import Note, Wishes, choose_kernels


@dataclass(frozen=True)
class Plan:
    """`changes` in the order of the requirements; those of the boot loader are made after the builds that they need."""

    changes: tuple[Change, ...]
    builds: tuple[Build, ...]
    notes: tuple[Note, ...]


def make_plan(root: Root, survey: Survey, wishes: Wishes) -> Plan:
    """The plan, drawn up from the survey of the tree as it is. Raises `GuestError` for what cannot be read."""
    draft = Draft(root)
    kernels, notes = choose_kernels(survey, wishes)
    notes += plan_disks(draft, survey.disk)
    notes += [Note("A03", sentence) for sentence in plan_network(draft)]
    notes += plan_naming(draft, survey.system, wishes)
    plan_services(draft, survey.system, wishes)
    plan_consoles(draft, survey.system, kernels, wishes)
    builds, more = plan_initrds(draft, survey, kernels, wishes)
    notes += more
    if survey.loader.kind == "grub":
        plan_legacy(draft, survey, kernels, wishes)
    elif survey.loader.kind == "grub2":
        notes += plan_grub2(draft, survey, kernels, wishes)
    else:
        notes.append(Note("A10", "The system has no configuration of GRUB."))
    plan_identity(draft, wishes)
    plan_selinux(draft, wishes)
    return Plan(draft.changes, builds, tuple(notes))
