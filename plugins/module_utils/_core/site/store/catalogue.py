# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local catalogue: an opened state directory, its index caught up with the journal, and the way to change it.

Commit order: the message is on disk, then the journal line (*the* commit point), then the index, which has taken the
line in before and ends its transaction now, then the snapshot. A crash anywhere leaves the old state or the new one:
what the index lacks is replayed from the journal when it is opened, and a snapshot older than the journal is refused by
its readers.
"""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import typing as t
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...errors import SiteError
from ...times import utc_now
from . import index, journal, preload, witness
from .state import StateDirectory, as_owner, locked, user_name


@dataclass
class Catalogue:
    """An open catalogue. Use `Catalogue.open`; change it only through `writing`."""

    state: StateDirectory
    connection: sqlite3.Connection
    clock: t.Callable[[], datetime]
    actor: str
    warn: t.Callable[[str], None]

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        path: str | Path,
        *,
        index_path: str | Path | None = None,
        create: bool = False,
        dry: bool = False,
        clock: t.Callable[[], datetime] = utc_now,
        actor: str | None = None,
        warn: t.Callable[[str], None] = lambda text: None,
        load: t.Callable[[], None] = preload.everything,
        accept_journal: bool = False,
    ) -> t.Iterator[Catalogue]:
        """Open the state directory at `path` as its owner.

        With `create` it is made if need be; with `dry` as well, the catalogue of a site that begins is made in a place
        of its own that is gone at the end, so that a plan can be told and nothing is left. `warn` hears of what did not
        work beside the change itself. `load` imports what will be needed before root becomes the owner; a gate has
        `preload.judging` for it. With `accept_journal` the journal is believed as it is, and the index made anew.
        Refuses with ``state_missing`` (unless `create`), ``state_owner``, ``state_newer``,
        ``journal_damaged``, ``not_readable``, and ``disk_full``, ``not_writable`` or ``state_busy`` where the index
        cannot be used.
        """
        state = StateDirectory.at(path, index=index_path)
        acting = actor or user_name()
        with contextlib.ExitStack() as stack:
            if create and dry and not (state.exists() or state.holds_messages()):
                state = StateDirectory.at(stack.enter_context(tempfile.TemporaryDirectory(prefix="vmimages-")))
            stack.enter_context(as_owner(state.path, load=load))
            state.prepare(create=create)
            stack.enter_context(index.faults(state.index))
            catalogue = cls(state, index.connect(state.index), clock, acting, warn)
            try:
                catalogue._begin(accept_journal=accept_journal)
                yield catalogue
            finally:
                catalogue.connection.close()

    def now(self) -> datetime:
        """The present time, aware."""
        return self.clock()

    def load(self, name: str, digest: str) -> bytes:
        """An archived message, as it was accepted."""
        from . import archive

        return archive.load(self.state.messages, name, digest)

    def rows(self, statement: str, *values: t.Any) -> list[sqlite3.Row]:
        """The rows of one query."""
        with index.faults(self.state.index):
            return self.connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: t.Any) -> sqlite3.Row | None:
        """The first row of one query, if there is one."""
        with index.faults(self.state.index):
            found: sqlite3.Row | None = self.connection.execute(statement, values).fetchone()
        return found

    def standing_version(self, list_id: str) -> sqlite3.Row | None:
        """What was accepted last for a list: its row of `versions`; None while nothing was."""
        return self.row("SELECT * FROM versions WHERE list_id = ? ORDER BY sequence DESC", list_id)

    def note(self, statement: str, *values: t.Any) -> None:
        """Write to this host's own tables (`polls`, `paths`), which no journal line speaks of."""
        with index.faults(self.state.index):
            self.connection.execute(statement, values)

    def note_all(self, statement: str, rows: t.Sequence[t.Sequence[t.Any]]) -> None:
        """The same with many rows of values, in one transaction."""
        if rows:
            with index.faults(self.state.index), index.immediate(self.connection):
                self.connection.executemany(statement, rows)

    def head(self) -> journal.Head:
        """The last journal line that the index has taken in."""
        with index.faults(self.state.index):
            return index.head(self.connection)

    def catch_up(self) -> None:
        """Take in the journal lines that others wrote; ``journal_damaged`` where lines that were known are missing."""
        self._require_journal()
        if self._behind():
            with index.faults(self.state.index), index.immediate(self.connection):
                self._replay()

    def rebuild(self) -> None:
        """Make the index anew from the journal and the archived messages.

        The notes of this host are kept, unless the index is damaged: then it is thrown away first.
        """
        self._require_journal()
        self._renew()

    def _require_journal(self) -> None:
        reason = witness.missing(self.state, self.head())
        if reason:
            raise SiteError("journal_damaged", reason, path=str(self.state.journal))

    def _accept_journal(self) -> None:
        """Go on with the lines that there are, whatever was known of others; that this was done is a line itself."""
        with locked(self.state.path / "lock"):
            reason = witness.missing(self.state, self.head())
            self._renew()
            if reason:
                self.append([("journal_accepted", {"missing": reason})])

    def _renew(self) -> None:
        try:
            self._rebuild()
        except SiteError as error:
            if error.code != "index_damaged":
                raise
            self._discard_index()
            self._rebuild()

    def _begin(self, *, accept_journal: bool) -> None:
        begin = self._accept_journal if accept_journal else self.catch_up
        try:
            begin()
        except SiteError as error:
            if error.code != "index_damaged":
                raise
            self._discard_index()
            begin()

    def _discard_index(self) -> None:
        self.connection.close()
        index.discard(self.state.index)
        self.connection = index.connect(self.state.index)

    def _rebuild(self) -> None:
        with index.faults(self.state.index), index.immediate(self.connection):
            for table in index.DERIVED:
                self.connection.execute(f"DELETE FROM {table}")
            index.set_head(self.connection, journal.Head())
            self._replay()

    def append(self, events: t.Sequence[tuple[str, t.Mapping[str, t.Any]]]) -> None:
        """Write journal lines and take them into the index; for whoever holds the writers' lock.

        The index takes them in first, in a transaction that ends when the lines are on disk: a line that it cannot
        take in is not written, for nobody could read what follows it.
        """
        path, head = self.state.journal, self.head()
        lines = journal.compose(path, events, head=head, at=self.now(), by=self.actor)
        with index.faults(self.state.index), index.immediate(self.connection):
            self._take_in(entry for entry, _line in lines)
            journal.write(path, [line for _entry, line in lines], head=head)

    @contextlib.contextmanager
    def writing(self) -> t.Iterator[Writer]:
        """Hold the writers' lock, caught up with all that others committed."""
        with locked(self.state.path / "lock"):
            self.catch_up()
            yield Writer(self)

    def _behind(self) -> bool:
        try:
            return self.state.journal.stat().st_size > self.head().end
        except FileNotFoundError:
            return False

    def _replay(self) -> None:
        # No index may outlive, in a loss of power, a line whose writer has not forced it to disk yet.
        if self._behind():
            journal.settle(self.state.journal)
        self._take_in(journal.read(self.state.journal, after=self.head()))

    def _take_in(self, entries: t.Iterable[journal.Entry]) -> None:
        from .replay import events as replay

        head = self.head()
        for entry in entries:
            replay.apply(self.connection, entry, self.load)
            head = entry.head
        index.set_head(self.connection, head)


@dataclass(frozen=True)
class Writer:
    """The right to commit, while the writers' lock is held."""

    catalogue: Catalogue

    def archive(self, identifier: str, octets: bytes) -> tuple[str, str]:
        """Store a message ahead of the ``accepted`` event that will name it: (name, SHA-256)."""
        from . import archive

        state = self.catalogue.state
        return archive.store(state.messages, identifier, self.catalogue.head().sequence + 1, octets)

    def commit(self, *events: tuple[str, t.Mapping[str, t.Any]]) -> None:
        """Write journal lines, in one piece, and take them into the index."""
        self.catalogue.append(events)
