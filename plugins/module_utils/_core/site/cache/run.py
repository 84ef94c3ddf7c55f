# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run did, or would do: the lists of actions, and where each file lies before and after it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ...outcome import Outcome

if t.TYPE_CHECKING:
    import sqlite3

    from ...errors import VmimagesError
    from .plan import Step

#: The lists of a run, as results name them.
LISTS: t.Final = (
    "downloaded",
    "moved",
    "restored",
    "verified",
    "damaged",
    "purged",
    "unwanted",
    "derived",
    "underived",
    "failures",
)


@dataclass
class Run:
    """What one run of `sync` has done so far, or what its rehearsal found that it would do."""

    downloaded: list[dict[str, t.Any]] = field(default_factory=list)
    moved: list[dict[str, t.Any]] = field(default_factory=list)
    restored: list[dict[str, t.Any]] = field(default_factory=list)
    verified: list[dict[str, t.Any]] = field(default_factory=list)
    damaged: list[dict[str, t.Any]] = field(default_factory=list)
    purged: list[dict[str, t.Any]] = field(default_factory=list)
    unwanted: list[dict[str, t.Any]] = field(default_factory=list)
    derived: list[dict[str, t.Any]] = field(default_factory=list)
    underived: list[dict[str, t.Any]] = field(default_factory=list)
    failures: list[dict[str, t.Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    before: dict[str, str] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)

    def place(self, name: str, before: str, after: str) -> None:
        """The file `name` goes from one place to another; for the difference its first and its last one count."""
        self.before.setdefault(name, before)
        self.after[name] = after

    def arrived(self, step: Step, entry: dict[str, t.Any], *, moved: bool) -> None:
        """A file in `current` was found to be as it should be; it was `moved` there, or lay there before."""
        if step.action == "download":
            self.downloaded.append(entry)
            self.place(step.name, "absent", "current")
        elif moved:
            self.restored.append(entry)
            self.place(step.name, "expired", "current")
        else:
            self.verified.append(entry)

    def fail(self, step: Step, error: VmimagesError) -> None:
        """One image's failure, which stops no other; a step that is tried again is told once."""
        self.fail_image(step.row, error)

    def fail_image(self, row: sqlite3.Row, error: VmimagesError) -> None:
        """The failure of the image of an index row."""
        failure = {"list": row["list_id"], "image": row["image_id"], **error.as_dict()}
        if failure not in self.failures:
            self.failures.append(failure)

    def outcome(self) -> Outcome:
        """The result of the run."""
        before = (*self.moved, *self.damaged, *self.restored, *self.downloaded)
        changes = (*before, *self.underived, *self.derived, *self.purged)
        return Outcome(
            changed=bool(changes),
            before=self.before,
            after=self.after,
            actions=(*changes, *self.verified),
            warnings=tuple(self.warnings),
            data={name: getattr(self, name) for name in LISTS},
        )
