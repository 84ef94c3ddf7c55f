# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file systems of an image under one directory, as the image's own fstab lays them out.

Each file system gets a loop device of its own, which vanishes with the mount: no partition has to be announced to the
kernel, and nothing outlives what is mounted. What is mounted, the kernel knows; nothing else is recorded.
"""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from ...disks.headers import inspect
from ...errors import GuestError
from ...outcome import Outcome
from ...transfer.atomic import make_directory
from ..disk.filesystems import LINUX
from ..disk.layout import Layout, Partition, read_layout
from ..root.names import printable, shown
from ..root.tree import Root
from .copies import drop, make_copy, origin_of, place_of, refuse_writing
from .kernel import Mounted, below, holders, is_locked, mounted, run
from .options import driver, mount_options
from .places import SUBVOLUME, Placed, places


def mount_image(
    image: str, path: str, *, writable: bool, check: bool, kind: str = "raw", scratch: str = "/var/tmp"
) -> Outcome:
    """Mount all of `image` (a raw image, or the directory of an unpacked system) at the directory `path`.

    An image of another `kind` (`copies.FORMATS`) is mounted as a raw copy of it, in the directory `scratch`, which goes
    with the mount. What was left by an attempt that was killed is taken down first; whatever fails, nothing stays
    mounted. Raises `GuestError`: image_missing, image_format_unsupported, image_busy, disk_malformed,
    system_not_found, filesystem_ambiguous, mount_clash, mount_failed, copy_refused, and what reading the image's fstab
    raises; for another kind `DiskError`.
    """
    source, target = os.path.realpath(image), os.path.realpath(path)
    there = below(target)
    if Path(source).is_dir():
        return _bind(source, target, there, writable=writable, check=check)
    if kind != "raw":
        return _mount_copy(source, target, there, kind, place_of(source, scratch), writable=writable, check=check)
    return _mount_raw(source, source, target, there, writable=writable, check=check)


def _mount_copy(
    source: str, target: str, there: tuple[Mounted, ...], kind: str, copy: str, *, writable: bool, check: bool
) -> Outcome:
    if writable:
        raise refuse_writing(source, kind)
    if is_locked(source, by_writers=True):
        raise GuestError("image_busy", f"A virtual machine uses {source}", path=source)
    if there and origin_of(there[0].image) == source and there[0].image != copy:
        # The image has changed since: its copy of then is no more of it than another image.
        if not check:
            _take_down(target)
            drop(mount.image for mount in there)
        there = ()
    if check and not any(mount.image == copy for mount in there):
        inspect(Path(source), kind)
        _refuse_clash(copy, target, there)
        state = {"image": source, "root": target, "writable": False}
        action = {"action": "mount", **state}
        data = {**state, "mounts": [], "layout": None}
        return Outcome(True, _before(there), {**state, "mounted": True}, (action,), data=data)
    _refuse_clash(copy, target, there)
    make_copy(source, kind, copy)
    try:
        return _mount_raw(source, copy, target, there, writable=False, check=check)
    except GuestError as error:
        # The copy is gone when somebody reads of it.
        told = {key: source if value == copy else value for key, value in error.context.items()}
        raise GuestError(error.code, error.detail.replace(copy, source), **told) from error
    finally:
        drop([copy])


def _mount_raw(
    named: str, source: str, target: str, there: tuple[Mounted, ...], *, writable: bool, check: bool
) -> Outcome:
    """Mount the raw image `source`, which the outcome calls `named`."""
    layout = read_layout(source)
    _refuse_clash(source, target, there)
    _refuse_use(source, target, writable=writable)
    state = {"image": named, "root": target, "writable": writable}
    if there and there[0].writable == writable:
        root = next((partition for partition in layout.partitions if partition.start == there[0].offset), None)
        placed, warnings = places(layout, target, root) if root is not None else ((), ())
        if _complete(source, target, placed, there):
            return _outcome(False, state, placed, layout, warnings)
    if check:
        return Outcome(
            True,
            _before(there),
            {**state, "mounted": True},
            ({"action": "mount", **state},),
            data=_data(state, (), layout),
        )
    _take_down(target)
    make_directory(target)
    try:
        placed, warnings = _put_up(source, target, layout, writable=writable)
    except BaseException:
        _take_down(target)
        raise
    return _outcome(True, state, placed, layout, warnings, before=_before(there))


def unmount_image(path: str, *, check: bool) -> Outcome:
    """Take down the image, or unpacked system, at `path` and what is mounted in it; remove the directory if empty.

    Raises `GuestError`: mount_clash (something else is mounted at `path`, which is left alone), unmount_failed (with
    the processes that hold it).
    """
    target = os.path.realpath(path)
    there = below(target)
    if not any(mount.target == target for mount in there):
        there = ()
    _refuse_foreign(target, there)
    image = (origin_of(there[0].image) or there[0].image) if there else None
    state: dict[str, t.Any] = {"image": image, "root": target, "writable": False}
    if not there:
        return Outcome(False, data={**state, "mounts": [], "layout": None})
    if not check:
        _take_down(target)
        drop(mount.image for mount in there)
        if not any(Path(target).iterdir()):
            Path(target).rmdir()
    actions = tuple({"action": "unmount", "root": mount.target} for mount in reversed(there))
    return Outcome(True, _before(there), {"mounted": False}, actions, data={**state, "mounts": [], "layout": None})


def _outcome(
    changed: bool,
    state: dict[str, t.Any],
    placed: tuple[Placed, ...],
    layout: Layout,
    warnings: tuple[str, ...],
    before: dict[str, t.Any] | None = None,
) -> Outcome:
    after = {**state, "mounted": True}
    return Outcome(
        changed,
        (before or {}) if changed else after,
        after,
        ({"action": "mount", **state},) if changed else (),
        warnings,
        _data(state, placed, layout),
    )


def _data(state: dict[str, t.Any], placed: tuple[Placed, ...], layout: Layout | None) -> dict[str, t.Any]:
    return {
        **state,
        "mounts": printable([item.as_dict(writable=state["writable"]) for item in placed]),
        "layout": None if layout is None else printable(layout.as_dict()),
    }


def _before(there: t.Sequence[Mounted]) -> dict[str, t.Any]:
    if not there:
        return {"mounted": False}
    image = origin_of(there[0].image) or there[0].image
    return {"image": image, "root": there[0].target, "writable": there[0].writable, "mounted": True}


# an unpacked system


def _bind(source: str, target: str, there: t.Sequence[Mounted], *, writable: bool, check: bool) -> Outcome:
    state = {"image": source, "root": target, "writable": writable}
    data = {**state, "mounts": [], "layout": None}
    after = {**state, "mounted": True}
    if there and not Path(target).samefile(source):
        raise GuestError("mount_clash", f"{target} has something else mounted already", path=target)
    if there and there[0].writable == writable:
        return Outcome(False, after, after, data=data)
    before = {**_before(there), "image": source} if there else _before(there)
    outcome = Outcome(True, before, after, ({"action": "mount", **state},), data=data)
    if check:
        return outcome
    if os.path.commonpath([source, target]) in (source, target):
        raise GuestError("mount_clash", f"{target} and {source} lie inside each other", path=target)
    _take_down(target)
    make_directory(target)
    options = ",".join(["remount", "bind", *(("rw",) if writable else ("ro", "noexec")), "nodev", "nosuid"])
    try:
        run(["mount", "-i", "-c", "--bind", "--", source, target], code="mount_failed")
        run(["mount", "-i", "-c", "-o", options, "--", target], code="mount_failed")
    except BaseException:
        _take_down(target)
        raise
    return outcome


# what is in the way


def _refuse_clash(source: str, target: str, there: t.Sequence[Mounted]) -> None:
    for mount in there:
        if mount.image != source:
            what = shown(mount.image or mount.device)
            raise GuestError("mount_clash", f"{shown(mount.target)} has {what} mounted already", path=target)
    if not there and Path(target).exists() and not Path(target).is_dir():
        raise GuestError("mount_clash", f"{target} is not a directory", path=target)
    if not there and Path(target).is_dir() and any(Path(target).iterdir()):
        raise GuestError("mount_clash", f"{target} is not empty, and a mount would hide what it holds", path=target)


def _refuse_foreign(target: str, there: t.Sequence[Mounted]) -> None:
    """A file system of the machine itself is not an image: neither a loop device is behind it, nor a directory."""
    for mount in there:
        if mount.target == target and mount.image is None and mount.root == "/":
            what = shown(mount.device)
            raise GuestError("mount_clash", f"{target} has {what} mounted, which is no image", path=target)


def _refuse_use(source: str, target: str, *, writable: bool) -> None:
    """One writer at most: no mount elsewhere where either side may write, and no virtual machine that does."""
    for mount in mounted():
        elsewhere = mount.image == source and mount.target != target and not mount.target.startswith(target + "/")
        if elsewhere and (writable or mount.writable):
            raise GuestError("image_busy", f"{source} is mounted at {shown(mount.target)}", path=mount.target)
    if is_locked(source, by_writers=not writable):
        raise GuestError("image_busy", f"A virtual machine uses {source}", path=source)


def _complete(source: str, target: str, placed: t.Sequence[Placed], there: t.Sequence[Mounted]) -> bool:
    """Whether all that the image's fstab asks for is mounted, from the right places."""
    wanted = {(target + item.target.rstrip("/"), item.partition.start) for item in placed}
    return wanted == {(mount.target, mount.offset) for mount in there if mount.image == source}


