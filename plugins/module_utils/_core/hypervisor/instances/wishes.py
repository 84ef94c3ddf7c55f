# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance as it is wanted, from the options of one item; what only the image can tell comes later."""

from __future__ import annotations

import grp
import pwd
import re
import socket
import typing as t
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ...durations import parse_duration
from ...guest.context.disks import Wanted, wanted_disks
from ...site.store.state import user_name
from ...sizes import parse_size
from ...times import from_text
from .. import machine as machines
from ..given import invalid
from .volumes import METHODS, VolumeWish

STATES: t.Final = ("present", "absent", "restarted")
#: Instances without a UUID of their own get one that is the same each time, on this host.
_NAMESPACE: t.Final = uuid.UUID("b5a3a0a6-0c5b-5f0e-9d0b-2f3f0c9d7a11")
_UUID: t.Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: Options that a machine is described by, as they are.
_MACHINE: t.Final = ("memory", "cpus", "machine", "cpu", "networks", "console_log", "vnc", "bootloader")


@dataclass(frozen=True)
class ContextWish:
    """A context disk at `path`; `made` describes it where it is made here, else it is only attached."""

    path: str
    attach: str
    made: Wanted | None = None


@dataclass(frozen=True)
class Wish:
    """One instance. `uuid` None: that of the instance that is there, else one derived from its name."""

    name: str
    uuid: str | None
    state: str
    output: str
    connection: str | None
    records_dir: Path
    state_dir: str
    patience: float
    ca_path: str | None = None
    image: str = ""
    mode: str = "kvm"
    format: str | None = None
    is_started: bool = True
    is_restarted_when_changed: bool = False
    is_rebuilt: bool = False
    is_verified_whole: bool = False
    autostart: bool | None = None
    max_age: timedelta | None = None
    boot_info: t.Mapping[str, t.Any] | None = None
    volume: VolumeWish | None = None
    target: str | None = None
    contexts: tuple[ContextWish, ...] = ()
    until: datetime | None = None
    ttl: timedelta | None = None
    author: str = ""
    directory: Path | None = None
    dest: Path | None = None
    opennebula: t.Mapping[str, t.Any] | None = None
    machine: t.Mapping[str, t.Any] | None = None

    @property
    def where(self) -> str:
        """What the name belongs to: a connection, or the files of a kind."""
        return self.connection or self.output

    @property
    def usual_paths(self) -> tuple[Path, ...]:
        """Where the disk and its context disk are unless other places are given."""
        if self.directory is None:
            return ()
        return tuple(self.directory / f"{self.name}{ending}" for ending in (".qcow2", ".img", "-context.iso"))

    def derived_uuid(self) -> str:
        return derived_uuid(self.where, self.name)


def derived_uuid(where: str, name: str) -> str:
    """The UUID of an instance that was given none."""
    return str(uuid.uuid5(_NAMESPACE, f"{socket.gethostname()} {where} {name}"))


def read_wish(options: t.Mapping[str, t.Any]) -> Wish:
    """The wish that the options of an item state. Raises `HypervisorError` ``machine_invalid``, `ContextError`."""
    name = machines.check_name(options.get("name"))
    output, state = options["output"], options["state"]
    own = options.get("uuid")
    if own is not None and not _UUID.fullmatch(own.lower()):
        raise invalid("uuid", f"{own!r} is not a UUID")
    if state == "restarted" and output != "domain":
        raise invalid("state", f"what is only written down ({output}) is not restarted")
    common: dict[str, t.Any] = {
        "name": name,
        "uuid": None if own is None else own.lower(),
        "state": state,
        "output": output,
        "connection": options["connection"] if output == "domain" else None,
        "records_dir": Path(options["records_dir"]),
        "state_dir": options["state_dir"],
        "ca_path": options.get("ca_path"),
        "patience": _seconds(options["stop_timeout"]),
        "dest": None if options.get("dest") is None else _absolute(options["dest"], "dest"),
        "opennebula": options.get("opennebula"),
    }
    directory = _absolute(options["directory"], "directory")
    if state == "absent":
        return Wish(**common, directory=directory)
    if not options.get("image"):
        raise invalid("image", f"{name} needs one")
    if output == "opennebula" and not (options.get("opennebula") or {}).get("image"):
        raise invalid("opennebula.image", "the name that the image has in the datastore is needed")
    instance = common["uuid"] or derived_uuid(common["connection"] or output, name)
    disk = options.get("disk") or {}
    method = disk.get("method") or "overlay"
    until = options.get("until")
    return Wish(
        **common,
        directory=directory,
        image=options["image"],
        mode=options["mode"],
        format=disk.get("format"),
        is_started=options["started"],
        is_restarted_when_changed=options["restart_when_changed"],
        is_rebuilt=options["rebuild"],
        is_verified_whole=options["verify"] == "sha512",
        autostart=options.get("autostart"),
        max_age=None if options.get("max_age") is None else _duration(options["max_age"], "max_age"),
        boot_info=options.get("boot_info"),
        volume=_volume(disk, method, directory, name),
        target=disk.get("target"),
        contexts=_contexts(options, directory, name, instance),
        until=None if until is None else _time(until, "until"),
        ttl=None if options.get("ttl_hours") is None else _hours(options["ttl_hours"]),
        author=options.get("author") or user_name(),
        machine={key: options[key] for key in _MACHINE if options.get(key) is not None},
    )


