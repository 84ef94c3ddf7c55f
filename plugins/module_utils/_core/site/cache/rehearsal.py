# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode: the steps of a run without its changes. What it would read, it reads; downloads are taken to succeed."""

from __future__ import annotations

import os
import typing as t
from datetime import timedelta
from pathlib import Path

from ...errors import VmimagesError
from . import octets
from .moves import aside_of, is_file, require_together
from .plan import Scope, Step
from .room import purge
from .room.space import allocated
from .run import Run

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue
    from .room.in_use import InUse
    from .room.space import Room


class Rehearsal:
    """What a run would do, told in a `Run` of its own."""

    def __init__(self, catalogue: Catalogue, room: Room, in_use: InUse, keep_expired: timedelta) -> None:
        self.run = Run()
        self._catalogue = catalogue
        self._room = room
        self._in_use = in_use
        self._keep_expired = keep_expired
        self._expired: dict[str, dict[str, t.Any]] = {}
        self._gone: set[str] = set()
        self._back: set[str] = set()

    def steps(self, steps: t.Sequence[Step]) -> None:
        """Go through the planned steps."""
        require_together(self._catalogue.state, steps)
        for step in steps:
            if step.action == "expire":
                self._expire(step)
            elif step.action == "restore":
                self.run.restored.append(step.as_dict())
                self.run.place(step.name, "expired", "current")
                self._gone.add(step.name)
                self._back.add(step.name)
            elif step.source is not None:
                self._read(step, step.source)
            else:
                self._download(step)

    def purge(self, grace: timedelta, scope: Scope) -> None:
        """The purge of what would then lie in `expired`; what would have come there now has its whole grace ahead."""
        due = {action["name"]: action for action in purge.due(self._catalogue, grace, scope)}
        due = {name: action for name, action in due.items() if name not in self._gone}
        if grace <= timedelta(0):
            due.update(self._expired)
        state = self._catalogue.state
        for name, action in sorted(due.items()):
            why = self._in_use.why((state.current if name in self._expired else state.expired) / name)
            if why:
                self.run.warnings.append(purge.kept(state.expired / name, why))
            elif action not in self.run.purged:
                self._purge(action)

    def present(self) -> set[str]:
        """The names of the files that would then lie in `current`."""
        before = {row["name"] for row in self._catalogue.rows("SELECT name FROM files WHERE state = 'current'")}
        gone = {name for name, place in self.run.after.items() if place != "current"}
        return (before - gone) | {name for name, place in self.run.after.items() if place == "current"}

    def _purge(self, action: dict[str, t.Any]) -> None:
        self.run.purged.append(action)
        self.run.place(action["name"], "expired", "absent")

    def _relieve(self, name: str, size: int) -> None:
        """What `purge.relieve` would delete; what would have come to `expired` in this very run is the youngest."""
        refusal = self._room.refusal(name, size)
        if refusal is None:
            return
        state = self._catalogue.state
        spare = list(purge.spare(self._catalogue, self._keep_expired, self._in_use))
        if self._keep_expired <= timedelta(0):
            for action in self._expired.values():
                path = state.current / action["name"]
                if not self._in_use.why(path):
                    spare.append((action, allocated(path)))
        spare = [item for item in spare if item[0] not in self.run.purged and item[0]["name"] not in self._back]
        if sum(freed for _action, freed in spare) < refusal.context["missing"]:
            raise refusal
        for action, freed in spare:
            if self._room.refusal(name, size) is None:
                return
            self._purge(action)
            self._room.give_back(freed)

    def _expire(self, step: Step) -> None:
        state = self._catalogue.state
        source = state.current / step.name
        if os.path.lexists(source) and not is_file(source):
            self._aside(step, source)
            return
        lost = not os.path.lexists(source) and not os.path.lexists(state.expired / step.name)
        self.run.moved.append(step.as_dict())
        self.run.place(step.name, "current", "absent" if lost else "expired")
        if not lost:
            self._arrives(step.name, step)

    def _read(self, step: Step, source: Path) -> None:
        moved = source.parent != self._catalogue.state.current
        try:
            octets.read(source, step.row)
        except VmimagesError as error:
            if error.code != "checksum_mismatch":
                self.run.fail(step, error)
                return
            self._aside(step, source)
            self._download(Step("download", step.name, step.row))
        else:
            self.run.arrived(step, step.as_dict(), moved=moved)
        if moved:
            self._gone.add(step.name)

    def _download(self, step: Step) -> None:
        try:
            self._relieve(step.name, step.row["size"])
            self._room.promise(step.name, step.row["size"])
        except VmimagesError as error:
            self.run.fail(step, error)
            return
        self.run.arrived(step, step.as_dict(), moved=True)

    def _aside(self, step: Step, source: Path) -> None:
        aside = aside_of(self._catalogue.state, step.name, source)
        self.run.damaged.append({**step.as_dict(), "name": aside.name})
        self.run.place(step.name, "damaged", "absent")
        self._arrives(aside.name, step)

    def _arrives(self, name: str, step: Step) -> None:
        self._gone.add(name)
        self._expired[name] = purge.action_of(name, step.row)
