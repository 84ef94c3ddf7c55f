# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run is about to change, kept outside the image: one tar archive per run."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
import typing as t
from datetime import datetime
from pathlib import Path

from ...errors import GuestError
from ...transfer.atomic import make_directory, write_atomic
from .tree import Root, guest_errors


def check_outside(root: Root, directory: str) -> None:
    """Refuse a directory for backups that is a part of the image. Raises `GuestError` (backup_inside)."""
    place = os.path.realpath(directory)
    if os.path.commonpath([place, root.path]) == root.path:
        raise GuestError("backup_inside", f"{directory} is inside the tree {root.path}", path=directory)


def keep(root: Root, paths: t.Iterable[str], directory: str, now: datetime) -> str | None:
    """Write those of `paths` that are there into a new archive under `directory`; its path, None when none is there.

    The archive has mode 0600, names as inside the tree, and owner, mode and extended attributes of each file: it can be
    unpacked over the tree with ``tar --xattrs -xpf``. Raises `GuestError`, `TransferError`.
    """
    check_outside(root, directory)
    found = [path for path in dict.fromkeys(paths) if root.exists(path)]
    if not found:
        return None
    octets = io.BytesIO()
    with tarfile.open(fileobj=octets, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in found:
            _add(archive, root, path)
    make_directory(directory, 0o700)
    target = _fresh(Path(directory), now)
    write_atomic(target, octets.getvalue(), 0o600)
    return str(target)


def _fresh(directory: Path, now: datetime) -> Path:
    stem = now.strftime("%Y%m%dT%H%M%SZ")
    target = directory / f"{stem}.tar"
    count = 1
    while target.exists():
        count += 1
        target = directory / f"{stem}-{count}.tar"
    return target


def _add(archive: tarfile.TarFile, root: Root, path: str) -> None:
    says = root.link(path)
    if says is not None:
        member = tarfile.TarInfo(path.lstrip("/"))
        member.type, member.linkname = tarfile.SYMTYPE, says
        archive.addfile(member)
        return
    with root.open(path) as file, guest_errors(path):
        status = os.fstat(file.fileno())
        member = tarfile.TarInfo(path.lstrip("/"))
        member.size, member.mode, member.mtime = status.st_size, status.st_mode & 0o7777, int(status.st_mtime)
        member.uid, member.gid = status.st_uid, status.st_gid
        member.pax_headers = _attributes(file.fileno())
        archive.addfile(member, file)


def _attributes(fd: int) -> dict[str, str]:
    """Extended attributes as tar keeps them; those that are no text cannot be kept so."""
    kept: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for name in os.listxattr(fd):
            with contextlib.suppress(UnicodeDecodeError):
                kept[f"SCHILY.xattr.{name}"] = os.getxattr(fd, name).decode()
    return kept
