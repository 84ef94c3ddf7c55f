# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was made for an instance, and of which image: one file for each domain, which only root can have written.

A domain's metadata may be written by whoever may define it, and a running copy no longer has its image's sha512: so
the gate believes these files. It is used before each start, and needs the standard library only.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import typing as t
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path

from ...errors import HypervisorError, VmimagesError
from ...times import from_text, to_text
from ...transfer.atomic import StrPath, fsync_directory, make_directory, storage_error, write_atomic

SCHEMA: t.Final = 1
DEFAULT_DIRECTORY: t.Final = "/var/lib/hepix-instances"
KINDS: t.Final = ("overlay", "copy", "device")

_UUID: t.Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_LARGEST: t.Final = 256 * 1024
_Part = t.TypeVar("_Part", "DiskRecord", "ImageRecord")


@dataclass(frozen=True)
class DiskRecord:
    """The disk: `kind` is overlay, copy (a file) or device (a block device), `backing` what an overlay lies on.

    `device` and `inode` tell the file by whatever name; of a block device, `device` is its own number and `inode` 0.
    """

    path: str
    kind: str
    format: str
    backing: str | None
    device: int
    inode: int


@dataclass(frozen=True)
class ImageRecord:
    """The image, as its verdict allowed it; `path` is its file in the cache, with what that was like then."""

    uuid: str
    version: str
    sha512: str
    size: int
    list: str
    list_version: str
    endorser_dn: str
    endorser_ca: str
    expires: datetime
    path: str
    mtime_ns: int


@dataclass(frozen=True)
class Record:
    """An instance. `connection` is None where no libvirt has it; `until` is the end of its time to live. Aware times.

    `contexts` are the paths of its context disks. What `made` names was made for this instance, and goes with it.
    """

    uuid: str
    name: str
    connection: str | None
    mode: str
    created: datetime
    until: datetime | None
    author: str
    disk: DiskRecord
    image: ImageRecord
    contexts: tuple[str, ...] = ()
    made: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON; `from_dict` reads it back."""
        document = {"schema": SCHEMA, **asdict(self), "contexts": list(self.contexts), "made": list(self.made)}
        document["created"] = to_text(self.created)
        document["until"] = None if self.until is None else to_text(self.until)
        document["image"]["expires"] = to_text(self.image.expires)
        return document

    @classmethod
    def from_dict(cls, document: t.Any) -> Record:
        """Raises ValueError that names the place."""
        known = {"schema", *(field.name for field in fields(cls))}
        given = _mapping(document, "record", known)
        if given["schema"] != SCHEMA or isinstance(given["schema"], bool):
            raise ValueError(f"schema: {given['schema']!r} is not {SCHEMA}")
        until = given["until"]
        record = cls(
            uuid=_text(given, "uuid"),
            name=_text(given, "name"),
            connection=None if given["connection"] is None else _text(given, "connection"),
            mode=_text(given, "mode"),
            created=_time(given, "created"),
            until=None if until is None else _time(given, "until"),
            author=_text(given, "author"),
            disk=_part(DiskRecord, given["disk"], "disk"),
            image=_part(ImageRecord, given["image"], "image"),
            contexts=_paths(given, "contexts"),
            made=_paths(given, "made"),
        )
        if not _UUID.fullmatch(record.uuid) or not _UUID.fullmatch(record.image.uuid):
            raise ValueError("uuid: it is not a UUID in lower case")
        if record.disk.kind not in KINDS:
            raise ValueError(f"disk.kind: {record.disk.kind!r} is none of {', '.join(KINDS)}")
        return record


def write(records_dir: StrPath, record: Record) -> Path:
    """Write the record durably, in place of the one before; the directory is made where it is missing.

    Raises `HypervisorError` (``record_unsafe``), `TransferError` (``disk_full``, ``not_writable``).
    """
    os.close(open_made(records_dir))
    octets = json.dumps(record.as_dict(), indent=1, sort_keys=True).encode() + b"\n"
    path = path_of(records_dir, record.uuid)
    write_atomic(path, octets, mode=0o644)
    return path


def read(records_dir: StrPath, uuid: str) -> Record | None:
    """The record of the domain `uuid`; None where there is none, as for whatever is no UUID in lower case.

    Raises `HypervisorError`: ``record_unsafe`` where somebody other than root, or whoever runs this, may have written
    it, ``record_malformed``; `TransferError`: ``not_readable``.
    """
    if not _UUID.fullmatch(uuid):
        return None
    directory = _open_directory(records_dir)
    if directory is None:
        return None
    try:
        return _read(records_dir, directory, uuid)
    finally:
        os.close(directory)


def all(records_dir: StrPath, *, refused: list[VmimagesError] | None = None) -> tuple[Record, ...]:
    """Every record, by the UUIDs of the domains. What cannot be believed is raised, or put into `refused` if given."""
    directory = _open_directory(records_dir)
    if directory is None:
        return ()
    found = []
    try:
        with os.scandir(directory) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            uuid = name[: -len(".json")]
            if not name.endswith(".json") or not _UUID.fullmatch(uuid):
                continue
            try:
                record = _read(records_dir, directory, uuid)
            except VmimagesError as error:
                if refused is None:
                    raise
                refused.append(error)
                continue
            # Gone meanwhile.
            if record is not None:
                found.append(record)
    finally:
        os.close(directory)
    return tuple(found)


def remove(records_dir: StrPath, uuid: str) -> bool:
    """Remove the record of the domain; whether there was one. Raises as `write`."""
    directory = _open_directory(records_dir)
    if directory is None or not _UUID.fullmatch(uuid):
        return False
    os.close(directory)
    path = path_of(records_dir, uuid)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise storage_error(error, path) from error
    fsync_directory(records_dir)
    return True


def open_made(records_dir: StrPath) -> int:
    """A descriptor of the directory, which is made where it is missing. Raises as `write`."""
    make_directory(records_dir)
    directory = _open_directory(records_dir)
    if directory is None:
        raise storage_error(FileNotFoundError(errno.ENOENT, "gone"), records_dir)
    return directory


def path_of(records_dir: StrPath, uuid: str) -> Path:
    """The file of the record of the domain."""
    return Path(records_dir) / f"{uuid}.json"


def _open_directory(records_dir: StrPath) -> int | None:
    """None where there is none. Nobody else may put another directory in its place, nor files into it."""
    path = Path.cwd() / records_dir
    for above in (*path.parents, *path.parent.resolve().parents):
        _check_above(above)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(error, path) from error
    try:
        _check(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_above(path: Path) -> None:
    try:
        found = path.stat()
    except OSError:
        # Opening what lies below says why.
        return
    if not found.st_mode & stat.S_ISVTX:
        _check(found, path)


def _check(found: os.stat_result, path: Path) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise _unsafe(path, f"belongs to the user number {found.st_uid}")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _unsafe(path, f"has mode {stat.S_IMODE(found.st_mode):04o}: others may write to it")


def _read(records_dir: StrPath, directory: int, uuid: str) -> Record | None:
    path = path_of(records_dir, uuid)
    try:
        # Without NONBLOCK a pipe in its place would be waited for.
        descriptor = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(error, path) from error
    with os.fdopen(descriptor, "rb") as stream:
        found = os.fstat(stream.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _unsafe(path, "is not a regular file")
        _check(found, path)
        octets = stream.read(_LARGEST + 1)
    try:
        if len(octets) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST} octets")
        record = Record.from_dict(json.loads(octets))
        if record.uuid != uuid:
            raise ValueError(f"uuid: it is that of another domain, {record.uuid}")
    except (ValueError, RecursionError) as error:
        raise HypervisorError("record_malformed", f"{path}: {error}", path=str(path)) from error
    return record


def _unsafe(path: Path, why: str) -> HypervisorError:
    return HypervisorError("record_unsafe", f"{path} {why}", path=str(path))


def _unusable(error: OSError, path: Path) -> VmimagesError:
    """ELOOP: a link; ENOTDIR: a link again, or a file in the directory's place."""
    if path.is_symlink():
        return _unsafe(path, "is a symbolic link")
    return storage_error(error, path, reading=True)


