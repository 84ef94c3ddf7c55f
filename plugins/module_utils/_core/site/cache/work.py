# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and downloading in threads; everything that touches the catalogue happens in the thread that asked for it."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ...errors import VmimagesError
from ..judgement.assess import subscription_of
from . import files, moves, octets
from .octets import Progress
from .plan import Step, Wanted
from .run import Run
from .verdicts import Verdicts

if t.TYPE_CHECKING:
    from pathlib import Path

    from ..store.catalogue import Catalogue, Writer


class Work:
    """The steps of one run that move octets, `parallel` at once; the caller holds the downloads' lock."""

    def __init__(
        self, catalogue: Catalogue, run: Run, verdicts: Verdicts, *, parallel: int, progress: Progress | None
    ) -> None:
        self._catalogue = catalogue
        self._run = run
        self._verdicts = verdicts
        self._parallel = max(1, parallel)
        self._progress = progress
        self._wanted = Wanted(catalogue)
        self._stopped = threading.Event()

    def do(self, steps: t.Sequence[Step]) -> None:
        """Do all steps; what fails is told in the run, and stops no other."""
        files.write_downloading(self._catalogue, [step for step in steps if step.action == "download"])
        waiting = deque(steps)
        running: dict[Future[octets.Verified], Step] = {}
        with ThreadPoolExecutor(max_workers=self._parallel) as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < self._parallel:
                        step = waiting.popleft()
                        if self._is_still_wanted(step):
                            running[self._start(pool, step)] = step
                    for future in self._ended(running):
                        again = self._finish(running.pop(future), future)
                        if again is not None:
                            waiting.appendleft(again)
                    self._verdicts.keep()
            finally:
                self._stopped.set()
        files.write_downloading(self._catalogue, [])

    def _ended(self, running: t.Mapping[Future[octets.Verified], Step]) -> t.Collection[Future[octets.Verified]]:
        if not running:
            return ()
        return wait(running, timeout=self._verdicts.pause(), return_when=FIRST_COMPLETED).done

    def _is_still_wanted(self, step: Step) -> bool:
        """Ask for the verdict again before the octets move: the steps before this one may have taken hours."""
        self._catalogue.catch_up()
        wanted, code = self._wanted.ask(step.row)
        if not wanted:
            self._run.unwanted.append({**step.as_dict(), "code": code})
        return wanted

    def _start(self, pool: ThreadPoolExecutor, step: Step) -> Future[octets.Verified]:
        row = step.row
        if step.source is not None:
            return pool.submit(octets.read, step.source, row)
        policy = subscription_of(self._catalogue, row["list_id"]).policy(content=True)
        directory = self._catalogue.state.downloading
        return pool.submit(octets.download, row, directory, step.name, policy, self._progress, self._stopped)

    def _finish(self, step: Step, future: Future[octets.Verified]) -> Step | None:
        """Take in what a thread has verified; what is damaged is put aside, and its download is the next step."""
        try:
            done = future.result()
            with self._writing() as writer:
                self._admit(writer, step, done)
        except VmimagesError as error:
            if step.source is None or error.code != "checksum_mismatch":
                self._run.fail(step, error)
                return None
            return self._replace(step)
        return None

    def _admit(self, writer: Writer, step: Step, done: octets.Verified) -> None:
        """Ask again whether the image is wanted, and only then let the file into `current`."""
        wanted, code = self._wanted.ask(step.row)
        if not wanted:
            if step.action == "download":
                with contextlib.suppress(FileNotFoundError):
                    done.path.unlink()
                self._run.unwanted.append({**step.as_dict(), "code": code})
            return
        target = moves.admit(writer, step, done)
        entry = {**step.as_dict(), "path": str(target), "octets": done.octets, "seconds": round(done.seconds, 3)}
        self._run.arrived(step, entry, moved=done.path != target)

    def _replace(self, step: Step) -> Step | None:
        try:
            with self._writing() as writer:
                moves.set_aside(writer, step, t.cast("Path", step.source), self._run)
        except VmimagesError as error:
            self._run.fail(step, error)
            return None
        return Step("download", step.name, step.row)

    @contextlib.contextmanager
    def _writing(self) -> t.Iterator[Writer]:
        with self._catalogue.writing() as writer:
            self._wanted.refresh()
            yield writer
            self._wanted.wrote()
