# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs where: the file systems of an image, in the places that the fstab of its system names."""

from __future__ import annotations

import re
import stat
import typing as t
from dataclasses import dataclass

from ...errors import GuestError
from ..disk.filesystems import LINUX
from ..disk.layout import Layout, Partition
from ..formats.fstab import Fstab, Mount
from ..root.names import shown
from ..root.tree import Root

_MOST: t.Final = 32
_DEVICE: t.Final = re.compile(r"/dev/(?:[hsv]d|xvd)a([0-9]{1,3})")
_NOT_OF_THE_IMAGE: t.Final = frozenset(
    {"swap", "proc", "sysfs", "tmpfs", "devpts", "none", "nfs", "nfs4", "cifs", "cvmfs"}
)


@dataclass(frozen=True)
class Placed:
    """A partition and where in the system it belongs, links resolved."""

    partition: Partition
    target: str

    def as_dict(self, *, writable: bool) -> dict[str, t.Any]:
        found = self.partition.filesystem
        return {
            "partition": self.partition.number,
            "target": self.target,
            "type": None if found is None else found.kind,
            "label": None if found is None else found.label,
            "uuid": None if found is None else found.uuid,
            "writable": writable,
        }


def places(layout: Layout, target: str, root: Partition) -> tuple[tuple[Placed, ...], tuple[str, ...]]:
    """The root and every other file system that the mounted root's fstab names and the image has; and warnings."""
    with Root(target) as tree:
        fstab = Fstab.parse(tree.read("/etc/fstab") or b"")
        placed = [Placed(root, "/")]
        warnings: list[str] = []
        for mount in sorted(fstab.mounts, key=lambda mount: mount.target.count("/")):
            if mount.kind in _NOT_OF_THE_IMAGE or mount.target in ("/", "none") or not mount.target.startswith("/"):
                continue
            if len(placed) >= _MOST:
                raise GuestError(
                    "guest_malformed", f"The fstab of the image has more than {_MOST} mounts", path="/etc/fstab"
                )
            partition = find_partition(layout, mount)
            if partition is None:
                if "noauto" not in mount.options and "nofail" not in mount.options:
                    warnings.append(
                        f"{shown(mount.source)}, which belongs at {shown(mount.target)}, is not in the image."
                    )
                continue
            where = _inside(tree, mount.target)
            if all(item.target != where for item in placed):
                placed.append(Placed(partition, where))
    return tuple(placed), tuple(warnings)


def _inside(tree: Root, target: str) -> str:
    status = tree.status(target)
    if status is None or not stat.S_ISDIR(status.st_mode):
        raise GuestError(
            "guest_not_found", f"{shown(target)}, which the fstab names, is no directory", path=shown(target)
        )
    return tree.resolve(target)


def find_partition(layout: Layout, mount: Mount) -> Partition | None:
    """The partition that a line of fstab speaks of; None when the image has none such.

    Raises `GuestError` (filesystem_ambiguous) when two have that label or UUID.
    """
    known = [
        item for item in layout.partitions if item.filesystem is not None and item.filesystem.kind in {*LINUX, "vfat"}
    ]
    if mount.label is not None or mount.uuid is not None:
        found = [
            item
            for item in known
            if item.filesystem is not None
            and (
                item.filesystem.label == mount.label
                if mount.label is not None
                else (item.filesystem.uuid or "").lower() == mount.uuid
            )
        ]
        if len(found) > 1:
            raise GuestError("filesystem_ambiguous", f"Two file systems of the image are {shown(mount.source)}")
        return found[0] if found else None
    named = _DEVICE.fullmatch(mount.source)
    return None if named is None else next((item for item in known if item.number == int(named[1])), None)
