# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who wants to hear how a run goes on."""

from __future__ import annotations

import sqlite3
import typing as t

#: Called with the image's file name, the octets done and the octets in all (0: nobody knows).
Progress = t.Callable[[str, int, int], None]


class Watch:
    """Hears of a run, from several threads; this one passes on the octets, to `progress` if there is one."""

    def __init__(self, progress: t.Optional[Progress] = None) -> None:
        self._progress = progress

    def begin(self, name: str, action: str, row: sqlite3.Row) -> None:
        """Work on the file `name` begins: ``download``, ``read`` or ``derive``; `row` is the image's."""

    def __call__(self, name: str, done: int, total: int) -> None:
        """So many octets are done; what is raised here ends the work."""
        if self._progress is not None:
            self._progress(name, done, total)

    def end(self, name: str) -> None:
        """Work on the file has ended, well or not."""

    @classmethod
    def of(cls, progress: t.Optional[Progress]) -> Watch:
        """One that passes on to `progress`, which may be one itself."""
        return progress if isinstance(progress, Watch) else Watch(progress)