def _mapping(value: t.Any, where: str, keys: t.Collection[str]) -> t.Mapping[str, t.Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where}: it is not a mapping")
    odd = sorted(set(keys) ^ set(value))
    if odd:
        raise ValueError(f"{where}: {odd[0]!r} is {'unknown' if odd[0] in value else 'missing'}")
    return value


def _part(kind: type[_Part], value: t.Any, where: str) -> _Part:
    """Texts, numbers and times as the annotations have them."""
    types = {field.name: str(field.type) for field in fields(kind)}
    given = _mapping(value, where, types)
    readers: dict[str, t.Any] = {"str": _text, "int": _number, "datetime": _time}
    read_as: dict[str, t.Callable[[t.Mapping[str, t.Any], str], t.Any]] = {
        name: _optional_text if "None" in of else readers[of] for name, of in types.items()
    }
    try:
        return kind(**{name: reader(given, name) for name, reader in read_as.items()})
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from error


def _text(given: t.Mapping[str, t.Any], key: str) -> str:
    value = given[key]
    if not isinstance(value, str) or not value:
        raise ValueError(f"{key}: {value!r} is not a text")
    return value


def _optional_text(given: t.Mapping[str, t.Any], key: str) -> str | None:
    return None if given[key] is None else _text(given, key)


def _number(given: t.Mapping[str, t.Any], key: str) -> int:
    value = given[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{key}: {value!r} is not a whole number")
    return value


def _time(given: t.Mapping[str, t.Any], key: str) -> datetime:
    return from_text(_text(given, key))


def _paths(given: t.Mapping[str, t.Any], key: str) -> tuple[str, ...]:
    value = given[key]
    if not isinstance(value, list) or not _are_texts(value):
        raise ValueError(f"{key}: it is not a list of paths")
    return tuple(value)


def _are_texts(values: t.Iterable[t.Any]) -> bool:
    """`all` has another meaning in this module."""
    return not [value for value in values if not isinstance(value, str) or not value]
