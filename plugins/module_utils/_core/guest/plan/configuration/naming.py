# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A03 of systemd's time: the interface is eth0 everywhere, so its configuration speaks of eth0."""

from __future__ import annotations

import re
import typing as t

from ...boot.system import System
from ...formats.assignments import Assignments
from ...formats.keyfile import Keyfile
from ...root.draft import Draft
from ..wishes import Note, Wishes

_IFCFG: t.Final = "/etc/sysconfig/network-scripts"
_KEYFILES: t.Final = "/etc/NetworkManager/system-connections"
_PREDICTED: t.Final = re.compile(r"en[opsxP][A-Za-z0-9]+\Z")


def plan_naming(draft: Draft, system: System, wishes: Wishes) -> tuple[Note, ...]:
    """Plan that; more than one interface with a name of its own is for a person to see to. Raises `GuestError`."""
    if wishes.predictable_names or system.init != "systemd":
        return ()
    scripts = [
        name[6:] for name in draft.root.names(_IFCFG) if name.startswith("ifcfg-") and _PREDICTED.match(name[6:])
    ]
    keyfiles = [
        name
        for name in draft.root.names(_KEYFILES)
        if _PREDICTED.match(_keyfile(draft, name).get("connection", "interface-name") or "")
    ]
    if len(scripts) + len(keyfiles) > 1:
        found = ", ".join([*scripts, *keyfiles])
        return (Note("A03", f"Several interfaces have names of their own ({found}): say which one is eth0."),)
    reason = "The interface has another name under another hypervisor; net.ifnames=0 makes it eth0."
    for name in scripts:
        _rename_script(draft, name, reason)
    for name in keyfiles:
        changed = _keyfile(draft, name).with_value("connection", "interface-name", "eth0")
        draft.change(f"{_KEYFILES}/{name}", changed.dump(), "A03", reason, mode=0o600)
    return ()


def _keyfile(draft: Draft, name: str) -> Keyfile:
    return Keyfile.parse((draft.read(f"{_KEYFILES}/{name}") or b"") if draft.is_file(f"{_KEYFILES}/{name}") else b"")


def _rename_script(draft: Draft, name: str, reason: str) -> None:
    if draft.has(f"{_IFCFG}/ifcfg-eth0"):
        draft.remove(f"{_IFCFG}/ifcfg-{name}", "A03", reason)
        return
    document = Assignments.parse(draft.read(f"{_IFCFG}/ifcfg-{name}") or b"")
    for key in ("DEVICE", "NAME"):
        if document.get(key) == name:
            document = document.with_value(key, "eth0")
    draft.change(f"{_IFCFG}/ifcfg-eth0", document.dump(), "A03", reason)
    draft.remove(f"{_IFCFG}/ifcfg-{name}", "A03", reason)
