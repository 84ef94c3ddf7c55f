# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site tells its gate: ``/etc/hepix-vmimages/gate.json``, which only root can have written."""

from __future__ import annotations

import os
import stat
import typing as t
from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from ... import files
from ...durations import parse_duration
from ...errors import HypervisorError, TrustError
from ...imagelist.strict_json import parse_json
from ...transfer.atomic import storage_error
from ..instances.records import DEFAULT_DIRECTORY

DEFAULT_PATH: t.Final = "/etc/hepix-vmimages/gate.json"
DEFAULT_STATE: t.Final = "/var/lib/hepix-vmimages"
ENFORCE: t.Final = "enforce"
WARN: t.Final = "warn"
#: What the gate cannot judge, and lets through where the site says so; `domain` tells what each of them is.
KINDS: t.Final = ("boot", "commandline", "devices", "firmware", "kernel", "network_disks", "other_disks")
OVERLAYS: t.Final = ("chain", "record")

_LARGEST: t.Final = 256 * 1024


@dataclass(frozen=True)
class Settings:
    """The configuration; without a file these defaults.

    `names` and `uuids` are patterns (``*``, ``?``, ``[...]``) of domains that are not looked at; `allow` holds
    `KINDS`; read-only ISOs in `iso_directories` pass; `overlays` tells whether what an overlay lies on is enough
    (``chain``), or each instance needs its record (``record``). Verdicts may be as old as `max_age`.
    """

    policy: str = ENFORCE
    state_dir: Path = Path(DEFAULT_STATE)
    records_dir: Path = Path(DEFAULT_DIRECTORY)
    max_age: timedelta | None = None
    names: tuple[str, ...] = ()
    uuids: tuple[str, ...] = ()
    iso_directories: tuple[Path, ...] = ()
    allow: frozenset[str] = frozenset()
    overlays: str = "chain"

    def exempts(self, name: str, uuid: str) -> bool:
        """Whether the site lets this domain start whatever its disks are."""
        return any(fnmatchcase(name, one) for one in self.names) or any(
            fnmatchcase(uuid.lower(), one.lower()) for one in self.uuids
        )


def load(path: str | None = None) -> Settings:
    """The settings at `path`, which must be there; without one those at `DEFAULT_PATH`, or the defaults.

    Raises `HypervisorError`: ``gate_invalid`` with the key that is wrong, ``gate_unsafe``; `TransferError`.
    """
    place = Path(path or DEFAULT_PATH).absolute()
    try:
        found, octets = files.read(place, _LARGEST)
    except FileNotFoundError as error:
        if path is None:
            return Settings()
        raise storage_error(error, place, reading=True) from error
    except OSError as error:
        raise storage_error(error, place, reading=True) from error
    except files.UnusableFileError as error:
        raise _invalid(place, f"It cannot be used: {error}") from error
    _require_safe(place, found)
    try:
        document = parse_json(octets)
    except (TrustError, RecursionError) as error:
        raise _invalid(place, "It is not strict JSON (no key twice, no comment)") from error
    if not isinstance(document, dict):
        raise _invalid(place, "It is not a JSON object")
    try:
        return Settings(**{key: _read(key, value) for key, value in document.items()})
    except ValueError as error:
        raise _invalid(place, str(error)) from error


def _read(key: str, value: t.Any) -> t.Any:
    reader = _READERS.get(key)
    if reader is None:
        raise ValueError(f"{key}: there is no such key")
    try:
        return reader(value)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _one_of(*choices: str) -> t.Callable[[t.Any], str]:
    def read(value: t.Any) -> str:
        if value not in choices or not isinstance(value, str):
            raise ValueError(f"{value!r} is none of {', '.join(choices)}")
        return value

    return read


def _path(value: t.Any) -> Path:
    if not isinstance(value, str) or not value.startswith("/"):
        raise ValueError(f"{value!r} is not an absolute path")
    return Path(value)


def _age(value: t.Any) -> timedelta | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a duration such as 12h")
    return parse_duration(value)


def _several(reader: t.Callable[[t.Any], t.Any]) -> t.Callable[[t.Any], tuple[t.Any, ...]]:
    def read(value: t.Any) -> tuple[t.Any, ...]:
        if not isinstance(value, list):
            raise ValueError("it is not a list")
        return tuple(reader(one) for one in value)

    return read


def _pattern(value: t.Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is not a pattern such as infra-*")
    return value


def _kinds(value: t.Any) -> frozenset[str]:
    return frozenset(_several(_one_of(*KINDS))(value))


_READERS: t.Final[t.Mapping[str, t.Callable[[t.Any], t.Any]]] = {
    "policy": _one_of(ENFORCE, WARN),
    "state_dir": _path,
    "records_dir": _path,
    "max_age": _age,
    "names": _several(_pattern),
    "uuids": _several(_pattern),
    "iso_directories": _several(_path),
    "allow": _kinds,
    "overlays": _one_of(*OVERLAYS),
}


def _require_safe(path: Path, found: os.stat_result) -> None:
    _require(path, found)
    for above in {*path.parents, *Path(os.path.realpath(path)).parents}:
        status = above.stat()
        # In a directory with the sticky bit nobody replaces what is somebody else's.
        if not status.st_mode & stat.S_ISVTX:
            _require(above, status)


def _require(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        detail = f"{path} belongs to the user number {found.st_uid} and has mode {mode:04o}: others may change it"
        raise HypervisorError("gate_unsafe", detail, path=str(path))


def _invalid(path: Path, why: str) -> HypervisorError:
    return HypervisorError("gate_invalid", f"{path}: {why}", path=str(path))
