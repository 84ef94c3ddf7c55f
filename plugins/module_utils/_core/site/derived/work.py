# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Making what is missing of derived files, and removing those whose source has gone.

Each is made in a directory that only this run knows, and gets its name and its journal line in one piece of work under
the writers' lock, where its source is asked once more whether it is still the verified file. A crash in between leaves
a file that no line names: the next run removes it.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
import typing as t
from pathlib import Path

from ...errors import DiskError, TransferError, VmimagesError, unexpected
from ...transfer.atomic import listed, make_directory, replace, storage_errors
from ..cache.plan import proves, record_of
from ..judgement.records import stat_record
from .plan import Task, orphans, present

if t.TYPE_CHECKING:
    import sqlite3

    from ...disks.derive import Derived
    from ..cache.room.in_use import InUse
    from ..cache.room.space import Room
    from ..cache.run import Run
    from ..cache.watch import Watch
    from ..store.catalogue import Catalogue, Writer

WORK: t.Final = ".work"
#: What octets are, and not what a disk or a host lacks at the moment: it will be the same next time.
LASTING: t.Final = frozenset(
    {
        "archive_disks",
        "archive_unsafe",
        "backing_file",
        "disk_damaged",
        "disk_unsupported",
        "external_file",
        "format_mismatch",
        "unpack_failed",
        "unpacked_too_large",
    }
)


def clean(catalogue: Catalogue, run: Run, in_use: InUse) -> None:
    """Remove derived files without a source, and what no journal line names; what is in use stays, with a warning."""
    place = catalogue.state.derived
    if not place.is_dir():
        return
    if not orphans(catalogue, present(catalogue)) and not _strangers(catalogue):
        return
    with catalogue.writing() as writer:
        for row in orphans(catalogue, present(catalogue)):
            _remove(writer, row, run, in_use, "source_gone")
        for path in _strangers(catalogue):
            with storage_errors(path):
                path.unlink(missing_ok=True)


def unwanted(catalogue: Catalogue, wanted: t.Collection[str], run: Run, in_use: InUse) -> None:
    """Remove derived files that nobody asks for any more; `wanted` are the names that somebody does."""
    with catalogue.writing() as writer:
        for row in catalogue.rows("SELECT * FROM derived ORDER BY name"):
            if row["name"] not in wanted:
                _remove(writer, row, run, in_use, "not_wanted")


def make(
    catalogue: Catalogue,
    tasks: t.Sequence[Task],
    run: Run,
    room: Room,
    *,
    most: int,
    watch: Watch,
) -> None:
    """Make what is to be made, one file after the other; what fails is told in the run, and stops no other.

    The caller holds the lock of all derivations.
    """
    place = catalogue.state.derived
    make_directory(place)
    work = place / WORK
    for task in tasks:
        if task.error is not None:
            run.fail_image(task.row, task.error)
            continue
        with storage_errors(work):
            shutil.rmtree(work, ignore_errors=True)
            own = work / secrets.token_hex(8)
            own.mkdir(parents=True)
        watch.begin(task.name, "derive", task.row)
        try:
            _make(catalogue, task, run, room, own, most, watch)
        except VmimagesError as error:
            run.fail_image(task.row, error)
            _remember(catalogue, task, error, most)
        finally:
            watch.end(task.name)
            shutil.rmtree(work, ignore_errors=True)


def _make(catalogue: Catalogue, task: Task, run: Run, room: Room, work: Path, most: int, watch: Watch) -> None:
    source = catalogue.state.current / task.name
    _require_verified(catalogue, task, source)
    full = room.watch(task.name)

    def guard(done: int) -> None:
        full(done)
        watch(task.name, done, 0)

    started = time.monotonic()
    if task.stated is None:
        return
    from ...disks.derive import derive

    for made in _each(derive(source, task.stated, task.formats, work, most=most, guard=guard)):
        with catalogue.writing() as writer:
            _admit(writer, task, made, source, run, time.monotonic() - started)
        started = time.monotonic()


