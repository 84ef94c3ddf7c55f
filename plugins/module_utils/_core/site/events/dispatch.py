# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell handlers and endorsers what the journal says and they have not been told: ``vmimages events``.

Receivers work side by side, each on one thing at a time. After each thing the receiver's cursor is forced to disk; what
became of it is journaled when no handler runs any more, so that no lock is held and no snapshot is stale meanwhile.
"""

from __future__ import annotations

import threading
import typing as t
import uuid
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from ...errors import REMEDIES, VmimagesError
from ...outcome import Outcome
from ..judgement import snapshot
from ..store.state import locked
from . import cursor, handlers
from .environment import Teller
from .queue import Queue, Turn
from .receivers import Handler, Mail, Receiver, Told

if t.TYPE_CHECKING:
    from ..settings import Settings
    from ..store.catalogue import Catalogue

#: How often a run looks again for what was journaled while it worked.
_PASSES: t.Final = 10


def dispatch(catalogue: Catalogue, settings: Settings, *, patience: float = 60.0) -> Outcome:
    """Tell every receiver what is pending and due; the outcome lists the events and the failures.

    A receiver that fails stops no other; its events are tried again by later runs. Raises ``state_busy`` when another
    run is at work for longer than `patience` seconds, and ``handlers_unsafe``, ``not_readable`` for a directory of
    handlers that cannot be used (the endorsers are told all the same).
    """
    directory = cursor.prepare(catalogue.state)
    with locked(directory / "lock", patience=patience):
        cursor.tidy(directory)
        run = _Run(catalogue, settings, cursor.Cursors.load(directory), cursor.Results(directory / "results.jsonl"))
        run.flush()
        try:
            for _number in range(_PASSES):
                if not run.once():
                    break
        finally:
            run.flush()
    if run.error is not None:
        raise run.error
    return run.outcome()


class _Run:
    """One run of the dispatcher."""

    def __init__(
        self, catalogue: Catalogue, settings: Settings, cursors: cursor.Cursors, results: cursor.Results
    ) -> None:
        self.error: VmimagesError | None = None
        self._catalogue = catalogue
        self._settings = settings
        self._cursors = cursors
        self._results = results
        self._owner = catalogue.state.path.stat().st_uid
        self._now = catalogue.now()
        self._records: list[tuple[str, dict[str, t.Any]]] = []
        self._refused: dict[str, VmimagesError] = {}
        self._left_alone: set[str] = set()

    def once(self) -> bool:
        """Tell what is pending now; whether anything was told."""
        self._catalogue.catch_up()
        teller = Teller(self._catalogue, session=str(uuid.uuid4()), site=self._settings.site)
        head = self._catalogue.head()
        queues = [
            Queue(self._catalogue, item, self._cursors.of(item.key, self._catalogue.state.journal, head), self._now)
            for item in self._receivers(teller)
            if item.key not in self._left_alone
        ]
        told = self._work(queues)
        self._left_alone |= {queue.receiver.key for queue in queues if queue.given_up}
        self._cursors.save()
        if told:
            self.flush()
        return told

    def flush(self) -> None:
        """Journal what became of the events, and say in the snapshot that it knows these lines."""
        records = self._results.take()
        if not records:
            return
        with self._catalogue.writing() as writer:
            writer.commit(*records)
        self._results.clear()
        snapshot.write(self._catalogue)

    def outcome(self) -> Outcome:
        """What was told, and what failed."""
        events = [{"result": name, **data} for name, data in self._records]
        failures = [_failure(name, data) for name, data in self._records if name.endswith("_failed")]
        failures += [
            {"handler": name, "event": None, "list": None, "image": None, **error.as_dict()}
            for name, error in sorted(self._refused.items())
        ]
        return Outcome(
            changed=bool(events),
            actions=tuple(
                {
                    "action": name,
                    **{key: data[key] for key in ("handler", "event", "message", "list", "image") if key in data},
                }
                for name, data in self._records
            ),
            data={"events": events, "failures": failures, "waiting": self._cursors.waiting()},
        )

    def _receivers(self, teller: Teller) -> list[Receiver]:
        found: list[Receiver] = [Mail(self._catalogue, teller, self._settings, self._owner)]
        events = self._settings.events
        if events is None or self.error is not None:
            return found
        try:
            paths, self._refused = handlers.find(events.directory, owner=self._owner)
        except VmimagesError as error:
            self.error = error
            return found
        return [*found, *[Handler(path, events, teller) for path in paths]]

    def _work(self, queues: t.Sequence[Queue]) -> bool:
        """Everything that touches the catalogue or the cursors happens in this thread."""
        told = False
        stopped = threading.Event()
        running: dict[Future[list[Told]], tuple[Queue, Turn]] = {}
        with ThreadPoolExecutor(max_workers=max(1, len(queues))) as pool:
            try:
                idle = list(queues)
                while True:
                    for queue in idle:
                        turn = queue.turn()
                        if turn is not None:
                            running[pool.submit(turn.job, stopped)] = (queue, turn)
                    if not running:
                        return told
                    idle = []
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        queue, turn = running.pop(future)
                        self._settle(queue, turn, future.result())
                        idle.append(queue)
                        told = True
            finally:
                stopped.set()

    def _settle(self, queue: Queue, turn: Turn, told: t.Sequence[Told]) -> None:
        records = queue.settle(turn, told)
        self._results.add(records)
        self._records += records
        self._cursors.save()


def _failure(name: str, data: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    who = data.get("handler") or "mail"
    when = f"It is tried again from {data['retry']} on" if data["retry"] else "It is not tried again"
    how = "could not be started" if data["status"] is None else f"ended with status {data['status']}"
    how = "was killed with all its children" if data["timed_out"] else how
    what = f"{who} {how} at {data.get('event') or data.get('message')}"
    return {
        "handler": who,
        "event": data.get("event"),
        "list": data["list"],
        "image": data.get("image"),
        "code": name,
        "detail": f"{what} (attempt {data['attempt']}). {when}.",
        "remedy": REMEDIES[name],
        "context": {"output": data["output"], "of": data["of"]},
    }
