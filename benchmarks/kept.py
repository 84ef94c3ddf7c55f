# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where benchmarks keep what takes long to make, below ``.venv`` and for a week, and where they work."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import pathlib
import shutil
import tempfile
import typing as t

from . import catalogues

_BELOW: t.Final = pathlib.Path(__file__).resolve().parent.parent / ".venv" / "bench"
_LASTS: t.Final = datetime.timedelta(days=7)


def world() -> catalogues.World:
    """The world in which catalogues are kept; a new one when the way of making them has changed, or when it is old.

    Its lists are good for four weeks.
    """
    made = hashlib.sha256(pathlib.Path(catalogues.__file__).read_bytes()).hexdigest()[:16]
    now = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    directory = _BELOW / made
    stamp = directory / "made"
    if not stamp.is_file() or datetime.datetime.fromisoformat(stamp.read_text()) < now - _LASTS:
        shutil.rmtree(_BELOW, ignore_errors=True)
        directory.mkdir(parents=True)
        stamp.write_text(now.isoformat())
    return catalogues.World(directory, now)


@contextlib.contextmanager
def scratch() -> t.Iterator[pathlib.Path]:
    """A directory to work in, on the file system of what is kept."""
    _BELOW.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_BELOW, prefix="run-") as name:
        yield pathlib.Path(name)