def _each(made: t.Iterator[Derived]) -> t.Iterator[Derived]:
    """What is made. No image is so odd that the others are not attended to."""
    try:
        yield from made
    except VmimagesError:
        raise
    except Exception as error:
        raise unexpected(error, "image") from error


def _admit(writer: Writer, task: Task, made: Derived, source: Path, run: Run, seconds: float) -> None:
    catalogue = writer.catalogue
    _require_verified(catalogue, task, source)
    entry = task.entry(made.format)
    target = catalogue.state.derived / entry["name"]
    replace(made.path, target)
    found = stat_record(target)
    if found is None:
        raise TransferError("not_found", f"{target} was taken away by somebody else.", path=str(target))
    record = {
        "name": entry["name"],
        "source": task.name,
        "source_sha512": task.row["sha512"],
        "source_format": str(task.stated),
        "image": task.row["image_id"],
        "list": task.row["list_id"],
        "version": task.row["version"],
        "format": made.format,
        "sha512": made.sha512,
        "virtual_size": made.virtual_size,
        "stat": found,
    }
    writer.commit(("derived", record))
    done = {
        "path": str(target),
        "size": made.size,
        "sha512": made.sha512,
        "virtual_size": made.virtual_size,
        "seconds": round(seconds, 3),
    }
    run.derived.append({**entry, **done})
    run.place(entry["name"], "absent", "derived")


def _require_verified(catalogue: Catalogue, task: Task, source: Path) -> None:
    """That the source is, untouched, the verified file; before it is read, and after."""
    record, found = record_of(catalogue, task.name), stat_record(source)
    if found is None or record is None or record["state"] != "current" or not proves(record, found, task.row):
        raise DiskError("file_changed", f"{source} is no longer the verified file.", path=str(source))


def remove_damaged(catalogue: Catalogue, row: sqlite3.Row, run: Run) -> None:
    """Take away a derived file that is not what was made, whoever uses it: it is made anew."""
    with catalogue.writing() as writer:
        _remove(writer, row, run, None, "damaged")


def _remove(writer: Writer, row: sqlite3.Row, run: Run, in_use: t.Optional[InUse], code: str) -> None:
    path = writer.catalogue.state.derived / row["name"]
    why = in_use.why(path) if in_use is not None else ""
    if why:
        run.warnings.append(kept(path, why))
        return
    with storage_errors(path):
        path.unlink(missing_ok=True)
    writer.commit(("underived", {"name": row["name"], "code": code}))
    run.underived.append(removal(row, code))
    run.place(row["name"], "derived", "absent")


def kept(path: Path, why: str) -> str:
    """The warning about a file that stays because it is in use."""
    return f"{path} is {why}; it was not removed."


def removal(row: sqlite3.Row, code: str) -> dict[str, t.Any]:
    """The removal of a derived file, for the list of actions."""
    return {"action": "underive", "name": row["name"], "format": row["format"], "code": code}


def _strangers(catalogue: Catalogue) -> list[Path]:
    """Files that no journal line names: a crash came between a file's name and its line."""
    named = {row["name"] for row in catalogue.rows("SELECT name FROM derived")}
    place = catalogue.state.derived
    return [
        path
        for path in listed(place)
        if path.name not in named and path.name != "catalogue.json" and not path.name.startswith(".")
    ]


def _remember(catalogue: Catalogue, task: Task, error: VmimagesError, most: int) -> None:
    """That nothing can be made of these octets: not to be tried every hour."""
    if error.code in LASTING:
        with contextlib.suppress(VmimagesError):
            catalogue.note(
                "INSERT OR REPLACE INTO underivable VALUES (?, ?, ?, ?, ?)",
                task.row["sha512"],
                str(task.stated),
                most,
                error.code,
                error.detail,
            )
