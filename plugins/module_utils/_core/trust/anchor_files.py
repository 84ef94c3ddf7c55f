# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the trust anchors as they lie there: which of them count, and whether anything has changed.

Nothing is parsed here: a judgement that is known already needs no more than this.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import re
import stat
import typing as t

from .. import files
from ..errors import TrustError

Path = t.Union[str, os.PathLike[str]]

#: Where the grid keeps its trust anchors.
DEFAULT_ANCHORS: t.Final = "/etc/grid-security/certificates"
MAX_FILES: t.Final = 50_000

_NAME = re.compile(r"([0-9a-f]{8})\.(?:(r?)([0-9]{1,4})|(namespaces|signing_policy))")


def fingerprint(path: Path) -> str:
    """A hex digest over what `stat` says of every relevant file and the directory: equal means nothing has changed.

    Also an exchange for a file of the same size and time of modification shows, and that others may write now. Nothing
    is parsed and no library is needed. Raises `TrustError` (anchors_unreadable).
    """
    base = pathlib.Path(path)
    try:
        status = base.stat()
        if not stat.S_ISDIR(status.st_mode):
            return hashlib.sha256(_look(status).encode("ascii")).hexdigest()
        lines = [f"{status.st_mode} {status.st_uid}"]
        for name, _stem, _kind in relevant(names_in(base)):
            try:
                lines.append(f"{name} {_look((base / name).stat())}")
            except FileNotFoundError:  # a dangling link, or removed just now
                lines.append(f"{name} -")
    except OSError as error:
        raise unreadable(path, error) from error
    return hashlib.sha256("\n".join(lines).encode("ascii")).hexdigest()


def _look(status: os.stat_result) -> str:
    parts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_mode, status.st_uid)
    return " ".join(map(str, parts))


def names_in(directory: pathlib.Path) -> list[str]:
    """The names of all entries, in their order."""
    return sorted(entry.name for entry in directory.iterdir())


def relevant(listing: t.Sequence[str]) -> t.Iterator[tuple[str, str, str]]:
    """(name, hash, kind) of the files that count; kind is certificate, crl, namespaces or signing_policy."""
    count = 0
    for name in listing:
        match = _NAME.fullmatch(name)
        if not match:
            continue
        count += 1
        if count > MAX_FILES:
            raise TrustError("anchors_unreadable", f"The directory has more than {MAX_FILES} files")
        yield name, match[1], match[4] or ("crl" if match[2] else "certificate")


def unreadable(path: Path, error: Exception) -> TrustError:
    """The refusal for anchors that cannot be read."""
    return TrustError("anchors_unreadable", f"{path} cannot be read: {files.reason(error)}", path=str(path))
