# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading and downloading in threads; everything that touches the catalogue happens in the thread that asked for it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
import typing as t
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait

from ...errors import VmimagesError, unexpected
from ...transfer.policy import Policy, host_of
from ..judgement.assess import subscription_of
from . import files, moves, octets
from .plan import Step, Wanted
from .run import Run
from .verdicts import Verdicts

if t.TYPE_CHECKING:
    from pathlib import Path

    from ...transfer.session import Session
    from ..store.catalogue import Catalogue, Writer
    from .room.space import Room
    from .scrub import Pace
    from .watch import Watch


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much of the network a run may take, and for how long; None is what `Policy` has by default.

    `parallel` images are fetched or read at once, `per_host` of them from one host. `retries` is about one image, as is
    `timeout` (seconds, all attempts included); `minimum_rate` is in octets a second.
    """

    parallel: int = 2
    per_host: int = 4
    retries: int | None = None
    timeout: float | None = None
    minimum_rate: int | None = None

    def apply(self, policy: Policy) -> Policy:
        """The policy with these limits."""
        return dataclasses.replace(
            policy,
            retries=policy.retries if self.retries is None else self.retries,
            total_timeout=policy.total_timeout if self.timeout is None else self.timeout,
            minimum_rate=policy.minimum_rate if self.minimum_rate is None else self.minimum_rate,
        )


#: After so many images in a row that did not come for want of an answer, the others of that host are asked for once
#: each, and with little patience: a host that is down must not keep the images of all others waiting.
SILENT: t.Final = 3
IMPATIENT: t.Final = 3.0
_SILENCE: t.Final = frozenset({"unreachable", "timeout"})

#: What is allowed where nobody says anything.
USUAL: t.Final = Limits()


class Work:
    """The steps of one run that move octets, within its limits; the caller holds the downloads' lock."""

    def __init__(
        self,
        catalogue: Catalogue,
        run: Run,
        verdicts: Verdicts,
        *,
        limits: Limits,
        watch: Watch,
        pace: Pace,
        room: Room,
        relieve: t.Callable[[str, int], None],
    ) -> None:
        self._catalogue = catalogue
        self._run = run
        self._verdicts = verdicts
        self._limits = limits
        self._sessions: dict[Policy, Session] = {}
        self._watch = watch
        self._wanted = Wanted(catalogue)
        self._pace = pace
        self._room = room
        self._relieve = relieve
        self._stopped = threading.Event()
        #: By host: how many of its images in a row have not come for want of an answer.
        self._silent: Counter[str] = Counter()

    def do(self, steps: t.Sequence[Step]) -> None:
        """Do all steps; what fails is told in the run, and stops no other."""
        files.write_downloading(self._catalogue, [step for step in steps if step.action == "download"])
        self._run_all(steps, None)
        files.write_downloading(self._catalogue, [])

    def read(self, steps: t.Sequence[Step]) -> list[Step]:
        """Do steps that read files where they are, without the downloads' lock; the downloads that follow from them."""
        following: list[Step] = []
        self._run_all(steps, following)
        return following

    def _run_all(self, steps: t.Sequence[Step], following: list[Step] | None) -> None:
        """What follows from a step is done next, unless it is to be put on the list."""
        waiting = deque(steps)
        running: dict[Future[octets.Verified], Step] = {}
        with contextlib.ExitStack() as stack:
            stack.callback(self._close)
            pool = stack.enter_context(ThreadPoolExecutor(max_workers=max(1, self._limits.parallel)))
            stack.callback(self._stopped.set)
            while waiting or running:
                while (step := self._next(waiting, running.values())) is not None:
                    if self._is_still_wanted(step) and self._has_room(step):
                        running[self._start(pool, step)] = step
                for future in self._ended(running):
                    self._room.settle(running[future].name)
                    self._watch.end(running[future].name)
                    again = self._finish(running.pop(future), future)
                    if again is not None and following is None:
                        waiting.appendleft(again)
                    elif again is not None and following is not None:
                        following.append(again)
                self._verdicts.keep()

    def _next(self, waiting: deque[Step], running: t.Collection[Step]) -> Step | None:
        """Take the first step that may start beside those that are running, if one may."""
        if len(running) >= max(1, self._limits.parallel):
            return None
        busy = Counter(_host(step) for step in running)
        for step in waiting:
            if not busy[_host(step)] or not _host(step) or busy[_host(step)] < self._limits.per_host:
                waiting.remove(step)
                return step
        return None

    def _close(self) -> None:
        for session in self._sessions.values():
            session.close()

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

    def _has_room(self, step: Step) -> bool:
        """Set aside what the download will take, or tell that it does not fit."""
        if step.action != "download":
            return True
        try:
            self._relieve(step.name, step.row["size"])
            self._room.promise(step.name, step.row["size"])
        except VmimagesError as error:
            self._run.fail(step, error)
            return False
        return True

    def _start(self, pool: ThreadPoolExecutor, step: Step) -> Future[octets.Verified]:
        row = step.row
        self._watch.begin(step.name, step.action, row)
        if step.source is not None:
            return pool.submit(
                octets.read,
                step.source,
                row,
                pace=self._pace,
                name=step.name,
                progress=self._watch,
                stopped=self._stopped,
            )
        subscription = subscription_of(self._catalogue, row["list_id"])
        policy = self._limits.apply(subscription.policy(content=True))
        if self._silent[_host(step)] >= SILENT:
            policy = dataclasses.replace(policy, retries=0, connect_timeout=IMPATIENT)
        session = self._session(policy)
        return pool.submit(
            octets.download,
            row,
            self._catalogue.state.downloading,
            step.name,
            session,
            subscription.access.mirrors_of(row["uri"]),
            self._watch,
            self._stopped,
        )

    def _session(self, policy: Policy) -> Session:
        if policy not in self._sessions:
            from ...transfer.session import Session

            self._sessions[policy] = Session(policy)
        return self._sessions[policy]

    def _finish(self, step: Step, future: Future[octets.Verified]) -> Step | None:
        """Take in what a thread has verified; what is damaged is put aside, and its download is the next step."""
        try:
            done = _result(future)
            self._silent[_host(step)] = 0
            with self._writing() as writer:
                self._admit(writer, step, done)
        except VmimagesError as error:
            self._silent[_host(step)] += error.code in _SILENCE
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
        entry = {**step.as_dict(), "path": str(target), **done.as_dict()}
        self._run.arrived(step, entry, moved=done.path != target)

    def _replace(self, step: Step) -> Step | None:
        source = t.cast("Path", step.source)
        try:
            with self._writing() as writer:
                if not os.path.lexists(source) and not self._wanted.ask(step.row)[0]:
                    # Another run has moved it away while it was read.
                    return None
                moves.set_aside(writer, step, source, self._run)
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


def _result(future: Future[octets.Verified]) -> octets.Verified:
    """What a thread has verified."""
    try:
        return future.result()
    except (VmimagesError, CancelledError):
        raise
    except Exception as error:
        raise unexpected(error, "image") from error


def _host(step: Step) -> str:
    """The host that a step asks; none for a file that is read."""
    return host_of(step.row["uri"]) if step.source is None else ""