def _volume(disk: t.Mapping[str, t.Any], method: str, directory: Path, name: str) -> VolumeWish:
    if method not in METHODS:
        raise invalid("disk.method", f"{method!r} is none of {', '.join(METHODS)}")
    path = disk.get("path")
    if path is None and method == "device":
        raise invalid("disk.path", "a device has to be named")
    size = disk.get("size")
    try:
        octets = None if size is None else parse_size(size)
    except ValueError as error:
        raise invalid("disk.size", str(error)) from error
    return VolumeWish(
        path=directory / f"{name}.{'qcow2' if method == 'overlay' else 'img'}"
        if path is None
        else _absolute(path, "disk.path"),
        method=method,
        size=octets,
        mode=_mode(disk.get("mode")),
        owner=_number(disk.get("owner"), "owner"),
        group=_number(disk.get("group"), "group"),
        overwrite=bool(disk.get("overwrite")),
    )


def _contexts(options: t.Mapping[str, t.Any], directory: Path, name: str, instance: str) -> tuple[ContextWish, ...]:
    found = []
    for number, one in enumerate(options.get("contexts") or ()):
        where = f"contexts[{number}]"
        path, iso = one.get("path"), one.get("iso")
        if path is None and iso is None:
            raise invalid(where, "it has neither a path nor an iso")
        if path is None:
            path = directory / f"{name}-context{number or ''}.iso"
        path = str(_absolute(path, f"{where}.path"))
        made = None
        if iso is not None:
            usual = {"ttl_hours": options.get("ttl_hours"), "instance_id": instance}
            (made,) = wanted_disks({**usual, **iso, "dest": path})
        found.append(ContextWish(path, one.get("attach") or "auto", made))
    return tuple(found)


def _absolute(path: str | Path, option: str) -> Path:
    given = Path(path)
    if not given.is_absolute() or ".." in given.parts:
        raise invalid(option, f"{str(path)!r} is not an absolute path")
    return given


def _seconds(text: str) -> float:
    return _duration(text, "stop_timeout").total_seconds()


def _duration(text: str, option: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise invalid(option, str(error)) from error


def _hours(number: int) -> timedelta:
    if not 1 <= number <= 24 * 3660:
        raise invalid("ttl_hours", f"{number} is not a number of hours from 1")
    return timedelta(hours=number)


def _time(text: str, option: str) -> datetime:
    try:
        return from_text(text)
    except ValueError as error:
        raise invalid(option, f"{text!r} is not a time in UTC such as 2027-01-31T00:00:00Z") from error


def _mode(text: str | None) -> int:
    if text is None:
        return 0o600
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise invalid("disk.mode", f"{text!r} is no mode such as '0600'")
    return int(text, 8)


def _number(name: str | None, option: str) -> int | None:
    if name is None or name.isdecimal():
        return None if name is None else int(name)
    try:
        return pwd.getpwnam(name).pw_uid if option == "owner" else grp.getgrnam(name).gr_gid
    except KeyError:
        raise invalid(f"disk.{option}", f"this host knows no {name[:40]!r}") from None
