# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines that run although they would not be started again: they are asked to end, and are ended after a grace.

What is not known for certain ends nothing: verdicts that are too old, a file that was touched. It is reported.
"""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from ...errors import HypervisorError, VmimagesError
from ...times import from_text, to_text
from ...transfer.atomic import make_directory, storage_errors, write_atomic
from ..instances import records
from . import images
from .check import Answer, check, verdicts_of
from .domain import read
from .log import quoted
from .settings import ENFORCE, Settings
from .virsh import Virsh

#: Where it is noted since when a machine is to end; gone, as the machines are, after a restart of the host.
NOTES: t.Final = "/run/hepix-vmimages/ending"
#: What ends a machine that runs.
FINAL: t.Final = frozenset({"withdrawn", "blacklisted", "revoked", "list_expired", "image_expired", "ttl_over"})
#: The code of what an administrator has chosen.
CHOSEN: t.Final = "chosen"
#: What stands after the time in the note of a chosen one.
_FOR_CHOICE: t.Final = " chosen"


@dataclass(frozen=True)
class Chosen:
    """What is to end whatever its verdict: images and lists by UUID, endorsers as (DN, CA); `expired`: and all that
    may no longer run; `replaced`: and what runs of versions that other ones have replaced."""

    expired: bool = False
    replaced: bool = False
    images: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
    endorsers: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Machine:
    """A machine that runs. `code` and `detail` say why it would not be started, or why it is to end; `action` is
    ``shutdown``, ``wait`` (it was asked already), ``destroy``, or None for what goes on; `since`: asked then."""

    uuid: str
    name: str
    images: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    code: str | None = None
    detail: str = ""
    action: str | None = None
    since: datetime | None = None
    error: VmimagesError | None = None

    @property
    def told(self) -> str:
        """One line for people."""
        which = f"{quoted(self.name) or '?'} ({self.uuid})"
        return f"{which}: {self.code or 'good'}: {self.action or 'goes on'}: {self.detail}"

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON output."""
        return {
            "told": self.told,
            "uuid": self.uuid,
            "name": self.name,
            "images": list(self.images),
            "lists": list(self.lists),
            "code": self.code,
            "detail": self.detail,
            "action": self.action,
            "since": None if self.since is None else to_text(self.since),
            "error": None if self.error is None else self.error.as_dict(),
        }


