# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance as it is wanted: disk, context disks, record, domain, and whether it runs; planned, then carried out.

The record is written when the disk is ready and before anything else is in its place: whatever ends the call there,
the next one finds what was made, and takes it up or away.
"""

from __future__ import annotations

import contextlib
import functools
import os
import typing as t
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from ....errors import HypervisorError, TransferError
from ....guest.context.disks import Wanted, make_disks
from ....guest.context.payload.content import Fetch
from ....times import to_text
from ....transfer.atomic import make_directory, storage_errors, temporary_sibling, write_atomic
from ... import compare
from ...libvirt import domain_xml
from ...machine import Machine, doubts
from ...xl import xl_config
from .. import domains, records, volumes
from ..approval import Approved
from ..domains import Connections
from ..records import Record
from ..standing import Standing
from ..volumes import VolumeWish
from ..wishes import Wish
from .described import instance_record, machine_options
from .removing import add_files, add_leftovers
from .steps import Plan

#: What the domain says of its image; a machine that runs is not started again for it.
_METADATA: t.Final = "image "


@dataclass(frozen=True)
class Making:
    """What a plan is made from."""

    wish: Wish
    approved: Approved
    boot_info: t.Mapping[str, t.Any]
    standing: Standing
    now: datetime
    fetch: Fetch
    connections: Connections

    @property
    def volume(self) -> VolumeWish:
        wished, old = self.wish.volume, self.standing.record
        if wished is None:
            raise HypervisorError("machine_invalid", f"disk: {self.wish.name} has none")
        # What is on the instance's own device may be thrown away with the instance.
        is_own = old is not None and (old.disk.kind, old.disk.path) == ("device", str(wished.path))
        is_own = is_own and not volumes.is_named_by_order(wished.path)
        return replace(wished, overwrite=wished.overwrite or is_own)


def plan_making(making: Making) -> Plan:
    """The plan. Raises what a refusal of any part is: nothing was changed then."""
    wish, standing, approved = making.wish, making.standing, making.approved
    volumes.check_wish(making.volume, approved)
    plan = Plan(wish.name, standing)
    old = standing.record
    outdated = [] if old is None else _differs(making, old)
    is_replaced = bool(outdated)
    if is_replaced and not wish.is_rebuilt:
        raise HypervisorError("instance_outdated", f"{wish.name}: {' '.join(outdated)}", name=wish.name)
    is_made = _is_to_be_made(making, is_replaced)
    if is_made:
        volumes.check_free(making.volume)
        if volumes.is_named_by_order(making.volume.path):
            told = f"{making.volume.path} may be another disk after the next start of this host"
            plan.warnings.append(f"{wish.name}: disk.path: {told}; it has no name that lasts.")
    until = _until(making, is_new=is_made)
    machine = Machine.from_options(machine_options(making), making.boot_info)
    plan.warnings += [f"{wish.name}: {sentence}" for sentence in doubts(machine)]
    text, differences = _written(making, machine)
    is_stopped = standing.is_active and is_made

    def clear() -> None:
        if is_stopped:
            plan.add("stop", lambda: domains.stop(standing.domain, wish.patience))
        if is_replaced and old is not None:
            add_files(plan, old, [path for path in old.made if path == old.disk.path])

    record = instance_record(making, until, is_new=is_made)
    path = records.path_of(wish.records_dir, standing.uuid)
    if is_made:
        add_leftovers(plan, [*([making.volume.path] if making.volume.kind != "device" else []), path])
    _add_disk_and_record(plan, making, record, clear if is_made else None)
    is_context_new = _add_contexts(plan, making)
    _add_growth(plan, making, is_active=standing.is_active and not is_stopped, is_made=is_made)
    if wish.output == "domain":
        _add_domain(plan, making, text, differences)
        is_new = any(not one.what.startswith(_METADATA) for one in differences) or is_context_new
        _add_power(plan, making, is_stopped=is_stopped, is_new=standing.is_active and not is_stopped and is_new)
    else:
        _add_configuration(plan, wish, text)
        plan.result.update(state="recorded", restart_needed=False)
    plan.result.update(
        uuid=standing.uuid,
        image=approved.image,
        version=approved.version,
        mode=wish.mode,
        disk=str(making.volume.path),
        contexts=[one.path for one in wish.contexts],
        record=str(path),
        until=None if until is None else to_text(until),
        differences=[one.as_dict() for one in differences],
        xml=text if wish.output in ("domain", "libvirt") else None,
        configuration=text if wish.output == "xl" else None,
    )
    _show(plan, making, machine, differences)
    return plan


# what there is


def _differs(making: Making, old: Record) -> list[str]:
    """Sentences on why the disk that is there is not the wanted one."""
    approved, volume, told = making.approved, making.volume, []
    if (old.image.uuid, old.image.sha512) != (approved.image, approved.endorsed):
        told.append(
            f"It runs image {old.image.uuid} version {old.image.version}, and wanted is {approved.image} version"
            f" {approved.version}."
        )
    wanted = (str(volume.path), volume.kind, volume.format(approved))
    if (old.disk.path, old.disk.kind, old.disk.format) != wanted:
        told.append(f"Its disk is {old.disk.path} ({old.disk.kind}, {old.disk.format}), and wanted is {wanted[0]}.")
    return told


def _is_to_be_made(making: Making, is_replaced: bool) -> bool:
    old, path = making.standing.record, making.volume.path
    if old is None or (is_replaced and str(path) != old.disk.path):
        if making.volume.kind != "device" and os.path.lexists(path):
            raise HypervisorError("file_foreign", f"{path} was not made for {making.wish.name}", path=str(path))
        return True
    there = volumes.is_recorded(old.disk)
    if there is False:
        raise HypervisorError("file_foreign", f"{path} is not the disk that was made for {old.name}", path=str(path))
    return is_replaced or there is None


def _until(making: Making, *, is_new: bool) -> datetime | None:
    wish, old = making.wish, making.standing.record
    created = making.now if is_new or old is None else old.created
    until = created + wish.ttl if wish.until is None and wish.ttl is not None else wish.until
    if until is not None and until <= making.now:
        raise HypervisorError("ttl_over", f"{wish.name}: its time ended at {to_text(until)}", until=to_text(until))
    return until


# what is wanted


def _written(making: Making, machine: Machine) -> tuple[str, tuple[compare.Difference, ...]]:
    """The text of the output, and what the domain that is there has otherwise."""
    wish = making.wish
    if wish.output == "xl":
        return xl_config(machine), ()
    if wish.output == "libvirt" or wish.connection is None:
        return domain_xml(machine), ()
    text = domain_xml(machine, labels=domains.labels(making.connections.to(wish.connection)))
    standing = making.standing
    return text, compare.differences(text, standing.xml) if standing.domain is not None else ()


# the steps


def _add_disk_and_record(plan: Plan, making: Making, record: Record, clear: t.Optional[t.Callable[[], None]]) -> None:
    """`clear` adds the steps that make room for a new disk; None where the disk that is there stays."""
    wish, volume = making.wish, making.volume
    told = str(records.path_of(wish.records_dir, record.uuid))
    if clear is None:
        if record != making.standing.record:
            plan.add("record", lambda: _write(wish, record), path=told)
        return
    temporary = temporary_sibling(volume.path)
    where = volume.path if volume.kind == "device" else temporary

    def make() -> None:
        _make_directory(wish, volume.path)
        try:
            volumes.make(volume, making.approved, temporary)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def note() -> None:
        try:
            with storage_errors(where):
                found = where.stat()
            disk = volumes.record_of(volume, making.approved, found)
            _write(wish, replace(record, disk=disk))
            if volume.kind != "device":
                _place(making, temporary)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()

    # A machine goes on, and keeps its disk, until there is another one for it; a device has room for one only.
    if volume.kind == "device":
        clear()
    plan.add("make_disk", make, path=str(volume.path), method=volume.method)
    if volume.kind != "device":
        clear()
    plan.add("record", note, path=told)


def _place(making: Making, temporary: Path) -> None:
    """Give the disk its name, which nothing has: what came to be there meanwhile is somebody else's."""
    try:
        volumes.place(temporary, making.volume.path)
    except HypervisorError:
        if making.standing.record is None:
            records.remove(making.wish.records_dir, making.standing.uuid)
        raise


