# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The handlers of a site: the executable files of one directory that nobody else can change."""

from __future__ import annotations

import stat
from pathlib import Path

from ...errors import SiteError, VmimagesError
from .program import require_safe


def find(directory: Path, *, owner: int) -> tuple[list[Path], dict[str, VmimagesError]]:
    """The handlers in the order of their names, and those that are refused, with the reason.

    Hidden files, backups (``~``) and what is not executable are no handlers. Raises SiteError ``handlers_unsafe``
    when others than root, `owner` and this process's user may change the directory, ``not_readable``.
    """
    require_safe(directory, owner=owner)
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        raise SiteError(
            "not_readable", f"{directory} cannot be read: {error.strerror}.", path=str(directory)
        ) from error
    found: list[Path] = []
    refused: dict[str, VmimagesError] = {}
    for path in paths:
        if path.name.startswith(".") or path.name.endswith("~") or not _is_program(path):
            continue
        try:
            require_safe(path, owner=owner)
        except SiteError as error:
            refused[path.name] = error
        else:
            found.append(path)
    return found, refused


def _is_program(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & 0o111)
