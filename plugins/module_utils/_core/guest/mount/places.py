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
from ..disk.naming import find, tag_of
from ..formats.fstab import Fstab, Mount
from ..root.names import shown
from ..root.tree import Root

_MOST: t.Final = 32
_DEVICE: t.Final = re.compile(r"/dev/(?:[hsv]d|xvd)a([0-9]{1,3})")
#: Names of subvolumes that mean nothing else in the options of mount.
SUBVOLUME: t.Final = re.compile(r"[A-Za-z0-9@._/+-]{1,255}")
_NOT_OF_THE_IMAGE: t.Final = frozenset(
    {"swap", "proc", "sysfs", "tmpfs", "devpts", "none", "nfs", "nfs4", "cifs", "cvmfs"}
)


@dataclass(frozen=True)
class Placed:
    """A partition, or a subvolume of it, and where in the system it belongs, links resolved."""

    partition: Partition
    target: str
    subvolume: str | None = None

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
            subvolume = _subvolume(partition, mount)
            if partition.start == root.start and subvolume is None:
                warnings.append(f"{shown(mount.target)} is a part of the root's own file system: it is not mounted.")
            elif all(item.target != where for item in placed):
                placed.append(Placed(partition, where, subvolume))
    return tuple(placed), tuple(warnings)


def _subvolume(partition: Partition, mount: Mount) -> str | None:
    """The subvolume of btrfs that is mounted, if one is named that the command for it can be given."""
    if partition.filesystem is None or partition.filesystem.kind != "btrfs":
        return None
    named = [option[len("subvol=") :] for option in mount.options if option.startswith("subvol=")]
    return next((name for name in named if SUBVOLUME.fullmatch(name)), None)


def _inside(tree: Root, target: str) -> str:
    status = tree.status(target)
    if status is None or not stat.S_ISDIR(status.st_mode):
        raise GuestError(
            "guest_not_found", f"{shown(target)}, which the fstab names, is no directory", path=shown(target)
        )
    return tree.resolve(target)


def find_partition(layout: Layout, mount: Mount) -> Partition | None:
    """The partition that a line of fstab speaks of; None when the image has none such.

    Raises `GuestError` (filesystem_ambiguous) when it speaks of two.
    """
    tag = tag_of(mount.source)
    if tag is not None:
        found = [item for item in find(layout, tag) if _is_known(item)]
        if len(found) > 1:
            raise GuestError("filesystem_ambiguous", f"Two file systems of the image are {shown(mount.source)}")
        return found[0] if found else None
    named = _DEVICE.fullmatch(mount.source)
    number = None if named is None else int(named[1])
    return next((item for item in layout.partitions if item.number == number and _is_known(item)), None)


def _is_known(item: Partition) -> bool:
    return item.filesystem is not None and item.filesystem.kind in {*LINUX, "vfat"}
