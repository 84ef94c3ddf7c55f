# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache: `downloading`, `current` and `expired`, brought to what the lists and the site's decisions say.

A file enters `current` by one rename, after all of its octets were verified and the verdict was asked again; the
journal line follows. A crash in between leaves a verified file that the next run reads and takes in.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import typing as t
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path

from ...errors import TransferError, VmimagesError
from ...outcome import Outcome
from ...times import from_text
from ...transfer.atomic import replace, storage_errors
from ..judgement import snapshot
from ..judgement.assess import stat_record, subscription_of
from ..store.state import locked
from . import files, octets
from .octets import Progress
from .plan import Step, is_wanted, plan, unknown_files

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue, Writer


@dataclass
class _Run:
    """What one run of `sync` has done so far."""

    downloaded: list[dict[str, t.Any]] = field(default_factory=list)
    moved: list[dict[str, t.Any]] = field(default_factory=list)
    restored: list[dict[str, t.Any]] = field(default_factory=list)
    verified: list[dict[str, t.Any]] = field(default_factory=list)
    damaged: list[dict[str, t.Any]] = field(default_factory=list)
    purged: list[dict[str, t.Any]] = field(default_factory=list)
    unwanted: list[dict[str, t.Any]] = field(default_factory=list)
    failures: list[dict[str, t.Any]] = field(default_factory=list)

    def changed(self) -> bool:
        return bool(self.downloaded or self.moved or self.restored or self.damaged or self.purged)

    def data(self) -> dict[str, t.Any]:
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def fail(self, step: Step, error: VmimagesError) -> None:
        self.failures.append({"list": step.row["list_id"], "image": step.row["image_id"], **error.as_dict()})


