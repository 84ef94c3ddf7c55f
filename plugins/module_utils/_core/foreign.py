# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""SQLite files of other programs: read, and never written to."""

from __future__ import annotations

import contextlib
import sqlite3
import typing as t
from pathlib import Path

from .errors import VmimagesError
from .transfer.atomic import storage_errors


@contextlib.contextmanager
def reading(path: Path, whose: str, refusal: t.Callable[[str], VmimagesError]) -> t.Iterator[sqlite3.Connection]:
    """A connection to the database of the program `whose`; its rows give their columns by name.

    Raises TransferError (``not_found``, ``not_readable``), and `refusal` of a sentence where it is no such database.
    """
    with storage_errors(path, reading=True), path.open("rb"):
        pass
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            yield connection
    except sqlite3.Error as error:
        raise refusal(f"database: {path} is no database of {whose}: {error}.") from error
