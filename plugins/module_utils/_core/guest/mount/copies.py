# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Raw copies of images in another format, for reading: the kernel mounts no other, and a copy is its owner's alone.

A copy lies in a directory of its own, which is named after the image's path and state: the same image, unchanged, has
the same copy, and a changed one another. It goes with the last mount of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import typing as t
from pathlib import Path

from ...disks.headers import inspect
from ...disks.qemu import convert
from ...errors import GuestError
from ..root.names import shown
from .kernel import mounted

#: The formats that are copied, beside raw, which is mounted as it is.
FORMATS: t.Final = ("qcow2", "vmdk", "vdi", "vhd")

_NAME: t.Final = "disk.raw"
_SOURCE: t.Final = "source"
_DIRECTORY: t.Final = re.compile(r"hepix-vmimages\.[0-9a-f]{32}\Z")


def place_of(source: str, scratch: str) -> str:
    """Where the copy of `source`, as it is now, is or would be. Raises `GuestError` (image_missing)."""
    try:
        status = Path(source).stat()
    except OSError as error:
        why = (error.strerror or "it cannot be read").lower()
        raise GuestError("image_missing", f"{source} cannot be read: {why}", path=source) from error
    state = repr((source, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns))
    digest = hashlib.sha256(state.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    return str(Path(os.path.realpath(scratch), f"hepix-vmimages.{digest}", _NAME))


def make_copy(source: str, kind: str, copy: str) -> None:
    """Make the raw copy, if there is none that is mounted. What an attempt that was killed left is made anew.

    Raises `GuestError` (copy_refused), `DiskError`, `TransferError`.
    """
    if any(mount.image == copy for mount in mounted()):
        return
    disk = inspect(Path(source), kind)
    directory = Path(copy).parent
    _make_private(directory)
    try:
        Path(copy).unlink(missing_ok=True)
        convert(Path(source), disk, Path(copy), "raw", niceness=0)
        (directory / _SOURCE).write_text(source, encoding="utf-8", errors="surrogateescape")
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def _make_private(directory: Path) -> None:
    """A directory of our own: in a directory that everybody may write, another's is no place for a copy."""
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        pass
    except OSError as error:
        why = (error.strerror or "it cannot be made").lower()
        raise GuestError("copy_refused", f"{directory} cannot be made: {why}", path=str(directory)) from error
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise GuestError("copy_refused", f"{directory} is not a directory of this user alone", path=str(directory))


def origin_of(path: str | None) -> str | None:
    """The image that `path` is the raw copy of; None when it is none."""
    if path is None or not _is_copy(path):
        return None
    with contextlib.suppress(OSError):
        return Path(path).with_name(_SOURCE).read_text(encoding="utf-8", errors="surrogateescape")
    return None


def raw_of(image: str, root: str) -> str:
    """The raw disk of `image`: the copy that the tree `root` is mounted from, if it was made of it, else itself."""
    behind = next((mount.image for mount in mounted() if mount.target == root), None)
    return behind if behind is not None and origin_of(behind) == os.path.realpath(image) else image


def drop(paths: t.Iterable[str | None]) -> None:
    """Remove the copies among the paths that nothing has mounted any more."""
    in_use = {mount.image for mount in mounted()}
    for path in set(paths):
        if path is not None and _is_copy(path) and path not in in_use:
            shutil.rmtree(Path(path).parent, ignore_errors=True)


def _is_copy(path: str) -> bool:
    return Path(path).name == _NAME and _DIRECTORY.match(Path(path).parent.name) is not None


def refuse_writing(source: str, kind: str) -> GuestError:
    """What is written to a copy would not be in the image."""
    what = f"{shown(source)} is a {kind} image, which is mounted as a raw copy: nothing can be written to it"
    return GuestError("image_format_unsupported", what, path=source, found=kind)
