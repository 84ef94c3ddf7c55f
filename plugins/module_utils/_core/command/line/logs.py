# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the command's warnings, refusals and deeds go beside its own output: by a file of Python's logging."""

from __future__ import annotations

import contextlib
import os
import stat
import typing as t
from pathlib import Path

from ...errors import VmimagesError
from . import output

if t.TYPE_CHECKING:
    import argparse

#: What works on a site by itself or for an administrator. A gate is asked at every start, and logs nothing.
LOGGED: t.Final = frozenset(
    {"refresh", "sync", "scrub", "purge", "relay", "events", "rebaseline", "rebuild", "audit", "import"}
)


def begin(options: argparse.Namespace) -> None:
    """Log as the setting `log` says. What is wrong with it is a warning, and keeps nobody from the work.

    Only the owner of the state does: such a file may name any Python, and what root writes the service cannot.
    """
    if options.command not in LOGGED:
        return
    from ...site import settings

    try:
        if Path(options.state_dir).stat().st_uid != os.geteuid():
            return
        path = settings.load(options.state_dir).log
    except (OSError, VmimagesError):
        # Whoever needs the state or the settings says what is wrong with them.
        return
    if path is not None:
        with _warned(path):
            _configure(path, options.command)


@contextlib.contextmanager
def _warned(path: Path) -> t.Iterator[None]:
    try:
        yield
    except Exception as error:
        output.emit_warnings([f"Nothing is logged by {path}: {type(error).__name__}: {error}"])


def _configure(path: Path, command: str) -> None:
    found = path.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PermissionError("the file can be changed by others")
    import logging
    import logging.config

    logging.config.fileConfig(path, disable_existing_loggers=False)
    output.log_to(logging.getLogger(f"vmimages.{command}"))