def _write(wish: Wish, record: Record) -> None:
    records.write(wish.records_dir, record)


def _add_contexts(plan: Plan, making: Making) -> bool:
    """Whether a disk that is attached becomes another one."""
    wish, old = making.wish, making.standing.record
    for one in wish.contexts:
        if one.made is None and not Path(one.path).exists():
            raise TransferError("not_found", f"There is no {one.path}", path=one.path)
        if one.made is not None and os.path.lexists(one.path) and (old is None or one.path not in old.made):
            raise HypervisorError("file_foreign", f"{one.path} was not made for {wish.name}", path=one.path)
    wanted = [one.made for one in wish.contexts if one.made is not None]
    planned = make_disks(wanted, check=True, fetch=making.fetch)
    plan.warnings += [f"{wish.name}: {sentence}" for sentence in planned.warnings]
    for each in planned.actions:
        add_leftovers(plan, [Path(each["dest"])])
        disks = [disk for disk in wanted if str(disk.dest) == each["dest"]]
        plan.add(f"{each['action']}_context", functools.partial(_make_contexts, making, disks), path=each["dest"])
    if planned.changed:
        plan.before["contexts"], plan.after["contexts"] = planned.before, planned.after
    return any(each["action"] in ("create", "replace") for each in planned.actions)


def _make_contexts(making: Making, disks: t.Sequence[Wanted]) -> None:
    for disk in disks:
        _make_directory(making.wish, disk.dest)
    make_disks(disks, check=False, fetch=making.fetch)