# up and down


def _put_up(source: str, target: str, layout: Layout, *, writable: bool) -> tuple[tuple[Placed, ...], tuple[str, ...]]:
    root, subvolume = _find_system(source, target, layout)
    _mount(source, root, target, writable=writable, subvolume=subvolume)
    placed, warnings = places(layout, target, root)
    for item in placed[1:]:
        _mount(source, item.partition, target + item.target, writable=writable, subvolume=item.subvolume)
    return placed, warnings


def _find_system(source: str, target: str, layout: Layout) -> tuple[Partition, str | None]:
    """The partition, and the subvolume of it, that holds /etc/fstab, or else accounts: each one that can is mounted
    read-only for a look."""
    found: dict[str, list[tuple[Partition, str | None]]] = {"/etc/fstab": [], "/etc/passwd": []}
    for partition in layout.partitions:
        if partition.filesystem is None or partition.filesystem.kind not in LINUX:
            continue
        _mount(source, partition, target, writable=False)
        try:
            with Root(target) as root:
                for path, holders_of_it in found.items():
                    holders_of_it += [(partition, subvolume) for subvolume in _with(root, path, partition)]
        finally:
            _take_down(target)
    systems = found["/etc/fstab"] or found["/etc/passwd"]
    if len(systems) == 1:
        return systems[0]
    if not systems:
        kinds = [
            f"{item.number}: {item.filesystem.kind if item.filesystem else 'unknown'}" for item in layout.partitions
        ]
        raise GuestError(
            "system_not_found", f"No partition of {source} holds a system ({', '.join(kinds)})", path=source
        )
    numbers = " and ".join(str(partition.number) for partition, _subvolume in systems)
    raise GuestError("filesystem_ambiguous", f"Partitions {numbers} of {source} both hold a system", path=source)


