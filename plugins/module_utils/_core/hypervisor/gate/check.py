# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""May this domain start: every disk is an approved image, an overlay on one, a recorded copy, or an allowed ISO.

Neither libvirt nor the network is asked, and no octet of a disk is read but headers.
"""

from __future__ import annotations

import os
import stat
import typing as t
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from ...errors import HypervisorError, VmimagesError
from ...site.store.state import StateDirectory
from ...transfer.atomic import storage_errors
from ..instances import records
from . import chain, images
from .chain import Link
from .domain import Disk, Domain
from .settings import WARN, Settings

IMAGE: t.Final = "image"
CONTEXT: t.Final = "context"
ALLOWED: t.Final = "allowed"

#: The first volume descriptor of ISO 9660, at the seventeenth block.
_ISO_AT: t.Final = 16 * 2048 + 1
_ISO_MARK: t.Final = b"CD001"


@dataclass(frozen=True)
class Finding:
    """What one disk is (`IMAGE`, `CONTEXT`, `ALLOWED`), of which image, or why it is refused."""

    disk: str
    path: str
    kind: str | None = None
    image: t.Mapping[str, t.Any] | None = None
    error: VmimagesError | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON output."""
        keys = ("identifier", "version", "list", "sha512")
        return {
            "disk": self.disk,
            "path": self.path,
            "kind": self.kind,
            "image": None if self.image is None else {key: self.image[key] for key in keys},
            "error": None if self.error is None else self.error.as_dict(),
        }


@dataclass(frozen=True)
class Answer:
    """What the gate says of a domain. `exempt`: the site lets it start unseen; `lists`: those of the snapshot, and
    `record`: what image_instance has written of the domain, both if they were needed and could be read."""

    domain: Domain
    policy: str
    exempt: bool = False
    findings: tuple[Finding, ...] = ()
    errors: tuple[VmimagesError, ...] = ()
    lists: t.Mapping[str, t.Any] | None = None
    record: records.Record | None = None

    @property
    def allowed(self) -> bool:
        """Whether everything is as it must be."""
        return self.exempt or not self.errors

    @property
    def passes(self) -> bool:
        """Whether the domain may start: it is allowed, or the policy is to warn only."""
        return self.allowed or self.policy == WARN

    def as_dict(self) -> dict[str, t.Any]:
        """For JSON output."""
        return {
            "name": self.domain.name,
            "uuid": self.domain.uuid,
            "policy": self.policy,
            "exempt": self.exempt,
            "allowed": self.allowed,
            "passes": self.passes,
            "disks": [finding.as_dict() for finding in self.findings],
            "errors": [error.as_dict() for error in self.errors],
        }


@dataclass(frozen=True)
class _Check:
    domain: Domain
    settings: Settings
    source: images.Verdicts

    @cached_property
    def verdicts(self) -> images.Verdicts:
        """What the disks are judged by, once it was read; raises as `Verdicts.found`."""
        return self.source.loaded()

    @cached_property
    def record(self) -> records.Record | None:
        return records.read(self.settings.records_dir, self.domain.uuid)


def verdicts_of(settings: Settings, now: datetime) -> images.Verdicts:
    """The verdicts that the gate goes by: for one domain, or for all of them that are asked about at `now`."""
    return images.Verdicts(StateDirectory.at(settings.state_dir), now, settings.max_age)


def check(domain: Domain, settings: Settings, verdicts: images.Verdicts) -> Answer:
    """The answer for a domain; refusals are in it, and only what forbids any answer is raised."""
    if settings.exempts(domain.name, domain.uuid):
        return Answer(domain, settings.policy, exempt=True)
    this = _Check(domain, settings, verdicts)
    findings = tuple(_finding(this, disk) for disk in domain.disks)
    errors = [finding.error for finding in findings if finding.error is not None]
    errors += _whole(this, findings)
    return Answer(
        domain,
        settings.policy,
        findings=findings,
        errors=tuple(errors),
        lists=verdicts.lists,
        record=vars(this).get("record"),
    )


def _finding(this: _Check, disk: Disk) -> Finding:
    try:
        kind, image = _judge(this, disk)
    except VmimagesError as error:
        told = type(error)(error.code, f"Disk {disk.name}: {error.sentence}", **error.context)
        return Finding(disk.name, disk.path, error=told)
    return Finding(disk.name, disk.path, kind, image)


