# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan: what files of a tree are to become, drawn up over the tree without touching it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...errors import GuestError
from .names import shown
from .tree import Root


@dataclass(frozen=True)
class Change:
    """A file that becomes `after` (None: it goes), or a link that says `link`; and why, with each requirement's id."""

    path: str
    before: bytes | None
    after: bytes | None
    link: str | None
    was_link: str | None
    mode: int
    reasons: tuple[tuple[str, str], ...]

    @property
    def kind(self) -> str:
        """What is done: write, link or remove."""
        return "link" if self.link is not None else "remove" if self.after is None else "write"

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "action": self.kind,
            "path": shown(self.path),
            "requirements": sorted({requirement for requirement, _reason in self.reasons}),
            "reasons": list(dict.fromkeys(reason for _requirement, reason in self.reasons)),
        }


@dataclass
class _Planned:
    after: bytes | None
    link: str | None
    mode: int
    reasons: list[tuple[str, str]]


class Draft:
    """Reads what the tree holds or would hold; `change`, `link` and `remove` add to the plan."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self._planned: dict[str, _Planned] = {}

    def read(self, path: str) -> bytes | None:
        """The octets of the file as planned, else as it is; raises as `Root.read` does."""
        planned = self._planned.get(self._key(path))
        return self.root.read(path) if planned is None or planned.link is not None else planned.after

    def is_file(self, path: str) -> bool:
        """Whether there is, or would be, a file."""
        planned = self._planned.get(self._key(path))
        return self.root.is_file(path) if planned is None else planned.after is not None

    def has(self, path: str) -> bool:
        """Whether there is, or would be, anything of this name, be it a link to nothing."""
        planned = self._planned.get(path)
        return self.root.exists(path) if planned is None else planned.link is not None or planned.after is not None

    def change(self, path: str, after: bytes, requirement: str, reason: str, *, mode: int = 0o644) -> None:
        """Let the file at `path`, or where a link there leads, hold `after`; nothing is planned if it does already."""
        if self.read(path) == after:
            return
        self._plan(self._key(path), after, None, requirement, reason, mode)

    def link(self, path: str, target: str, requirement: str, reason: str) -> None:
        """Let `path` itself be a link that says `target`."""
        if self.root.link(path) != target:
            self._plan(path, None, target, requirement, reason, 0o777)

    def remove(self, path: str, requirement: str, reason: str) -> None:
        """Let there be nothing at `path` itself."""
        if self.has(path):
            self._plan(path, None, None, requirement, reason, 0)

    @property
    def changes(self) -> tuple[Change, ...]:
        """What differs from the tree, in the order in which it was planned."""
        found = []
        for path, planned in self._planned.items():
            was_link = self.root.link(path)
            before = None if was_link is not None else self.root.read(path)
            same = (before, was_link) == (planned.after, planned.link)
            if not same:
                reasons = tuple(planned.reasons)
                found.append(Change(path, before, planned.after, planned.link, was_link, planned.mode, reasons))
        return tuple(found)

    def _plan(self, path: str, after: bytes | None, link: str | None, requirement: str, reason: str, mode: int) -> None:
        planned = self._planned.setdefault(path, _Planned(None, None, mode, []))
        planned.after, planned.link = after, link
        planned.reasons.append((requirement, reason))

    def _key(self, path: str) -> str:
        """Two names of one file are one file."""
        try:
            return self.root.resolve(path)
        except GuestError as error:
            if error.code != "guest_not_found":
                raise
            return path