def _with(root: Root, path: str, partition: Partition) -> list[str | None]:
    """Where in a file system the file is: in itself (None), or else in its subvolumes."""
    if root.is_file(path):
        return [None]
    if partition.filesystem is None or partition.filesystem.kind != "btrfs":
        return []
    # What is mounted at boot lies at the top, on every distribution; snapshots of it lie below.
    return [name for name in root.names("/") if SUBVOLUME.fullmatch(name) and root.is_file(f"/{name}{path}")]


def _mount(source: str, partition: Partition, target: str, *, writable: bool, subvolume: str | None = None) -> None:
    kind = t.cast(str, partition.filesystem and partition.filesystem.kind)
    options = list(mount_options(kind, writable=writable))
    options += [] if subvolume is None else [f"subvol={subvolume}"]
    # btrfs is on one device, however often it is mounted.
    devices = [mount.device for mount in mounted() if (mount.image, mount.offset) == (source, partition.start)]
    device = devices[0] if devices and kind == "btrfs" else source
    if device == source:
        options += ["loop", f"offset={partition.start}", f"sizelimit={partition.size}"]
    run(["mount", "-i", "-c", "-t", driver(kind), "-o", ",".join(options), "--", device, target], code="mount_failed")


def _take_down(target: str) -> None:
    for mount in reversed(below(target)):
        try:
            run(["umount", "-i", "-c", "--", mount.target], code="unmount_failed")
        except GuestError as error:
            users = holders(target)
            if users:
                raise GuestError(
                    "unmount_failed",
                    f"{shown(mount.target)} is in use by {', '.join(users)}",
                    path=target,
                    users=list(users),
                ) from error
            raise