def sync(
    catalogue: Catalogue,
    *,
    lists: t.Sequence[str] = (),
    images: t.Sequence[str] = (),
    verify: bool = False,
    purge_expired: timedelta | None = None,
    max_parallel: int = 2,
    check: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Bring the cache to what is endorsed, approved and selected; for everything, or for the lists and images named.

    Files that lost their endorsement or approval move to `expired` first, then what is missing is downloaded,
    `max_parallel` images at once. `verify` reads every cached file again; `purge_expired` deletes what has been in
    `expired` for that long. One image's failure is reported under ``failures`` and stops no other.
    Raises ``unknown_list``, ``unknown_image``, and ``state_busy`` when another run is downloading.
    """
    if check:
        return _planned(catalogue, plan(catalogue, lists=lists, images=images, verify=verify), purge_expired)
    run = _Run()
    with catalogue.writing() as writer:
        steps = plan(catalogue, lists=lists, images=images, verify=verify)
        for step in steps:
            if step.action in ("expire", "restore"):
                _move(writer, step, run)
    rest = [step for step in steps if step.action in ("read", "download")]
    if rest or files.leftovers(catalogue):
        with locked(catalogue.state.path / "cache" / "lock"):
            files.clear_downloading(catalogue)
            _work(catalogue, rest, run, max_parallel=max_parallel, progress=progress)
    if purge_expired is not None:
        _purge(catalogue, purge_expired, run)
    files.update(catalogue)
    if run.changed():
        snapshot.write(catalogue)
    else:
        snapshot.ensure(catalogue)
    return _report(catalogue, run)


def _move(writer: Writer, step: Step, run: _Run) -> None:
    """Rename between `current` and `expired`, then commit; finishes the move of a run that died in between."""
    state = writer.catalogue.state
    source, target = state.current / step.name, state.expired / step.name
    if step.action == "restore":
        source, target = target, source
    try:
        if stat_record(source) is not None:
            replace(source, target)
        stat = stat_record(target)
        if stat is None:
            _commit(writer, "lost", step)
        elif step.action == "restore":
            _commit(writer, "cached", step, stat=stat)
            run.restored.append(step.as_dict())
            return
        else:
            _commit(writer, "expired", step, stat=stat, code=step.code)
        run.moved.append(step.as_dict())
    except VmimagesError as error:
        run.fail(step, error)


def _work(
    catalogue: Catalogue, steps: t.Sequence[Step], run: _Run, *, max_parallel: int, progress: Progress | None
) -> None:
    """Read and download in threads; everything that touches the catalogue happens in this one."""
    files.write_downloading(catalogue, [step for step in steps if step.action == "download"])
    waiting = deque(steps)
    running: dict[Future[octets.Verified], Step] = {}
    stopped = threading.Event()
    with ThreadPoolExecutor(max_workers=max(1, max_parallel)) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < max(1, max_parallel):
                    step = waiting.popleft()
                    if _still_wanted(catalogue, step, run):
                        running[_start(catalogue, pool, step, progress, stopped)] = step
                for future in wait(running, return_when=FIRST_COMPLETED).done if running else ():
                    again = _finish(catalogue, running.pop(future), future, run)
                    if again is not None:
                        waiting.appendleft(again)
        finally:
            stopped.set()
    files.write_downloading(catalogue, [])


def _still_wanted(catalogue: Catalogue, step: Step, run: _Run) -> bool:
    """Ask for the verdict again before the octets move: the steps before this one may have taken hours."""
    catalogue.catch_up()
    wanted, code = is_wanted(catalogue, step.row)
    if not wanted:
        run.unwanted.append({**step.as_dict(), "code": code})
    return wanted


def _start(
    catalogue: Catalogue,
    pool: ThreadPoolExecutor,
    step: Step,
    progress: Progress | None,
    stopped: threading.Event,
) -> Future[octets.Verified]:
    row = step.row
    if step.source is not None:
        return pool.submit(octets.read, step.source, size=row["size"], sha512=row["sha512"])
    policy = subscription_of(catalogue, row["list_id"]).policy(content=True)
    return pool.submit(octets.download, row, catalogue.state.downloading, step.name, policy, progress, stopped)


def _finish(catalogue: Catalogue, step: Step, future: Future[octets.Verified], run: _Run) -> Step | None:
    """Take in what a thread has verified; a damaged file is put aside, and its download returned as the next step."""
    try:
        done = future.result()
        with catalogue.writing() as writer:
            _admit(writer, step, done, run)
    except VmimagesError as error:
        if step.action == "read" and error.code == "checksum_mismatch":
            return _quarantine(catalogue, step, run)
        run.fail(step, error)
    return None


def _admit(writer: Writer, step: Step, done: octets.Verified, run: _Run) -> None:
    """Ask again whether the image is wanted, and only then let the file into `current`."""
    catalogue = writer.catalogue
    wanted, code = is_wanted(catalogue, step.row)
    target = catalogue.state.current / step.name
    if not wanted:
        if step.action == "download":
            with contextlib.suppress(FileNotFoundError):
                done.path.unlink()
            run.unwanted.append({**step.as_dict(), "code": code})
        return
    if stat_record(done.path) != done.stat:
        raise TransferError("checksum_mismatch", f"{done.path} was changed by somebody else.", path=str(done.path))
    if done.path != target:
        replace(done.path, target)
    stat = stat_record(target) or {}
    record = catalogue.row("SELECT * FROM files WHERE name = ? AND state = 'current'", step.name)
    if record is None or any(record[key] != stat[key] for key in stat):
        _commit(writer, "cached", step, stat=stat, octets=done.octets)
    entry = {**step.as_dict(), "path": str(target), "octets": done.octets, "seconds": round(done.seconds, 3)}
    if step.action == "download":
        run.downloaded.append(entry)
    elif done.path != target:
        run.restored.append(entry)
    else:
        run.verified.append(entry)


def _quarantine(catalogue: Catalogue, step: Step, run: _Run) -> Step | None:
    """Put a file that is not what it should be aside, as evidence, and ask for a fresh one."""
    source = t.cast(Path, step.source)
    aside = catalogue.state.expired / f"{step.name}.damaged"
    try:
        with catalogue.writing() as writer:
            replace(source, aside)
            _commit(writer, "lost", step)
            _commit(writer, "damaged", step, name=aside.name, stat=stat_record(aside) or {}, code="file_changed")
    except VmimagesError as error:
        run.fail(step, error)
        return None
    run.damaged.append({**step.as_dict(), "name": aside.name})
    return Step("download", step.name, step.row)


def _purge(catalogue: Catalogue, grace: timedelta, run: _Run) -> None:
    with catalogue.writing() as writer:
        for row in _purgeable(catalogue, grace):
            with storage_errors(catalogue.state.expired / row["name"]), contextlib.suppress(FileNotFoundError):
                (catalogue.state.expired / row["name"]).unlink()
            writer.commit(("purged", {"name": row["name"]}))
            run.purged.append(_purge_action(row))


def _purgeable(catalogue: Catalogue, grace: timedelta) -> list[sqlite3.Row]:
    rows = catalogue.rows("SELECT * FROM files WHERE state <> 'current' ORDER BY name")
    return [row for row in rows if from_text(row["at"]) + grace <= catalogue.now()]


def _purge_action(row: sqlite3.Row) -> dict[str, t.Any]:
    return {"action": "purge", "image": row["image_id"], "list": row["list_id"], "name": row["name"]}


def _commit(writer: Writer, event: str, step: Step, *, name: str | None = None, **data: t.Any) -> None:
    row = step.row
    record = {
        "name": name or step.name,
        "list": row["list_id"],
        "image": row["image_id"],
        "version": row["version"],
        "sha512": row["sha512"],
    }
    writer.commit((event, {**record, **data}))


def _planned(catalogue: Catalogue, steps: t.Sequence[Step], grace: timedelta | None) -> Outcome:
    actions = [step.as_dict() for step in steps]
    if grace is not None:
        actions += [_purge_action(row) for row in _purgeable(catalogue, grace)]
    changing = [action for action in actions if action["action"] != "read"]
    before, after = _meaning(changing)
    return Outcome(changed=bool(changing), before=before, after=after, actions=tuple(actions), data=_Run().data())


def _report(catalogue: Catalogue, run: _Run) -> Outcome:
    changes = [*run.moved, *run.damaged, *run.restored, *run.downloaded, *run.purged]
    before, after = _meaning(changes)
    return Outcome(
        changed=run.changed(),
        before=before,
        after=after,
        actions=(*changes, *run.verified),
        warnings=tuple(
            f"{catalogue.state.current / name} is no file of this cache; it was left alone."
            for name in unknown_files(catalogue)
        ),
        data=run.data(),
    )


#: An action, and where its file lies before and after it.
_PLACES: t.Final[t.Mapping[str, tuple[str, str]]] = {
    "download": ("absent", "current"),
    "restore": ("expired", "current"),
    "read": ("current", "damaged"),
    "expire": ("current", "expired"),
    "purge": ("expired", "absent"),
}


def _meaning(actions: t.Sequence[t.Mapping[str, t.Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """For the diff: file name -> place, before and after."""
    return (
        {action["name"]: _PLACES[action["action"]][0] for action in actions},
        {action["name"]: _PLACES[action["action"]][1] for action in actions},
    )
