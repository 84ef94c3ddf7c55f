# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far each receiver of events has been told: ``<state>/events/cursor.json``, written after each event.

Beside it lies ``results.jsonl``: what became of the events of the present run, until it is in the journal. A crash
between an event and the cursor repeats that event, and no other.
"""

from __future__ import annotations

import json
import os
import typing as t
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from ...errors import SiteError
from ...times import from_text, to_text
from ...transfer.atomic import fsync_directory, storage_errors, sweep, write_all, write_atomic
from ..store import journal
from ..store.journal import Head
from .happenings import Happening

if t.TYPE_CHECKING:
    from ..store.state import StateDirectory

FORMAT: t.Final = 1

#: Seconds from a failure to the next attempt: one minute, then five times as long each time, a day at most.
_FIRST_DELAY: t.Final = 60
_GROWTH: t.Final = 5
_MAX_DELAY: t.Final = 86400


@dataclass(frozen=True)
class Waiting:
    """A happening that failed `attempts` times, or stands behind such a one (0), and when it may be tried again."""

    happening: Happening
    attempts: int = 0
    not_before: datetime | None = None

    def due(self, now: datetime) -> bool:
        """Whether its time has come."""
        return self.not_before is None or self.not_before <= now

    def failed(self, now: datetime) -> Waiting:
        """The same after one more failure."""
        delay = min(_FIRST_DELAY * _GROWTH ** min(self.attempts, 10), _MAX_DELAY)
        return replace(self, attempts=self.attempts + 1, not_before=now + timedelta(seconds=delay))


@dataclass
class Cursor:
    """One receiver's place: all lines up to `head`, and `done` happenings of the next line, were told or are `waiting`.

    `history`: lines up to this sequence were there before the receiver was first seen.
    """

    head: Head = field(default_factory=Head)
    done: int = 0
    history: int = 0
    waiting: list[Waiting] = field(default_factory=list)

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON; `from_dict` reads it back."""
        return {
            "head": asdict(self.head),
            "done": self.done,
            "history": self.history,
            "waiting": [
                {
                    "happening": item.happening.as_dict(),
                    "attempts": item.attempts,
                    "not_before": to_text(item.not_before) if item.not_before else None,
                }
                for item in self.waiting
            ],
        }

    @classmethod
    def from_dict(cls, data: t.Mapping[str, t.Any]) -> Cursor:
        """What `as_dict` wrote."""
        return cls(
            head=Head(**data["head"]),
            done=data["done"],
            history=data["history"],
            waiting=[
                Waiting(
                    Happening.from_dict(item["happening"]),
                    item["attempts"],
                    from_text(item["not_before"]) if item["not_before"] else None,
                )
                for item in data["waiting"]
            ],
        )


@dataclass
class Cursors:
    """All cursors of a site: of the handlers by their file names, and of the mail."""

    directory: Path
    receivers: dict[str, Cursor] = field(default_factory=dict)
    _written: bytes = b""

    @classmethod
    def load(cls, directory: Path) -> Cursors:
        """Those that were saved; none where there are none yet. Raises ``state_newer``, ``not_readable``.

        A file that is damaged is as good as none: everything that still matters is told again.
        """
        try:
            octets = (directory / "cursor.json").read_bytes()
        except FileNotFoundError:
            return cls(directory)
        except OSError as error:
            raise SiteError("not_readable", f"{directory} cannot be read: {error.strerror}.") from error
        try:
            document = json.loads(octets)
            if document["format"] > FORMAT:
                raise SiteError("state_newer", f"{directory} has format {document['format']}, not {FORMAT}.")
            return cls(
                directory, {name: Cursor.from_dict(item) for name, item in document["receivers"].items()}, octets
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(directory)

    def of(self, name: str, path: Path, head: Head) -> Cursor:
        """A receiver's cursor; it begins anew when it is first seen, or when the journal at `path` was exchanged."""
        cursor = self.receivers.get(name)
        if cursor is None or not journal.holds(path, cursor.head):
            cursor = self.receivers[name] = Cursor(history=head.sequence)
        return cursor

    def waiting(self) -> list[dict[str, t.Any]]:
        """What failed and waits for its next attempt, or stands behind such a thing."""
        return [
            {
                "receiver": name,
                "kind": item.happening.kind,
                "list": item.happening.list,
                "image": item.happening.image or None,
                "of": item.happening.sequence,
                "attempts": item.attempts,
                "not_before": to_text(item.not_before) if item.not_before else None,
            }
            for name, cursor in sorted(self.receivers.items())
            for item in cursor.waiting
        ]

    def save(self) -> None:
        """Force the cursors to disk, if they have moved."""
        receivers = {name: cursor.as_dict() for name, cursor in self.receivers.items()}
        octets = json.dumps({"format": FORMAT, "receivers": receivers}, sort_keys=True, indent=1).encode() + b"\n"
        if octets != self._written:
            write_atomic(self.directory / "cursor.json", octets, mode=0o644)
            self._written = octets


@dataclass(frozen=True)
class Results:
    """What became of the events of a run: kept here until no handler runs any more and the journal takes it over."""

    path: Path

    def add(self, records: t.Sequence[tuple[str, t.Mapping[str, t.Any]]]) -> None:
        """Force further records, journal events and their data, to disk."""
        octets = b"".join(json.dumps([event, data]).encode() + b"\n" for event, data in records)
        with storage_errors(self.path):
            descriptor = os.open(
                self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644
            )
            try:
                write_all(descriptor, octets)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def take(self) -> list[tuple[str, dict[str, t.Any]]]:
        """All records; a line that a killed writer left unfinished is not one."""
        try:
            lines = self.path.read_bytes().splitlines(keepends=True)
        except FileNotFoundError:
            return []
        records = []
        for line in lines:
            try:
                event, data = json.loads(line)
            except ValueError:
                continue
            records.append((event, data))
        return records

    def clear(self) -> None:
        """They are in the journal now."""
        with storage_errors(self.path):
            self.path.unlink(missing_ok=True)


def prepare(state: StateDirectory) -> Path:
    """The directory of the cursors, made if need be."""
    directory = state.path / "events"
    if not directory.is_dir():
        with storage_errors(directory):
            directory.mkdir(mode=0o755, exist_ok=True)
        fsync_directory(state.path)
    return directory


def tidy(directory: Path) -> None:
    """Remove what killed runs left half-written; the caller holds the dispatchers' lock."""
    sweep(directory)
