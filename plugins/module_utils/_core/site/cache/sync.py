# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache: `downloading`, `current`, `expired` and `derived`, brought to what the lists and the site's decisions say.

A file enters `current` by one rename, after all of its octets were verified and the verdict was asked again; the
journal line follows. A crash in between leaves a verified file that the next run reads and takes in.
"""

from __future__ import annotations

import dataclasses
import typing as t
from datetime import timedelta
from pathlib import Path

from ...errors import SiteError, VmimagesError
from ...outcome import Outcome
from ..derived.make import Derivations
from ..store.state import locked
from ..upkeep import NO_LIMITS, Upkeep
from . import files, moves
from .plan import Step, none, plan, row_of, scope_of, unknown_files
from .rehearsal import Rehearsal
from .room.in_use import InUse
from .room.purge import purge, relieve
from .room.space import Room
from .run import LISTS, Run
from .scrub import INTERVAL, Pace, due
from .verdicts import Verdicts
from .watch import Progress, Watch
from .work import USUAL, Limits, Work

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue
    from ..store.journal import Head

_MOVES: t.Final = ("expire", "restore")

#: Whether files are read again that have not been for long: not at all, beside the other work, or as the only work.
Scrub = t.Literal["no", "also", "only"]
_Planner = t.Callable[[], "list[Step]"]


def sync(
    catalogue: Catalogue,
    *,
    lists: t.Sequence[str] = (),
    images: t.Sequence[str] = (),
    verify: bool = False,
    scrub: Scrub = "no",
    purge_expired: timedelta | None = None,
    limits: Limits = USUAL,
    upkeep: Upkeep = NO_LIMITS,
    check: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Bring the cache to what is endorsed, approved and selected; for everything, or for the lists and images named.

    Files that lost their endorsement or approval move to `expired` first, then what is missing is downloaded, within
    the `limits`; what an earlier run has of it is gone on with. What does not fit by the `upkeep` is not begun; expired
    files make room. Then the formats that are asked for are made. `verify` reads every cached file again, `scrub` those
    that were not read for the interval of the `upkeep`;
    `purge_expired` deletes what has been in `expired` for that long. One image's failure is reported under ``failures``
    and stops no other. With `check` nothing is changed; the outcome is that of the run, as far as reading the files
    that are here can tell.
    Raises ``unknown_list``, ``unknown_image``, ``cache_split`` when the cache's directories lie on several file
    systems, and ``state_busy`` when another run is downloading; what needs no download is done then.
    """
    scope = scope_of(catalogue, lists=lists, images=images)
    restricted = bool(lists or images) or scrub == "only"
    interval = INTERVAL if upkeep.scrub_interval is None else upkeep.scrub_interval
    overdue = due(catalogue, interval) if scrub != "no" else set()
    reread = (lambda _name: True) if verify else overdue.__contains__ if overdue else none
    rest: list[Step] = []

    def planner() -> list[Step]:
        steps = plan(catalogue, scope, reread=reread)
        return steps if scrub != "only" else [step for step in steps if step.name in overdue and step.source]

    def keeps(name: str) -> bool:
        # A run for some images knows nothing of the others, but that they are images.
        return name in {step.name for step in rest} or (restricted and row_of(catalogue, name) is not None)

    room, in_use = Room(catalogue.state, upkeep), InUse(catalogue.state, catalogue.now())
    pace, watch = Pace(upkeep.scrub_rate), Watch.of(progress)
    if check:
        rehearsal = Rehearsal(catalogue, room, in_use, upkeep.keep_expired)
        derivations = Derivations(catalogue, rehearsal.run, upkeep, room, in_use, scope, watch, pace)
        rehearsal.steps(planner())
        derivations.rehearse(rehearsal.present(), reread, only_damaged=scrub == "only")
        if purge_expired is not None:
            rehearsal.purge(purge_expired, scope)
            derivations.rehearse_purge()
        return _rehearsed(catalogue, rehearsal.run)
    run, verdicts = Run(), Verdicts(catalogue)
    derivations = Derivations(catalogue, run, upkeep, room, in_use, scope, watch, pace)

    def make_room(name: str, size: int) -> None:
        relieve(catalogue, room, name, size, keep=upkeep.keep_expired, run=run, in_use=in_use)

    def work() -> Work:
        return Work(catalogue, run, verdicts, limits=limits, watch=watch, pace=pace, room=room, relieve=make_room)

    try:
        rest, planned = _move(catalogue, planner, run)
        derivations.clean()
        verdicts.write()
        if scrub == "only":
            # Reading may take a day at a polite rate; downloads go on meanwhile.
            with locked(catalogue.state.path / "cache" / "scrub.lock"):
                rest = work().read(rest)
        if rest:
            moves.require_together(catalogue.state, rest)
            with locked(_lock(catalogue)):
                catalogue.catch_up()
                if scrub != "only" and catalogue.head() != planned:
                    # Others may have done these very downloads while this run waited for them.
                    rest, _planned = _move(catalogue, planner, run)
                files.clear_downloading(catalogue, keeps)
                work().do(rest)
        elif scrub != "only":
            _clear_leftovers(catalogue, keeps)
        derivations.make(reread, only_damaged=scrub == "only")
        if purge_expired is not None:
            purge(catalogue, purge_expired, scope, run, in_use)
            derivations.purge()
    finally:
        verdicts.finish()
        files.update(catalogue)
    return _told(catalogue, run)