@dataclass(frozen=True)
class Ender:
    """What ends machines: libvirt, the site's settings, what is chosen, how long a machine has to end by itself."""

    virsh: Virsh
    settings: Settings
    chosen: Chosen
    grace: timedelta
    notes: Path = field(default=Path(NOTES))

    def end(self, now: datetime, *, dry: bool = False) -> list[Machine]:
        """Every machine that runs, with what was done (`dry`: would be done) about it.

        Raises `HypervisorError` ``hypervisor_unreachable tool_missing`` where nothing can be asked; what one machine
        meets is its `error`.
        """
        uuids = self.virsh.running()
        if not dry:
            self._forget(set(uuids))
        verdicts = verdicts_of(self.settings, now)
        machines = (self._one(uuid, verdicts, dry=dry) for uuid in uuids)
        return [machine for machine in machines if machine is not None]

    def _one(self, uuid: str, verdicts: images.Verdicts, *, dry: bool) -> Machine | None:
        try:
            planned = self._plan(uuid, verdicts)
        except VmimagesError as error:
            has_ended = error.code == "hypervisor_refused" and uuid not in self.virsh.running()
            return None if has_ended else _failed(uuid, error)
        if dry or planned.action == "wait":
            return planned
        try:
            if planned.action is not None:
                self._do(planned, verdicts.now)
            elif planned.code is None and not self._is_for_choice(uuid):
                # Good again. When it ends another time, it gets its grace anew.
                self._forget_one(uuid)
        except VmimagesError as error:
            return replace(planned, error=error)
        return planned

    def _plan(self, uuid: str, verdicts: images.Verdicts) -> Machine:
        domain = read(self.virsh.xml(uuid))
        answer = check(domain, self.settings, verdicts)
        exempt = answer.exempt
        if exempt:
            # An exempt machine goes on, unless just this image is chosen.
            answer = check(domain, replace(self.settings, names=(), uuids=()), verdicts)
        of = _origins(answer)
        machine = Machine(
            uuid,
            domain.name,
            tuple(sorted({image for image, _list in of})),
            tuple(sorted({name for _image, name in of})),
        )
        if self._is_chosen(machine, answer):
            return self._with_action(replace(machine, code=CHOSEN, detail="It was chosen."), verdicts.now)
        if exempt or not answer.errors:
            return machine
        errors = [*answer.errors, *_by_record(answer.record, verdicts)]
        final = [error for error in errors if self._is_final(error)]
        told = (final or errors)[0]
        machine = replace(machine, code=told.code, detail=told.sentence)
        ends = final and self.settings.policy == ENFORCE
        return self._with_action(machine, verdicts.now) if ends else machine

    def _is_final(self, error: VmimagesError) -> bool:
        """A newer version of an image forbids to start the older one, and is no reason to end what works."""
        if error.context.get("replaced"):
            return self.chosen.replaced
        return self.chosen.expired and error.code in FINAL

    def _is_chosen(self, machine: Machine, answer: Answer) -> bool:
        chosen, record = self.chosen, answer.record
        if chosen.images & set(machine.images) or chosen.lists & set(machine.lists):
            return True
        if record is not None and (record.image.endorser_dn, record.image.endorser_ca) in chosen.endorsers:
            return True
        return bool(chosen.endorsers & _signers(answer, machine.lists))

    def _with_action(self, machine: Machine, now: datetime) -> Machine:
        since = self._noted(machine.uuid)
        if self.grace <= timedelta(0) or (since is not None and since + self.grace <= now):
            return replace(machine, action="destroy", since=since)
        return replace(machine, action="shutdown" if since is None else "wait", since=since or now)

    def _do(self, machine: Machine, now: datetime) -> None:
        if machine.action == "destroy":
            self.virsh.destroy(machine.uuid)
            self._forget_one(machine.uuid)
            return
        make_directory(self.notes)
        # First the note: a guest that does not listen is ended all the same.
        note = f"{to_text(now)}{_FOR_CHOICE if machine.code == CHOSEN else ''}"
        write_atomic(self.notes / machine.uuid, note.encode(), mode=0o644)
        self.virsh.shutdown(machine.uuid)

    def _noted(self, uuid: str) -> datetime | None:
        with contextlib.suppress(OSError, ValueError):
            return from_text((self.notes / uuid).read_text().strip().removesuffix(_FOR_CHOICE))
        return None

    def _is_for_choice(self, uuid: str) -> bool:
        """Whether somebody chose it: its verdict has nothing to say about that."""
        with contextlib.suppress(OSError):
            return (self.notes / uuid).read_text().endswith(_FOR_CHOICE)
        return False

    def _forget(self, running: t.Container[str]) -> None:
        with contextlib.suppress(FileNotFoundError), storage_errors(self.notes):
            for note in self.notes.glob("*-*"):
                if note.name not in running:
                    note.unlink(missing_ok=True)

    def _forget_one(self, uuid: str) -> None:
        with storage_errors(self.notes):
            (self.notes / uuid).unlink(missing_ok=True)


def _failed(uuid: str, error: VmimagesError) -> Machine:
    return Machine(uuid, "", code=error.code, detail=error.sentence, error=error)


def _by_record(record: records.Record | None, verdicts: images.Verdicts) -> t.Iterator[VmimagesError]:
    """What is said of the recorded image: a machine does not outlive it because its files were put out of sight."""
    if record is None:
        return
    try:
        images.judge_record(verdicts, record.image)
    except VmimagesError as error:
        yield error


def _origins(answer: Answer) -> set[tuple[str, str]]:
    """The (image, list) that the machine is of, as far as its disks, its refusals and its record tell."""
    found = {
        (finding.image["identifier"], finding.image["list"]) for finding in answer.findings if finding.image is not None
    }
    found |= {
        (error.context["image"], error.context["list"])
        for error in answer.errors
        if "image" in error.context and "list" in error.context
    }
    if answer.record is not None:
        found.add((answer.record.image.uuid, answer.record.image.list))
    return found


def _signers(answer: Answer, lists: t.Iterable[str]) -> set[tuple[str, str]]:
    """Who has signed these lists, as the snapshot has it."""
    known = {} if answer.lists is None else answer.lists
    signers = [known.get(name, {}).get("signer") for name in lists]
    return {(signer["dn"], signer["ca"]) for signer in signers if signer}


def nothing_chosen() -> HypervisorError:
    """The refusal to end everything by a slip."""
    return HypervisorError("machine_invalid", "Say what is to end: --expired, --replaced, --image, --list, --endorser")
