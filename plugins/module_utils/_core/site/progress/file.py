# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress of a run as a file, ``progress/<run>.json`` in the state directory, for everybody who may read it.

It is replaced as a whole, at most once a second, and removed when the run ends. What a killed run leaves names a
process that is no more: readers pass it over, and the next run removes it. It is a help and no record: where it cannot
be written, the run goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
import typing as t
from pathlib import Path

from ...transfer.atomic import make_directory, temporary_sibling
from .board import Listener

if t.TYPE_CHECKING:
    from ..store.state import StateDirectory

INTERVAL: t.Final = 1.0
NAME: t.Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_MOST: t.Final = 1024 * 1024
#: On another host nobody can tell whether the process is alive: it is while it writes.
_SILENT: t.Final = 300.0


class ProgressFile:
    """Writes what a board tells. As a context manager: the file is there from the beginning to the end."""

    def __init__(self, state: StateDirectory, name: str, what: str) -> None:
        self.path = state.progress / f"{name}.json"
        self._document = {"format": 1, "run": name, "what": what, "pid": os.getpid(), "host": socket.gethostname()}
        self._document["started"] = int(time.time())

    def __enter__(self) -> ProgressFile:
        with contextlib.suppress(Exception):
            make_directory(self.path.parent)
            _sweep(self.path.parent)
        self._write([], 0)
        return self

    def __exit__(self, *_exception: object) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink()

    @property
    def listener(self) -> tuple[Listener, float]:
        """For `Board`."""
        return (lambda board: self._write(board.steps(), board.ended)), INTERVAL

    def _write(self, steps: t.Sequence[t.Mapping[str, t.Any]], ended: int) -> None:
        document = {**self._document, "updated": int(time.time()), "steps": list(steps), "ended": ended}
        temporary = temporary_sibling(self.path)
        with contextlib.suppress(OSError):
            try:
                temporary.write_text(json.dumps(document))
                temporary.chmod(0o644)
                temporary.replace(self.path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise


def runs(state: StateDirectory) -> list[dict[str, t.Any]]:
    """The runs that go on at the moment, the oldest first; those of killed processes are left out."""
    found = [document for _path, document in _documents(state.progress) if is_alive(document)]
    return sorted(found, key=lambda document: t.cast("int", document["started"]))


def parse(text: t.Union[str, bytes]) -> t.Optional[dict[str, t.Any]]:
    """A progress file's document, None for anything else."""
    try:
        document = json.loads(text)
        if document["format"] != 1 or not isinstance(document["steps"], list):
            return None
        document["started"], document["updated"], document["pid"] = (
            int(document[key]) for key in ("started", "updated", "pid")
        )
    except (ValueError, KeyError, TypeError):
        return None
    return t.cast("dict[str, t.Any]", document)


def is_alive(document: t.Mapping[str, t.Any]) -> bool:
    """Whether the process that wrote this is still there."""
    if document.get("host") != socket.gethostname():
        return time.time() - t.cast("int", document["updated"]) < _SILENT
    try:
        os.kill(t.cast("int", document["pid"]), 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _documents(directory: Path) -> t.Iterator[tuple[Path, dict[str, t.Any]]]:
    try:
        paths = sorted(directory.glob("*.json"))
    except OSError:
        return
    for path in paths:
        try:
            with path.open("rb") as stream:
                document = parse(stream.read(_MOST))
        except OSError:
            continue
        if document is not None:
            yield path, document


def _sweep(directory: Path) -> None:
    for path, document in _documents(directory):
        if not is_alive(document):
            path.unlink(missing_ok=True)
            path.with_suffix(".lease").unlink(missing_ok=True)
