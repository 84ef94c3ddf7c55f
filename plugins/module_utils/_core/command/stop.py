# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages stop``: end the machines of this host that may no longer run, or that are of something chosen."""

from __future__ import annotations

import typing as t

from ..hypervisor.gate import ending, settings
from ..hypervisor.gate.virsh import Virsh
from ..times import utc_now
from .line.output import SOME_FAILED, emit, emit_failures, emit_json, printable, table

if t.TYPE_CHECKING:
    import argparse


def stop(options: argparse.Namespace) -> int:
    """0, or 3 if some machines could not be looked at or ended."""
    chosen = ending.Chosen(
        expired=options.expired,
        replaced=options.replaced,
        images=frozenset(name.lower() for name in options.images),
        lists=frozenset(name.lower() for name in options.lists),
        endorsers=frozenset((dn, ca) for dn, ca in options.endorsers),
    )
    if chosen == ending.Chosen():
        raise ending.nothing_chosen()
    ender = ending.Ender(Virsh(options.connect), settings.load(options.config), chosen, options.grace)
    machines = ender.end(utc_now(), dry=options.check)
    failed = [machine for machine in machines if machine.error is not None]
    if options.json:
        changed = any(one.action in ("shutdown", "destroy") and one.error is None for one in machines)
        emit_json({"changed": changed, "machines": [machine.as_dict() for machine in machines]})
    else:
        told = [one for one in machines if one.code is not None]
        rows = [(one.name, one.uuid, one.code, one.action or "goes on", one.since) for one in told]
        emit(*(table(("MACHINE", "UUID", "WHY", "ACTION", "SINCE"), rows) or ["No machine is to end."]))
        emit(*(f"{printable(one.name)}: {printable(one.detail)}" for one in told))
        emit_failures((one.name or one.uuid, one.error.as_dict()) for one in failed if one.error is not None)
    return SOME_FAILED if failed else 0
