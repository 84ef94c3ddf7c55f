# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A template for OpenNebula, which starts machines itself: the same verdict, and nothing made on this host.

OpenNebula gives out UUIDs and disks, so that there is no domain here to keep a record of.
"""

from __future__ import annotations

import typing as t

from ....errors import HypervisorError
from ....transfer.atomic import storage_errors, write_atomic
from ...machine import Machine
from ...opennebula import opennebula_template
from ..wishes import Wish
from .described import provenance
from .removing import remover
from .steps import Plan

if t.TYPE_CHECKING:
    from ..calls import World

#: By which a template of ours is known.
_OURS: t.Final = "\nHEPIX_IMAGE = "


def plan_template(wish: Wish, world: World) -> Plan:
    """Write the template, or take it away. Raises as `Verdicts.approve`, `Machine.from_options` and the writer."""
    plan = Plan(wish.name)
    found = _found(wish)
    if found is not None and _OURS not in found:
        raise HypervisorError("file_foreign", f"{wish.dest} is no template of this collection", path=str(wish.dest))
    plan.before["state"] = "absent" if found is None else "recorded"
    if wish.state == "absent":
        plan.result = {"state": "absent"}
        plan.after["state"] = "absent"
        dest = wish.dest
        if found is not None and dest is not None:
            plan.add("remove", remover(dest), path=str(dest))
        return plan
    approved = world.approve(wish)
    boot_info = wish.boot_info if wish.boot_info is not None else world.boots.of(approved)
    options = {
        **(wish.machine or {}),
        "name": wish.name,
        "uuid": wish.uuid or wish.derived_uuid(),
        "mode": wish.mode,
        "disk": {"path": approved.path, "format": approved.format, "target": wish.target},
        "contexts": [{"path": one.path} for one in wish.contexts],
        "image": provenance(approved),
    }
    given = wish.opennebula or {}
    text = opennebula_template(
        Machine.from_options(options, boot_info),
        image=given["image"],
        context={name: str(value) for name, value in (given.get("context") or {}).items()},
        context_files=given.get("context_files") or (),
    )
    plan.result = {
        "state": "recorded",
        "image": approved.image,
        "version": approved.version,
        "mode": wish.mode,
        "configuration": text,
    }
    plan.after["state"] = "recorded"
    dest = wish.dest
    if dest is None:
        plan.before["state"] = "recorded"
    elif found != text:
        plan.add("write", lambda: write_atomic(dest, text.encode()), path=str(dest))
        plan.before["configuration"], plan.after["configuration"] = found or "", text
    return plan


def _found(wish: Wish) -> str | None:
    if wish.dest is None:
        return None
    with storage_errors(wish.dest, reading=True):
        return wish.dest.read_text(errors="replace") if wish.dest.exists() else None
