# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""For the length of a run: its board, its progress file, and the lease of whoever watches it."""

from __future__ import annotations

import contextlib
import os
import typing as t

from ...errors import SiteError
from .board import Board, Listener
from .file import NAME, ProgressFile
from .lease import Lease

if t.TYPE_CHECKING:
    from ..store.state import StateDirectory


@contextlib.contextmanager
def telling(
    state: StateDirectory,
    what: str,
    *,
    run: t.Optional[str] = None,
    patience: float = 60,
    listeners: t.Sequence[tuple[Listener, float]] = (),
    dry: bool = False,
) -> t.Iterator[Board]:
    """The board of a run called `what`; with a name for the `run`, it is watched under that (see `Lease`).

    A `dry` run writes nothing.
    Raises SiteError ``option_invalid`` for a name that is none, ``interrupted`` when nobody watches any more.
    """
    if run is not None and not NAME.fullmatch(run):
        raise SiteError("option_invalid", f"watched.run: {run!r} is not a plain word.", option="watched.run")
    if dry:
        yield Board(*listeners)
        return
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(ProgressFile(state, run or f"{what.replace('_', '-')}-{os.getpid()}", what))
        if run is not None:
            stack.enter_context(Lease(file.path.with_suffix(".lease"), patience))
        yield Board(file.listener, *listeners)
