# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A05 to A08: services that are off, offline: by their links, as chkconfig, insserv and systemctl would leave them."""

from __future__ import annotations

import re
import typing as t

from ...boot.system import System
from ...formats.assignments import Assignments
from ...root.draft import Draft
from ..wishes import FIREWALLS, Wishes

_START: t.Final = re.compile(r"S([0-9]{2})(.+)\Z")
_HEADER: t.Final = re.compile(r"^#[ \t]*chkconfig:[ \t]*\S+[ \t]+[0-9]+[ \t]+([0-9]+)", re.MULTILINE)
_UNITS: t.Final = ("service", "socket", "path", "timer")
_SELINUX: t.Final = "/etc/selinux/config"


def plan_services(draft: Draft, system: System, wishes: Wishes) -> None:
    """Plan that the unwanted services do not start; one that is not installed is none. Raises `GuestError`."""
    names = list(wishes.services_off)
    reasons = {name: ("A05" if name == "kudzu" else "A06", f"{name} is of no use to a node.") for name in names}
    if wishes.firewall == "off":
        reasons.update(dict.fromkeys(FIREWALLS, ("A08", "The site sets its own firewall.")))
    for name, (requirement, reason) in reasons.items():
        _off_in_runlevels(draft, name, requirement, reason)
        if system.init == "systemd":
            _off_in_targets(draft, name, requirement, reason)
        elif system.init == "upstart" and draft.is_file(f"/etc/init/{name}.conf"):
            draft.change(f"/etc/init/{name}.override", b"manual\n", requirement, reason)


def plan_selinux(draft: Draft, wishes: Wishes) -> None:
    """Plan SELinux's mode, and a new labelling where files were written from outside; the last step of a plan."""
    octets = draft.read(_SELINUX)
    if octets is None:
        return
    document = Assignments.parse(octets)
    if wishes.selinux != "keep":
        changed = document.with_value("SELINUX", wishes.selinux)
        draft.change(_SELINUX, changed.dump(), "A07", f"SELinux is to be {wishes.selinux}.")
        document = changed
    if document.get("SELINUX") != "disabled" and draft.changes and not draft.has("/.autorelabel"):
        draft.change("/.autorelabel", b"", "A07", "What is written from outside has no SELinux label.")


def _off_in_runlevels(draft: Draft, name: str, requirement: str, reason: str) -> None:
    """A link S05kudzu becomes K95kudzu."""
    for level in "2345":
        directory = next(
            (path for path in (f"/etc/rc.d/rc{level}.d", f"/etc/rc{level}.d") if draft.root.is_directory(path)), None
        )
        if directory is None:
            continue
        for link in draft.root.names(directory):
            match = _START.match(link)
            says = draft.root.link(f"{directory}/{link}") if match is not None and match[2] == name else None
            if match is None or says is None or not draft.has(f"{directory}/{link}"):
                continue
            draft.remove(f"{directory}/{link}", requirement, reason)
            draft.link(f"{directory}/K{_stop(draft, name, int(match[1])):02d}{name}", says, requirement, reason)


def _stop(draft: Draft, name: str, start: int) -> int:
    for path in (f"/etc/rc.d/init.d/{name}", f"/etc/init.d/{name}"):
        text = (draft.root.text(path) or "") if draft.root.is_file(path) else ""
        match = _HEADER.search(text)
        if match is not None:
            return min(int(match[1]), 99)
    return 99 - start


def _off_in_targets(draft: Draft, name: str, requirement: str, reason: str) -> None:
    """The links in the directories of what is wanted go, as `systemctl disable` has them go."""
    base = "/etc/systemd/system"
    for directory in draft.root.names(base):
        if not directory.endswith((".wants", ".requires")):
            continue
        for unit in draft.root.names(f"{base}/{directory}"):
            if unit in {f"{name}.{kind}" for kind in _UNITS}:
                draft.remove(f"{base}/{directory}/{unit}", requirement, reason)
