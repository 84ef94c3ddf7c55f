# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is of an instance: its domain and its record. Only what has both, or neither, is ours to change."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import HypervisorError
from . import domains, records
from .domains import Connections, Domain
from .records import Record
from .wishes import Wish


@dataclass(frozen=True)
class Standing:
    """The instance as it stands, under the UUID that it has or would get; None for what there is not."""

    uuid: str
    record: Record | None = None
    #: An object of libvirt's for each time that it is asked.
    domain: Domain | None = field(default=None, compare=False)
    xml: str = ""
    is_active: bool = False
    is_autostarted: bool = False


class Names:
    """UUIDs by name of what is recorded, read once: for instances whose UUID was chosen when they were made."""

    def __init__(self) -> None:
        self._known: dict[Path, dict[tuple[str | None, str], str]] = {}

    def find(self, wish: Wish) -> str | None:
        if wish.records_dir not in self._known:
            found = records.all(wish.records_dir, refused=[])
            self._known[wish.records_dir] = {(one.connection, one.name): one.uuid for one in found}
        return self._known[wish.records_dir].get((wish.connection, wish.name))


def find(wish: Wish, connections: Connections, names: Names) -> Standing:
    """What there is. Raises `HypervisorError`: ``instance_foreign``, and what libvirt and `records.read` refuse."""
    if wish.connection is None:
        return _recorded(wish, names)
    connection = connections.to(wish.connection)
    domain = domains.by_name(connection, wish.name)
    if domain is None:
        standing = _recorded(wish, names)
        if domains.by_uuid(connection, standing.uuid) is not None:
            raise _foreign(wish, f"another domain has the UUID {standing.uuid}")
        return standing
    uuid = str(domain.UUIDString()).lower()
    if wish.uuid not in (None, uuid):
        raise _foreign(wish, f"the domain of this name has the UUID {uuid}")
    record = records.read(wish.records_dir, uuid)
    if record is None:
        raise _foreign(wish, f"there is a domain of this name, and no record of it in {wish.records_dir}")
    _require_its(wish, record)
    return Standing(
        uuid,
        record,
        domain,
        domains.description(domain),
        domains.is_active(domain),
        domains.autostart(domain),
    )


def _recorded(wish: Wish, names: Names) -> Standing:
    uuid = wish.uuid or wish.derived_uuid()
    record = records.read(wish.records_dir, uuid)
    if record is None and wish.uuid is None:
        known = names.find(wish)
        record = None if known is None else records.read(wish.records_dir, known)
    if record is not None:
        _require_its(wish, record)
    return Standing(record.uuid if record else uuid, record)


def _require_its(wish: Wish, record: Record) -> None:
    """Whoever may define a domain chooses its name and UUID: the files of another instance are not its own."""
    if (record.name, record.connection) != (wish.name, wish.connection):
        raise _foreign(wish, f"the UUID {record.uuid} is that of {record.name} on {record.connection}")


def _foreign(wish: Wish, why: str) -> HypervisorError:
    return HypervisorError("instance_foreign", f"{wish.name} on {wish.where}: {why}", name=wish.name)


def names_taken_twice(wishes: t.Sequence[Wish]) -> None:
    """Raises `HypervisorError` ``machine_invalid`` where one call says two things of one instance."""
    seen = set()
    for wish in wishes:
        key = (wish.where, wish.name)
        if key in seen:
            raise HypervisorError("machine_invalid", f"name: {wish.name} on {wish.where} is asked for twice")
        seen.add(key)