def _judge(this: _Check, disk: Disk) -> tuple[str, t.Mapping[str, t.Any] | None]:
    if disk.unseen is not None:
        kind, what = disk.unseen
        if kind in this.settings.allow:
            return ALLOWED, None
        raise HypervisorError("disk_unseen", f"The gate cannot look at it: {what} ({kind})")
    links = _follow(this, disk)
    state = this.verdicts.state
    for link in links[:-1]:
        if images.place_of(state, link.real) is not None:
            raise chain.refused(f"{link.named} is a file of the cache that lies on another one")
    last = links[-1]
    place = images.place_of(state, last.real)
    if place is not None:
        if len(links) == 1 and not disk.readonly:
            raise HypervisorError("disk_writable", f"{disk.path} is the file of the cache itself, and writable")
        image = images.judge_file(this.verdicts, last, place)
        _require_recorded_overlay(this, links)
        return IMAGE, image
    if disk.readonly and len(links) == 1 and _is_context(this, last):
        return CONTEXT, None
    kind = "device" if stat.S_ISBLK(last.status.st_mode) else "copy"
    record = _require_record(this, last, kind)
    _require_recorded_overlay(this, links)
    return IMAGE, images.judge_record(this.verdicts, record.image)


def _require_recorded_overlay(this: _Check, links: t.Sequence[Link]) -> None:
    """An overlay on a recorded copy is none that root has made, either."""
    if this.settings.overlays == "record" and len(links) > 1:
        _require_record(this, links[0], "overlay")


def _follow(this: _Check, disk: Disk) -> tuple[Link, ...]:
    try:
        return chain.follow(disk)
    except VmimagesError as error:
        if error.code == "not_found":
            # Why a file of the cache is gone says more than that it is.
            images.judge_missing(this.verdicts, Path(error.context["path"]))
        raise


def _require_record(this: _Check, link: Link, kind: str) -> records.Record:
    """The domain's record, which must speak of this file or device, and say that it is of this kind."""
    record = this.record
    if record is None:
        raise HypervisorError(
            "disk_foreign", f"{link.named} is neither based on an image of the cache, nor recorded as a copy of one"
        )
    made = record.disk
    # Numbers of devices may be others after a restart of the host; who changes what a path leads to is root.
    is_it = os.path.realpath(made.path) == str(link.real) and (kind == "device" or made.inode == link.status.st_ino)
    if not is_it:
        raise HypervisorError("record_differs", f"{link.named} is not {made.path} as it was recorded")
    if (made.kind, made.format) != (kind, link.format):
        told, found = f"{made.kind} ({made.format})", f"{kind} ({link.format})"
        raise HypervisorError("record_differs", f"{link.named} was recorded as {told}, and would be used as {found}")
    return record


def _is_context(this: _Check, link: Link) -> bool:
    """Whether it is an ISO that the instance was made with, or one in a directory that the site allows."""
    if link.format != "raw" or not stat.S_ISREG(link.status.st_mode) or not _is_iso(link.real):
        return False
    allowed = [Path(os.path.realpath(one)) for one in this.settings.iso_directories]
    if any(one in link.real.parents for one in allowed):
        return True
    recorded = () if this.record is None else this.record.contexts
    return any(os.path.realpath(one) == str(link.real) for one in recorded)


def _is_iso(path: Path) -> bool:
    with storage_errors(path, reading=True), path.open("rb") as stream:
        stream.seek(_ISO_AT)
        return stream.read(len(_ISO_MARK)) == _ISO_MARK


def _whole(this: _Check, findings: t.Sequence[Finding]) -> t.Iterator[VmimagesError]:
    """What concerns the domain as a whole."""
    allow = this.settings.allow
    for kind, what in this.domain.unseen:
        if kind not in allow:
            yield HypervisorError("disk_unseen", f"The gate cannot judge what the domain brings in: {what} ({kind})")
    good = {finding.disk for finding in findings if finding.kind in (IMAGE, ALLOWED)}
    if not good and not any(finding.error for finding in findings):
        yield HypervisorError("no_image_disk", "None of its disks is an image")
    first = this.domain.first
    refused = {finding.disk for finding in findings if finding.error is not None}
    if good and first not in good | refused and "boot" not in allow:
        yield HypervisorError("no_image_disk", f"It would start from {first or 'nothing'}, which is no image (boot)")
    try:
        record = this.record
    except VmimagesError as error:
        if not any(finding.error is not None and finding.error.code == error.code for finding in findings):
            yield error
        return
    if record is not None and record.until is not None and record.until <= this.source.now:
        yield HypervisorError("ttl_over", f"The instance was to live until {record.until:%Y-%m-%dT%H:%M:%SZ}")
