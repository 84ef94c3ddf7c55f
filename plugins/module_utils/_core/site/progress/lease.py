# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that is watched ends when its watcher is gone: nobody would hear of it, or could stop it."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import typing as t
from pathlib import Path

from ...errors import SiteError

_POLL: t.Final = 0.5


class Lease:
    """The file at `path`, which the watcher touches; as a context manager, in the main thread, for a run.

    When the file is gone, or was not touched for `patience` seconds, the run is interrupted: in the main thread
    SiteError ``interrupted`` is raised. So it is when the process is asked to end (SIGTERM, SIGHUP).
    """

    def __init__(self, path: Path, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._ended = threading.Event()
        self._former: dict[int, t.Any] = {}

    def __enter__(self) -> Lease:
        self._path.touch(mode=0o644)
        for number in (signal.SIGTERM, signal.SIGHUP):
            self._former[number] = signal.signal(number, self._interrupt)
        threading.Thread(target=self._watch, name="lease", daemon=True).start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        for number, former in self._former.items():
            signal.signal(number, former)
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _watch(self) -> None:
        while not self._ended.wait(_POLL):
            if not self._is_held():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    def _is_held(self) -> bool:
        try:
            age = time.time() - self._path.stat().st_mtime
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return age < self._patience

    def _interrupt(self, _number: int, _frame: object) -> None:
        # Once is enough: what cleans up must not be interrupted.
        for number in self._former:
            signal.signal(number, signal.SIG_IGN)
        raise SiteError("interrupted", "The run was interrupted: nobody watched it any more, or it was asked to end.")