def _make_directory(wish: Wish, path: Path) -> None:
    """Make the usual place of files; a place that somebody has named is there."""
    if wish.directory is not None and path.parent == wish.directory:
        make_directory(path.parent)


def _add_growth(plan: Plan, making: Making, *, is_active: bool, is_made: bool) -> None:
    volume, size = making.volume, making.volume.size
    if is_made or size is None:
        return
    image_format = volume.format(making.approved)
    found = volumes.virtual_size(volume.path, image_format)
    if found >= size:
        return

    def grow() -> None:
        if is_active:
            domains.grow(making.standing.domain, str(volume.path), size)
        else:
            volumes.grow(volume.path, image_format, size)

    plan.add("grow_disk", grow, path=str(volume.path), size=size)


def _add_domain(plan: Plan, making: Making, xml: str, differences: t.Sequence[compare.Difference]) -> None:
    wish, standing = making.wish, making.standing
    connection = making.connections.to(t.cast(str, wish.connection))

    def define() -> None:
        domains.define(connection, wish.name, xml)

    if standing.domain is None:
        plan.add("define", define)
    elif differences:
        plan.add("redefine", define, differences=[one.what for one in differences])
    found = standing.is_autostarted
    if wish.autostart is not None and wish.autostart != found:
        wanted = wish.autostart
        plan.add("autostart", lambda: domains.set_autostart(_domain(making), wanted), autostart=wanted)


def _domain(making: Making) -> domains.Domain:
    """The domain as it is now: it may have been defined just before."""
    found = domains.by_name(making.connections.to(t.cast(str, making.wish.connection)), making.wish.name)
    if found is None:
        raise HypervisorError("hypervisor_refused", f"{making.wish.name} is gone")
    return found


def _add_power(plan: Plan, making: Making, *, is_stopped: bool, is_new: bool) -> None:
    """Start, stop or restart it; `is_new`: it runs, and not as it is defined now."""
    wish, standing = making.wish, making.standing
    runs = standing.is_active and not is_stopped

    def stop() -> None:
        domains.stop(_domain(making), wish.patience)

    def start() -> None:
        domains.start(_domain(making))

    def restart() -> None:
        stop()
        start()

    wants = wish.is_started or wish.state == "restarted"
    wants_again = wish.state == "restarted" or (is_new and wish.is_restarted_when_changed)
    if runs and not wants:
        plan.add("stop", stop)
    elif runs and wants_again:
        plan.add("restart", restart)
    elif not runs and wants:
        plan.add("start", start)
    needs = runs and wants and is_new and not wants_again
    if needs:
        plan.warnings.append(f"{wish.name}: what was changed counts when it is started again.")
    plan.result.update(state="running" if wants else "stopped", restart_needed=needs)


def _add_configuration(plan: Plan, wish: Wish, text: str) -> None:
    dest = wish.dest
    if dest is None:
        return
    with storage_errors(dest, reading=True):
        found = dest.read_text(errors="replace") if dest.exists() else None
    if found == text:
        return
    plan.add("write", lambda: write_atomic(dest, text.encode()), path=str(dest))
    plan.before["configuration"], plan.after["configuration"] = found or "", text


# the diff


def _show(plan: Plan, making: Making, machine: Machine, differences: t.Sequence[compare.Difference]) -> None:
    standing, actions = making.standing, {told["action"] for told in plan.actions}
    if standing.domain is not None or making.wish.output != "domain":
        there = standing.record is not None
        plan.before["state"] = "running" if standing.is_active else "stopped" if there else "absent"
    else:
        plan.before["state"] = "absent"
    plan.after["state"] = plan.result["state"]
    if making.wish.output != "domain":
        plan.before["state"] = "recorded" if standing.record is not None else "absent"
    if "make_disk" in actions:
        old = standing.record
        plan.before["disk"] = None if old is None else {"path": old.disk.path, "image": old.image.version}
        plan.after["disk"] = {"path": str(machine.volume.path), "image": making.approved.version}
    if "define" in actions:
        plan.after["domain"] = {key: value for key, value in compare.facts(plan.result["xml"]).items() if value}
    if differences:
        plan.before["domain"] = {one.what: one.found for one in differences}
        plan.after["domain"] = {one.what: one.wanted for one in differences}
    if "record" in actions and standing.record is not None and "make_disk" not in actions:
        plan.before["until"] = None if standing.record.until is None else to_text(standing.record.until)
        plan.after["until"] = plan.result["until"]
        plan.before["image"] = standing.record.image.list_version
        plan.after["image"] = making.approved.list_version
    for told in plan.actions:
        if told["action"] in ("restart", "grow_disk", "autostart"):
            plan.before[told["action"]], plan.after[told["action"]] = (
                None,
                told.get("size", told.get("autostart", True)),
            )
