# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan: what is to be done, in order, each step with how it is told and how it is done."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

if t.TYPE_CHECKING:
    from ..standing import Standing

Act = t.Callable[[], t.Any]


@dataclass
class Plan:
    """Steps of one instance as it stands. `before` and `after` are what a diff shows, `result` what is returned of it;
    `standing` is None for what no other call can change meanwhile."""

    name: str
    standing: Standing | None = None
    steps: list[tuple[dict[str, t.Any], Act]] = field(default_factory=list)
    before: dict[str, t.Any] = field(default_factory=dict)
    after: dict[str, t.Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    result: dict[str, t.Any] = field(default_factory=dict)

    def add(self, action: str, act: Act, **told: t.Any) -> None:
        """One more step, told as `action` with `told`."""
        self.steps.append(({"action": action, "name": self.name, **told}, act))

    @property
    def actions(self) -> tuple[dict[str, t.Any], ...]:
        return tuple(told for told, _act in self.steps)

    def carry_out(self, done: list[dict[str, t.Any]]) -> None:
        """Do every step; `done` gets what was done, also when a later step fails."""
        for told, act in self.steps:
            act()
            done.append(told)
