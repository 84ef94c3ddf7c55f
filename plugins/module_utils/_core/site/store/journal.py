# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal: one hash-chained JSON line for every change; a line that is on disk is the commit.

A line holds ``seq``, ``at``, ``by``, ``event``, ``data`` and ``prev``, the SHA-256 of the line before it (64 zeros in
the first). A last line without its line end was never acknowledged: readers do not see it, the next writer removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import typing as t
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from ...errors import SiteError
from ...times import to_text
from ...transfer.atomic import fsync_directory, storage_errors

GENESIS: t.Final = "0" * 64


@dataclass(frozen=True)
class Head:
    """The last line that somebody has seen: its number, its SHA-256, where it starts and where the next one does."""

    sequence: int = 0
    digest: str = GENESIS
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Entry:
    """One line of the journal, and the head that it makes."""

    sequence: int
    at: str
    by: str
    event: str
    data: t.Mapping[str, t.Any]
    head: Head


def holds(path: Path, head: Head) -> bool:
    """Whether the journal still contains the line of `head` where it was; TransferError ``not_readable``."""
    if head.sequence == 0:
        return True
    with storage_errors(path, reading=True):
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            return False
        with stream:
            stream.seek(head.start)
            line = stream.read(max(0, head.end - head.start))
    return line.endswith(b"\n") and _digest(line) == head.digest


def read(path: Path, *, after: Head) -> t.Iterator[Entry]:
    """The complete lines after `after`, the chain checked; ``journal_damaged`` where it does not hold."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        if after.sequence:
            raise SiteError("journal_damaged", f"The journal {path} is gone.", path=str(path)) from None
        return
    with stream:
        stream.seek(after.end)
        head = after
        for line in stream:
            if not line.endswith(b"\n"):
                return
            entry = _parse(path, line, head)
            head = entry.head
            yield entry


def examine(path: Path) -> t.Iterator[Entry | SiteError]:
    """Every complete line, or what is wrong with it; reading goes on behind a line that does not follow."""
    with storage_errors(path, reading=True):
        try:
            stream = path.open("rb")
        except FileNotFoundError:
            return
    head = Head()
    with stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            try:
                entry = _parse(path, line, head)
                head = entry.head
                yield entry
            except SiteError as error:
                head = Head(_sequence(line, head.sequence + 1), _digest(line), head.end, head.end + len(line))
                yield error


def settle(path: Path) -> None:
    """Force the journal to disk: what is about to remember its lines must not survive them."""
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def compose(
    path: Path, events: t.Sequence[tuple[str, t.Mapping[str, t.Any]]], *, head: Head, at: datetime, by: str
) -> list[tuple[Entry, bytes]]:
    """The lines of `events` after `head`, and the entries that a reader will find in them; nothing is written."""
    lines: list[tuple[Entry, bytes]] = []
    last = head
    for event, data in events:
        record = {
            "seq": last.sequence + 1,
            "at": to_text(at),
            "by": by,
            "event": event,
            "data": data,
            "prev": last.digest,
        }
        line = json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
        entry = _parse(path, line, last)
        lines.append((entry, line))
        last = entry.head
    return lines


def write(path: Path, lines: t.Sequence[bytes], *, head: Head) -> None:
    """Write composed `lines` after `head` and force them to disk; the caller holds the writers' lock.

    A torn line of a writer that died is cut off first. On a full disk the journal is left as it was: TransferError
    ``disk_full``, ``not_writable``.
    """
    new = not path.exists()
    with storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            if new:
                os.fchmod(descriptor, 0o644)
            _write(descriptor, b"".join(lines), head.end)
        except OSError:
            os.ftruncate(descriptor, head.end)
            raise
        finally:
            os.close(descriptor)
    if new:
        fsync_directory(path.parent)


def _write(descriptor: int, octets: bytes, offset: int) -> None:
    if os.fstat(descriptor).st_size > offset:
        os.ftruncate(descriptor, offset)
    view = memoryview(octets)
    while view:
        written = os.pwrite(descriptor, view, offset)
        offset += written
        view = view[written:]
    os.fsync(descriptor)


def _parse(path: Path, line: bytes, last: Head) -> Entry:
    try:
        record = json.loads(line)
        entry = Entry(
            sequence=record["seq"],
            at=record["at"],
            by=record["by"],
            event=record["event"],
            data=record["data"],
            head=Head(record["seq"], _digest(line), last.end, last.end + len(line)),
        )
        previous = record["prev"]
    except (ValueError, KeyError, TypeError):
        raise _damaged(path, last.sequence + 1) from None
    if previous != last.digest or entry.sequence != last.sequence + 1:
        raise _damaged(path, last.sequence + 1)
    return entry


def _sequence(line: bytes, expected: int) -> int:
    try:
        found = json.loads(line)["seq"]
    except (ValueError, KeyError, TypeError):
        return expected
    return found if isinstance(found, int) else expected


def _damaged(path: Path, sequence: int) -> SiteError:
    return SiteError(
        "journal_damaged",
        f"Line {sequence} of {path} does not follow from the line before it.",
        path=str(path),
        line=sequence,
    )


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()
