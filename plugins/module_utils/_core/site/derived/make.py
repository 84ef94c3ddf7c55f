# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of a run that is about derived files: they follow the files that they were made of."""

from __future__ import annotations

import sqlite3
import typing as t
from dataclasses import dataclass, field

from ...errors import TransferError
from ...transfer.checksum import digest_file
from ..store.state import locked
from . import plan, work
from .known import unchanged

if t.TYPE_CHECKING:
    from ..cache.plan import Names, Scope
    from ..cache.room.in_use import InUse
    from ..cache.room.space import Room
    from ..cache.run import Run
    from ..cache.scrub import Pace
    from ..cache.watch import Watch
    from ..store.catalogue import Catalogue
    from ..upkeep import Upkeep


@dataclass
class Derivations:
    """What one run does about derived files, or would do."""

    catalogue: Catalogue
    run: Run
    upkeep: Upkeep
    room: Room
    in_use: InUse
    scope: Scope
    watch: Watch
    pace: Pace
    _damaged: set[str] = field(default_factory=set)

    def clean(self) -> None:
        """Remove those whose source has left `current`."""
        work.clean(self.catalogue, self.run, self.in_use)

    def make(self, reread: Names, *, only_damaged: bool) -> None:
        """Read again those that are meant, and make those that are missing; or only those that were damaged."""
        self.clean()
        for row in self._to_read(reread):
            self._read(row)
        tasks = self._tasks(plan.present(self.catalogue), only_damaged)
        if not tasks:
            return
        with locked(self.catalogue.state.path / "cache" / "derived.lock"):
            self.catalogue.catch_up()
            # Others may have made these very files while this run waited for them.
            tasks = self._tasks(plan.present(self.catalogue), only_damaged)
            work.make(self.catalogue, tasks, self.run, self.room, most=self.upkeep.max_unpacked, watch=self.watch)
        self.run.derived.sort(key=lambda entry: str(entry["name"]))

    def rehearse(self, present: t.Collection[str], reread: Names, *, only_damaged: bool) -> None:
        """What `make` would do with these files in `current`; what is read is read, making is taken to succeed."""
        gone = {row["name"] for row in plan.orphans(self.catalogue, present)}
        for row in plan.orphans(self.catalogue, present):
            self._would_remove(row, "source_gone")
        for row in self._to_read(reread):
            if row["name"] not in gone and not self._is_good(row):
                self._damaged.add(row["name"])
                self._would_remove(row, "damaged")
        for task in self._tasks(present, only_damaged):
            if task.error is not None:
                self.run.fail_image(task.row, task.error)
            for wanted in task.formats:
                entry = task.entry(wanted)
                self.run.derived.append(entry)
                self.run.place(entry["name"], "absent", "derived")
        self.run.derived.sort(key=lambda entry: str(entry["name"]))

    def purge(self) -> None:
        """Remove those that nobody asks for any more."""
        work.unwanted(self.catalogue, self._wanted(), self.run, self.in_use)

    def rehearse_purge(self) -> None:
        """What `purge` would do."""
        told = {item["name"] for item in self.run.underived}
        wanted = self._wanted()
        for row in self.catalogue.rows("SELECT * FROM derived ORDER BY name"):
            if row["name"] not in wanted and row["name"] not in told:
                self._would_remove(row, "not_wanted")

    def _wanted(self) -> set[str]:
        return plan.wanted_names(self.catalogue, plan.present(self.catalogue), self.upkeep.formats)

    def _tasks(self, present: t.Collection[str], only_damaged: bool) -> list[plan.Task]:
        upkeep = self.upkeep
        if only_damaged and not self._damaged:
            return []
        names = self._damaged if only_damaged else None
        return plan.tasks(
            self.catalogue, present, self.scope, upkeep.formats, upkeep.max_unpacked, damaged=self._damaged, only=names
        )

    def _to_read(self, reread: Names) -> list[sqlite3.Row]:
        rows = self.catalogue.rows("SELECT * FROM derived ORDER BY name")
        return [row for row in rows if reread(row["name"])]

    def _read(self, row: sqlite3.Row) -> None:
        if self._is_good(row):
            with self.catalogue.writing() as writer:
                writer.commit(("scrubbed", {"name": row["name"]}))
            return
        self._damaged.add(row["name"])
        work.remove_damaged(self.catalogue, row, self.run)

    def _is_good(self, row: sqlite3.Row) -> bool:
        path = self.catalogue.state.derived / row["name"]
        before = 0

        def report(done: int, total: int) -> None:
            nonlocal before
            self.pace.took(done - before)
            before = done
            self.watch(row["name"], done, total)

        if unchanged(path, row) is None:
            return False
        try:
            digest = digest_file(path, follow=False, progress=report, uncached=True)
        except TransferError:
            return False
        return (digest.size, digest.sha512) == (row["size"], row["sha512"])

    def _would_remove(self, row: sqlite3.Row, code: str) -> None:
        path = self.catalogue.state.derived / row["name"]
        why = self.in_use.why(path) if code != "damaged" else ""
        if why:
            self.run.warnings.append(work.kept(path, why))
            return
        self.run.underived.append(work.removal(row, code))
        self.run.place(row["name"], "derived", "absent")