def purge_expired(
    catalogue: Catalogue, grace: timedelta, *, upkeep: Upkeep = NO_LIMITS, check: bool = False
) -> Outcome:
    """Delete what has been in `expired` for `grace`, and do nothing else; downloads of other runs go on meanwhile."""
    scope, in_use = scope_of(catalogue, lists=(), images=()), InUse(catalogue.state, catalogue.now())
    room, watch, pace = Room(catalogue.state, upkeep), Watch.of(None), Pace(None)
    if check:
        rehearsal = Rehearsal(catalogue, room, in_use, upkeep.keep_expired)
        rehearsal.purge(grace, scope)
        Derivations(catalogue, rehearsal.run, upkeep, room, in_use, scope, watch, pace).rehearse_purge()
        return _rehearsed(catalogue, rehearsal.run)
    run = Run()
    try:
        purge(catalogue, grace, scope, run, in_use)
        Derivations(catalogue, run, upkeep, room, in_use, scope, watch, pace).purge()
    finally:
        files.update(catalogue)
    return _told(catalogue, run)


def _move(catalogue: Catalogue, planner: _Planner, run: Run) -> tuple[list[Step], Head]:
    """Make the moves that need no octets read; the steps that do, and the line of the journal up to which they hold."""
    rest: list[Step] = []
    with catalogue.writing() as writer:
        steps = planner()
        moves.require_together(catalogue.state, [step for step in steps if step.action in _MOVES])
        for step in steps:
            try:
                if step.action == "expire":
                    moves.expire(writer, step, run)
                    continue
                instead = moves.restore(writer, step, run) if step.action == "restore" else step
            except VmimagesError as error:
                run.fail(step, error)
                continue
            if instead is not None:
                rest.append(instead)
        return rest, catalogue.head()


def _clear_leftovers(catalogue: Catalogue, keeps: t.Callable[[str], bool]) -> None:
    """Remove what killed downloads left, unless another run is downloading: what lies there may be its own."""
    if not files.leftovers(catalogue):
        return
    try:
        with locked(_lock(catalogue), patience=0.0):
            files.clear_downloading(catalogue, keeps)
            files.write_downloading(catalogue, [])
    except SiteError as error:
        if error.code != "state_busy":
            raise


def _lock(catalogue: Catalogue) -> Path:
    return catalogue.state.path / "cache" / "lock"


def _told(catalogue: Catalogue, run: Run) -> Outcome:
    current = catalogue.state.current
    run.warnings += [
        f"{current / name} is no file of this cache; it was left alone." for name in unknown_files(catalogue)
    ]
    run.warnings += [f"{path} is a directory; it was left alone." for path in files.strangers(catalogue)]
    return run.outcome()


def _rehearsed(catalogue: Catalogue, run: Run) -> Outcome:
    """Nothing was done to any image; what could not even be read is told."""
    done = {**dict.fromkeys(LISTS, ()), "failures": run.failures}
    return dataclasses.replace(_told(catalogue, run), data={name: list(found) for name, found in done.items()})
