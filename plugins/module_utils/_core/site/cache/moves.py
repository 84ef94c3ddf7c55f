# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How files change their place in the cache: one rename each, and then its journal line, under the writers' lock.

A stat record goes into the journal as that of a verified file only where nothing could have slipped in between: the
file's stat before the rename is the one that its octets were verified with, and the rename changed nothing but the
ctime. Anything else is recorded as unverified, or read.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import secrets
import stat
import typing as t
from pathlib import Path

from ...errors import SiteError, TransferError
from ...transfer.atomic import replace, storage_errors
from ..judgement.records import stat_record
from . import octets
from .plan import Step, proves, record_of
from .run import Run

if t.TYPE_CHECKING:
    from ..store.catalogue import Writer
    from ..store.state import StateDirectory

#: The end of the name of a file that was put aside as evidence.
DAMAGED: t.Final = ".damaged"

_MODE: t.Final = 0o644


def expire(writer: Writer, step: Step, run: Run) -> None:
    """Out of `current`; finishes the move of a run that died in between, which then proves nothing of the file."""
    state = writer.catalogue.state
    source, target = state.current / step.name, state.expired / step.name
    before = stat_record(source)
    if before is not None and not is_file(source):
        set_aside(writer, step, source, run)
        return
    proved = False
    if before is not None:
        record = record_of(writer.catalogue, step.name)
        proved = record is not None and record["state"] == "current" and proves(record, before, step.row)
        if os.path.lexists(target) and not is_file(target):
            replace(target, aside_of(state, step.name, target))
        replace(source, target)
    found = stat_record(target)
    if found is None:
        writer.commit(_event("lost", step))
    else:
        writer.commit(_event("expired", step, stat=found, code=step.code, verified=proved and _same(found, before)))
    run.moved.append(step.as_dict())
    run.place(step.name, "current", "absent" if found is None else "expired")


def restore(writer: Writer, step: Step, run: Run) -> Step | None:
    """Back into `current` unread; where that proves nothing any more, the step to be taken instead."""
    state = writer.catalogue.state
    source, target = state.expired / step.name, state.current / step.name
    record, before = record_of(writer.catalogue, step.name), stat_record(source)
    if before is None:
        return Step("download", step.name, step.row)
    if record is None or record["state"] != "expired" or not proves(record, before, step.row):
        return Step("read", step.name, step.row, source=source)
    _publish(source)
    replace(source, target)
    found = _unchanged(target, before)
    if found is None:
        return Step("read", step.name, step.row, source=target)
    writer.commit(_event("cached", step, stat=found))
    run.restored.append(step.as_dict())
    run.place(step.name, "expired", "current")
    return None


def admit(writer: Writer, step: Step, done: octets.Verified) -> Path:
    """Let a file into `current` whose octets have just been verified; TransferError if somebody touched it since."""
    catalogue = writer.catalogue
    target = catalogue.state.current / step.name
    if stat_record(done.path) != done.stat:
        raise TransferError("checksum_mismatch", f"{done.path} was changed by somebody else.", path=str(done.path))
    _publish(done.path)
    if done.path != target:
        replace(done.path, target)
    found = _unchanged(target, done.stat)
    if found is None:
        raise TransferError("file_changed", f"{target} was changed by somebody else.", path=str(target))
    record = record_of(catalogue, step.name)
    if record is None or record["state"] != "current" or not proves(record, found, step.row):
        writer.commit(_event("cached", step, stat=found, octets=done.octets))
    else:
        writer.commit(("scrubbed", {"name": step.name}))
    return target


def set_aside(writer: Writer, step: Step, source: Path, run: Run) -> None:
    """Put what is not the file that it should be aside, as evidence."""
    aside = aside_of(writer.catalogue.state, step.name, source)
    replace(source, aside)
    record = _event("damaged", step, name=aside.name, stat=stat_record(aside) or {}, code="file_changed")
    writer.commit(_event("lost", step), record)
    run.damaged.append({**step.as_dict(), "name": aside.name})
    run.place(step.name, "damaged", "absent")


def aside_of(state: StateDirectory, name: str, source: Path) -> Path:
    """Where the file `source` of that name is put aside: in place of an older one, if a rename can do that."""
    plain = state.expired / f"{name}{DAMAGED}"
    if not os.path.lexists(plain) or (is_file(plain) and is_file(source)):
        return plain
    numbered = (plain.with_name(f"{plain.name}.{number}") for number in itertools.count(2))
    return next(path for path in numbered if not os.path.lexists(path))


def is_file(path: Path) -> bool:
    """Whether a regular file, and no link to one, lies there."""
    with contextlib.suppress(OSError):
        return stat.S_ISREG(os.lstat(path).st_mode)
    return False


def require_together(state: StateDirectory, steps: t.Iterable[Step]) -> None:
    """Refuse with ``cache_split`` when a step would need a rename from one file system to another."""
    actions = {step.action for step in steps}
    pairs = []
    if actions - {"download"}:
        pairs.append((state.expired, state.current))
    if "download" in actions:
        pairs.append((state.downloading, state.current))
    for one, other in pairs:
        if _apart(one, other):
            raise SiteError(
                "cache_split",
                f"{one} and {other} lie on different file systems: no file can be renamed from one to the other.",
                paths=[str(one), str(other)],
            )


def _apart(one: Path, other: Path) -> bool:
    with storage_errors(one):
        if one.stat().st_dev != other.stat().st_dev:
            return True
        # Two mounts of one file system have one device; the kernel tells them apart before it looks for the name.
        name = f".{secrets.token_hex(16)}"
        try:
            (one / name).rename(other / name)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno == errno.EXDEV:
                return True
            raise
    return False


def _unchanged(path: Path, before: t.Mapping[str, int]) -> dict[str, int] | None:
    """The present stat of the file that had the stat `before`, unless it is another one or was written to since.

    A rename and a change of the mode set a new ctime.
    """
    found = stat_record(path)
    return found if found is not None and _same(found, before) else None


def _same(found: t.Mapping[str, int], before: t.Mapping[str, int] | None) -> bool:
    return before is not None and all(found[key] == before[key] for key in ("inode", "mtime_ns", "size"))


def _publish(path: Path) -> None:
    """Make the file readable for everyone, whatever the umask was; somebody else's file stays as it is."""
    with storage_errors(path), contextlib.suppress(PermissionError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if stat.S_IMODE(os.fstat(descriptor).st_mode) != _MODE:
                os.fchmod(descriptor, _MODE)
        finally:
            os.close(descriptor)


def _event(event: str, step: Step, *, name: str | None = None, **data: t.Any) -> tuple[str, dict[str, t.Any]]:
    row = step.row
    record = {
        "name": name or step.name,
        "list": row["list_id"],
        "image": row["image_id"],
        "version": row["version"],
        "sha512": row["sha512"],
    }
    return event, {**record, **data}
