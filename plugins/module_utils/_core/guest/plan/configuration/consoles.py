# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A15, A16: a login on the console of each mode, and root may use it."""

from __future__ import annotations

import typing as t

from ...boot.system import System
from ...formats.inittab import Inittab, Process
from ...formats.words import Words
from ...root.draft import Draft
from ..wishes import Kernels, Wishes, is_of_today

_INITTAB: t.Final = "/etc/inittab"
_SECURETTY: t.Final = "/etc/securetty"
_GUARD: t.Final = "/sbin/hepix-console"
_WRAPPER: t.Final = """#!/bin/sh
# A login on $1 where there is such a terminal; elsewhere nothing, and init has no reason to complain.
[ -c "/dev/$1" ] && exec /sbin/agetty "$1" 9600 vt100-nav
exec sleep 86400
"""


def plan_consoles(draft: Draft, system: System, kernels: Kernels, wishes: Wishes) -> None:
    """Plan that; systemd and upstart make a login by themselves on each console of the kernel. Raises `GuestError`."""
    terminals = ["xvc0"] if kernels.xen is not None else []
    if kernels.main is not None and is_of_today(kernels.main):
        terminals += [name.split(",")[0] for name in wishes.consoles]
    if system.init == "sysv" and draft.is_file(_INITTAB):
        for terminal in terminals:
            _getty(draft, terminal, guard=wishes.console_guard)
        if terminals:
            _terminals(draft, wishes.inittab_ttys)
    octets = draft.read(_SECURETTY)
    if octets is not None:
        changed = Words.parse(octets).with_words(*terminals)
        draft.change(_SECURETTY, changed.dump(), "A16", f"root logs in on {' and '.join(terminals)}.")


def _getty(draft: Draft, terminal: str, *, guard: bool) -> None:
    document = Inittab.parse(draft.read(_INITTAB) or b"")
    own = [process for process in document.processes if terminal in process.command.split()]
    if any(process.action == "respawn" for process in own):
        return
    used = {process.identifier for process in document.processes}
    identifier = next(name for name in ("co", "h0", "c0", "c1", "c2", "c3", "c4", "c5") if name not in used)
    command = f"/sbin/agetty {terminal} 9600 vt100-nav"
    if guard:
        command = f"{_GUARD} {terminal}"
        draft.change(_GUARD, _WRAPPER.encode(), "A15", f"init complains where there is no {terminal}.", mode=0o755)
    document = document.with_getty(identifier, command)
    draft.change(_INITTAB, document.dump(), "A15", f"There is no login on {terminal}.")


def _terminals(draft: Draft, keep: str) -> None:
    """The logins on virtual terminals, which a paravirtualised guest does not have: all but the first, or all, go."""
    if keep == "all":
        return
    document = Inittab.parse(draft.read(_INITTAB) or b"")
    found = [process for process in document.processes if _is_virtual(process)]
    for process in found[1:] if keep == "keep_first" else found:
        document = document.commented(process)
    reason = "A paravirtualised guest has no virtual terminals; one is enough for the others."
    draft.change(_INITTAB, document.dump(), "A15", reason)


def _is_virtual(process: Process) -> bool:
    return (
        process.action == "respawn"
        and (process.terminal or "")[:3] == "tty"
        and (process.terminal or "")[3:].isdecimal()
    )
