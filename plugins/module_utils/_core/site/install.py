# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image in a hypervisor's directory: shared with the cache, or a verified copy; there while the verdict allows it.

What was installed is journaled with its stat record, so that a second run reads nothing. The catalogue is asked and
written as its owner, the destination as whoever calls: often root.

There are no hard links to the cache: a guest that writes would change the endorsed octets, and each link that comes or
goes sets the ctime by which the cache knows that nobody has touched its file.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import socket
import stat
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..disks.headers import inspect
from ..errors import SiteError, TransferError
from ..outcome import Outcome
from ..transfer import clone
from ..transfer.atomic import fsync_directory, storage_errors, temporary_sibling
from . import queries
from .cache.room.in_use import is_open
from .judgement.records import stat_record
from .judgement.verdict import require_allowed

if t.TYPE_CHECKING:
    import sqlite3

    from .store.catalogue import Catalogue

METHODS: t.Final = ("auto", "reflink", "copy")

#: Opens the catalogue, for a moment each time.
Opener = t.Callable[[], "contextlib.AbstractContextManager[Catalogue]"]


@dataclass(frozen=True)
class Wanted:
    """The image (UUID or tag) in a format (None: as it was endorsed) at `path`, by a method of `METHODS`.

    `remove_refused`: whether it is taken away when the verdict does not allow it, in place of a failure.
    """

    image: str
    path: Path
    format: t.Optional[str] = None
    method: str = "auto"
    mode: int = 0o644
    owner: t.Optional[str] = None
    group: t.Optional[str] = None
    remove_refused: bool = False


@dataclass(frozen=True)
class _Source:
    path: Path
    format: str
    sha512: str
    stat: t.Mapping[str, int]


def install(opened: Opener, wanted: Wanted, *, check: bool = False) -> Outcome:
    """Make the file what the cache has of the image, if its verdict allows it.

    Raises SiteError with the verdict's code when it does not (unless it is to be removed then), ``not_derived``,
    ``method_unsupported``, ``image_in_use`` where another file would be taken away from a process, and
    ``not_installed_here`` for a destination that is no file; TransferError
    ``file_changed``, ``checksum_mismatch``, ``disk_full``, ``not_writable``, ``not_found``.
    """
    _require_path(wanted.path)
    with opened() as catalogue:
        image = queries.judge(catalogue, wanted.image)
        row = _installed(catalogue, wanted.path)
    if wanted.remove_refused and not image["verdict"]["allowed"]:
        return remove(opened, wanted.path, check=check, code=image["verdict"]["code"])
    require_allowed(image)
    source = _source(image, wanted.format)
    found = stat_record(wanted.path)
    if _is_installed(row, found, source, wanted):
        changed = _dress(wanted, check=check)
        return _outcome(changed, wanted.path, source, row["method"] if row else None, image)
    _require_unused(wanted.path)
    if check:
        return _outcome(True, wanted.path, source, None, image, before=found)
    method = _place(source, wanted)
    record = {
        "host": socket.gethostname(),
        "path": str(wanted.path),
        "image": image["identifier"],
        "list": image["list"],
        "format": source.format,
        "sha512": source.sha512,
        "method": method,
        "stat": stat_record(wanted.path),
    }
    with opened() as catalogue, catalogue.writing() as writer:
        writer.commit(("installed", record))
    return _outcome(True, wanted.path, source, method, image, before=found)


def remove(opened: Opener, path: Path, *, check: bool = False, code: t.Optional[str] = None) -> Outcome:
    """Take away a file that was installed here; ``not_installed_here`` for any other one."""
    _require_path(path)
    with opened() as catalogue:
        row = _installed(catalogue, path)
    found = stat_record(path)
    if found is None and row is None:
        return _removed(False, path, code)
    if found is not None and row is None:
        raise SiteError("not_installed_here", f"{path} was not installed from this cache.", path=str(path))
    if not check:
        if found is not None:
            with storage_errors(path):
                path.unlink()
            fsync_directory(path.parent)
        with opened() as catalogue, catalogue.writing() as writer:
            writer.commit(("uninstalled", {"host": socket.gethostname(), "path": str(path), "code": code}))
    return _removed(True, path, code)


def _require_path(path: Path) -> None:
    if not path.is_absolute() or ".." in path.parts:
        raise SiteError("option_invalid", f"path: {str(path)!r} is not an absolute path.", option="path")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        if not stat.S_ISREG(os.lstat(path).st_mode):
            raise SiteError("not_installed_here", f"{path} is no regular file.", path=str(path))


def _installed(catalogue: Catalogue, path: Path) -> t.Optional[sqlite3.Row]:
    return catalogue.row("SELECT * FROM installed WHERE host = ? AND path = ?", socket.gethostname(), str(path))


