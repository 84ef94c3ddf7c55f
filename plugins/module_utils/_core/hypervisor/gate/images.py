# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image a file of the cache is, and whether that may run now, from the site's snapshot of its verdicts."""

from __future__ import annotations

import os
import re
import typing as t
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from ...disks.headers import inspect
from ...errors import HypervisorError, SiteError, VmimagesError
from ...site.judgement import snapshot
from ...site.judgement.records import stat_facts
from ...site.judgement.verdict import require_allowed
from ...site.store.state import StateDirectory
from .chain import Link

if t.TYPE_CHECKING:
    from ..instances.records import ImageRecord

#: As the cache names its files: UUID, version, beginning of the sha512.
_NAME: t.Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_")
#: libvirt's names of the formats that a site may have.
_KINDS: t.Final = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vpc": "vhd"}
_PLACES: t.Final = ("current", "expired", "derived")


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of a state directory, from its snapshot: that is read when a disk asks for it, and once."""

    state: StateDirectory
    now: datetime
    max_age: timedelta | None

    @cached_property
    def _read(self) -> snapshot.Snapshot | VmimagesError:
        try:
            return snapshot.load(self.state)
        except VmimagesError as error:
            return error

    def loaded(self) -> Verdicts:
        """These, once their snapshot was read; raises as `found`."""
        if isinstance(self._read, VmimagesError):
            raise self._read
        return self

    @property
    def found(self) -> snapshot.Snapshot:
        """The snapshot; raises SiteError ``snapshot_missing snapshot_stale not_readable state_newer``."""
        if isinstance(self._read, VmimagesError):
            raise self._read
        return self._read

    @property
    def lists(self) -> t.Mapping[str, t.Any] | None:
        """The lists of the snapshot, if a disk has asked for it, and it could be read."""
        read = vars(self).get("_read")
        return read.lists if isinstance(read, snapshot.Snapshot) else None

    def judge(self, name: str) -> dict[str, t.Any]:
        """The image with this UUID, which may run now.

        Raises SiteError: the verdict's code where it may not, ``unknown_image snapshot_stale file_changed``.
        """
        image = snapshot.judge(self.found, name, self.now, max_age=self.max_age)
        require_allowed(image)
        return image


def place_of(state: StateDirectory, path: Path) -> str | None:
    """In which part of the cache a file lies, by the directory itself: a bind mount of it is the same one."""
    for name in _PLACES:
        try:
            if path.parent.samefile(getattr(state, name)):
                return name
        except OSError:
            continue
    return None


def judge_missing(verdicts: Verdicts, path: Path) -> None:
    """Say why a file of the cache is gone, if it was one: the verdict's own refusal."""
    match = _NAME.match(path.name)
    if match is None or place_of(verdicts.state, path) is None:
        return
    image = verdicts.judge(match[1])
    raise _replaced(image, f"{path} is gone")


def judge_file(verdicts: Verdicts, link: Link, place: str) -> dict[str, t.Any]:
    """The image that a file in `place` of the cache is, which may run now. Its header is looked at: what an image
    names, whoever starts it opens.

    Raises DiskError as `disks.headers.inspect`, SiteError as `Verdicts.judge`, ``file_unknown``, and ``withdrawn`` for
    a version that another one has replaced; `HypervisorError` ``chain_refused`` where it is read as another format.
    """
    image = _derived(verdicts, link) if place == "derived" else _own(verdicts, link)
    kind = _KINDS.get(link.format)
    if kind is None:
        raise HypervisorError("chain_refused", f"{link.real} would be read as {link.format}, which is not known")
    inspect(link.real, kind)
    formats = {kind for kind, one in verdicts.found.formats(image).items() if link.real.name == Path(one["path"]).name}
    if formats and kind not in formats:
        raise HypervisorError(
            "chain_refused", f"{link.real} is {' or '.join(sorted(formats))}, and would be read as {link.format}"
        )
    return image


def _own(verdicts: Verdicts, link: Link) -> dict[str, t.Any]:
    match = _NAME.match(link.real.name)
    if match is None:
        raise SiteError("file_unknown", f"{link.real} is no image of the cache.", path=str(link.real))
    image = verdicts.judge(match[1])
    try:
        is_it = link.is_same(os.lstat(image["verdict"]["path"]))
    except OSError:
        is_it = False
    if not is_it:
        raise _replaced(image, f"{link.real} is another one")
    return image


def _derived(verdicts: Verdicts, link: Link) -> dict[str, t.Any]:
    made = [one for one in verdicts.found.document.get("derived", ()) if Path(one["path"]).name == link.real.name]
    if not made:
        raise SiteError("file_unknown", f"{link.real} was not made of an image of the cache.", path=str(link.real))
    if made[0]["stat"] != stat_facts(link.status):
        raise SiteError("file_changed", f"{link.real} is no longer what was made.", path=str(link.real))
    return judge_octets(verdicts, made[0]["source_sha512"])


def judge_octets(verdicts: Verdicts, sha512: str) -> dict[str, t.Any]:
    """The image with these octets, which may run now."""
    holders = verdicts.found.find("sha512", sha512)
    if not holders:
        raise SiteError("unknown_image", f"No subscribed list holds an image with the SHA-512 {sha512[:16]}...")
    image = verdicts.judge(holders[0]["identifier"])
    if image["sha512"] != sha512:
        raise _replaced(image, "These octets are another one")
    return image


def judge_record(verdicts: Verdicts, of: ImageRecord) -> dict[str, t.Any]:
    """The image of which a copy was made, as its record has it; it may run now, in that very version."""
    image = verdicts.judge(of.uuid)
    if image["sha512"] != of.sha512:
        raise _replaced(image, f"The instance was made of version {of.version}")
    return image


def _replaced(image: t.Mapping[str, t.Any], why: str) -> SiteError:
    detail = f"{why}: list {image['list']} has version {image['version']} of image {image['identifier']} now."
    return SiteError("withdrawn", detail, image=image["identifier"], list=image["list"], replaced=True)
