# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a run is, on standard error: bars on a terminal where rich is installed, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
import typing as t

from ...site.progress.words import sentence
from .output import emit_progress, printable

if t.TYPE_CHECKING:
    from ...site.progress.board import Board, Listener

#: Seconds between two lines of one run: they become fewer the longer it takes.
_PAUSES: t.Final = (2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_REFRESH: t.Final = 0.2


class Lines:
    """Plain lines, for a journal or a file; none in the first seconds."""

    def __init__(self, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._turn = 0
        self._due = clock() + _PAUSES[0]

    def __call__(self, board: Board) -> None:
        if self._clock() < self._due:
            return
        self._turn = min(self._turn + 1, len(_PAUSES) - 1)
        self._due = self._clock() + _PAUSES[self._turn]
        emit_progress(sentence(step) for step in board.steps())


class Bars:
    """One bar for each image, by rich's classes."""

    def __init__(self, rich_progress: t.Any, console: t.Any) -> None:
        self._live = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.DownloadColumn(binary_units=True),
            rich_progress.TransferSpeedColumn(),
            rich_progress.TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, t.Any] = {}

    def __enter__(self) -> Bars:
        self._live.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._live.stop()

    def __call__(self, board: Board) -> None:
        steps = {step["name"]: step for step in board.steps()}
        for name in set(self._tasks) - set(steps):
            self._live.remove_task(self._tasks.pop(name))
        for name, step in steps.items():
            if name not in self._tasks:
                title = f"{step['action']:<8} {step['title'] or step['image']}"
                self._tasks[name] = self._live.add_task(printable(title), total=None)
            self._live.update(self._tasks[name], completed=step["done"], total=step["total"] or None)


@contextlib.contextmanager
def shown(*, wanted: bool) -> t.Iterator[list[tuple[Listener, float]]]:
    """What listens to a board, for the length of a run; nothing unless it is `wanted`."""
    if not wanted:
        yield []
        return
    if sys.stderr.isatty():
        try:
            rich_progress = importlib.import_module("rich.progress")
            console = importlib.import_module("rich.console").Console(stderr=True)
        except ImportError:
            pass
        else:
            with Bars(rich_progress, console) as bars:
                yield [(bars, _REFRESH)]
            return
    yield [(Lines(), _REFRESH)]