def _source(image: t.Mapping[str, t.Any], wanted: t.Optional[str]) -> _Source:
    """The file to install; a disk is looked at first, since whoever starts it opens what it names."""
    if wanted is None:
        path = Path(image["verdict"]["path"])
        record = stat_record(path)
        if record is None:
            raise SiteError("not_cached", f"{path} is gone.", path=str(path))
        plain = next((kind for kind, one in image["formats"].items() if not one["derived"]), "")
        source = _Source(path, plain, image["sha512"], record)
    else:
        one = image["formats"].get(wanted)
        if one is None:
            raise SiteError(
                "not_derived", f"Image {image['identifier']} is not in the cache as {wanted}.", format=wanted
            )
        source = _Source(Path(one["path"]), wanted, one["sha512"], one["stat"])
    if source.format:
        inspect(source.path, source.format)
    return source


def _is_installed(
    row: t.Optional[sqlite3.Row], found: t.Optional[t.Mapping[str, int]], source: _Source, wanted: Wanted
) -> bool:
    """Whether the file is, untouched, what was installed, and these are the octets that are wanted."""
    if row is None or found is None or row["sha512"] != source.sha512:
        return False
    # Whoever starts a guest may change the owner of its files, and so their ctime.
    same = all(found[key] == row[key] for key in ("size", "mtime_ns", "inode"))
    return same and wanted.method in ("auto", row["method"])


def _dress(wanted: Wanted, *, check: bool) -> bool:
    """Give the file the owner, group and mode that are wanted; whether they were others."""
    found = wanted.path.lstat()
    uid, gid = _identity(wanted)
    same = stat.S_IMODE(found.st_mode) == wanted.mode and uid in (-1, found.st_uid) and gid in (-1, found.st_gid)
    if not same and not check:
        with storage_errors(wanted.path):
            os.chown(wanted.path, uid, gid, follow_symlinks=False)
            wanted.path.chmod(wanted.mode)
    return not same


def _identity(wanted: Wanted) -> tuple[int, int]:
    """Numbers of owner and group, -1 for those that stay; ``option_invalid`` for names that nobody has."""
    try:
        uid = pwd.getpwnam(wanted.owner).pw_uid if wanted.owner is not None else -1
    except KeyError:
        raise SiteError("option_invalid", f"owner: there is no user {wanted.owner!r}.", option="owner") from None
    try:
        gid = grp.getgrnam(wanted.group).gr_gid if wanted.group is not None else -1
    except KeyError:
        raise SiteError("option_invalid", f"group: there is no group {wanted.group!r}.", option="group") from None
    return uid, gid


def _require_unused(path: Path) -> None:
    """Nobody's disk is taken away, or given other octets."""
    if os.path.lexists(path) and is_open(path):
        raise SiteError("image_in_use", f"{path} is another file, which is in use.", path=str(path))


def _place(source: _Source, wanted: Wanted) -> str:
    """Put the file in its place, in one step; the method that was used."""
    with storage_errors(source.path, reading=True):
        descriptor = os.open(source.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    temporary = temporary_sibling(wanted.path)
    try:
        _require_same(descriptor, source)
        method = _make(descriptor, temporary, source, wanted)
        _require_same(descriptor, source)
        with storage_errors(wanted.path):
            os.chown(temporary, *_identity(wanted), follow_symlinks=False)
            temporary.replace(wanted.path)
        fsync_directory(wanted.path.parent)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            temporary.unlink()
    return method


def _make(descriptor: int, temporary: Path, source: _Source, wanted: Wanted) -> str:
    if wanted.method in ("auto", "reflink"):
        if clone.reflink(descriptor, temporary, wanted.mode):
            return "reflink"
        if wanted.method == "reflink":
            raise SiteError(
                "method_unsupported", f"{wanted.path} cannot share its octets with the cache.", path=str(wanted.path)
            )
    clone.copy(descriptor, temporary, wanted.mode, sha512=source.sha512, shown=str(source.path))
    return "copy"


def _require_same(descriptor: int, source: _Source) -> None:
    found = os.fstat(descriptor)
    now = {
        "size": found.st_size,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
        "inode": found.st_ino,
    }
    if now != dict(source.stat):
        raise TransferError("file_changed", f"{source.path} is no longer the verified file.", path=str(source.path))


def _outcome(
    changed: bool,
    path: Path,
    source: _Source,
    method: t.Optional[str],
    image: t.Mapping[str, t.Any],
    *,
    before: t.Optional[t.Mapping[str, int]] = None,
) -> Outcome:
    state = {"state": "present", "sha512": source.sha512, "format": source.format or None}
    entry = {"action": "install", "image": image["identifier"], "path": str(path), "code": None}
    return Outcome(
        changed=changed,
        before=state if not changed else {"state": "other" if before else "absent"},
        after=state,
        actions=(entry,) if changed else (),
        data={
            "file": str(path),
            "image": image["identifier"],
            "version": image["version"],
            "format": source.format or None,
            "sha512": source.sha512,
            "method": method,
            "verdict": image["verdict"],
        },
    )


def _removed(changed: bool, path: Path, code: t.Optional[str]) -> Outcome:
    entry = {"action": "remove", "image": None, "path": str(path), "code": code}
    return Outcome(
        changed=changed,
        before={"state": "present" if changed else "absent"},
        after={"state": "absent"},
        actions=(entry,) if changed else (),
        data={
            "file": str(path),
            "image": None,
            "version": None,
            "format": None,
            "sha512": None,
            "method": None,
            "verdict": None,
        },
    )
