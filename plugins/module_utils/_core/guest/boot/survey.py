# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that a system's tree, and the disk that it lies on, say about how it boots: read once, judged by the matrix."""

from __future__ import annotations

import os
import typing as t
from dataclasses import dataclass, field

from ...errors import GuestError
from ..disk.layout import Layout, Partition, read_layout
from ..formats.fstab import Fstab
from ..initrd.contents import Initrd, read_initrd
from ..mount.copies import raw_of
from ..mount.kernel import below
from ..root.draft import Draft
from ..root.names import shown
from ..root.tree import Root
from .consoles import Consoles, read_consoles
from .kernels import Kernel, read_kernels, unusable_names
from .loaders import Loader, in_tree, read_loader
from .network import plan_network
from .pygrub import PLACES, Menu, read_menu
from .system import System, read_system

T = t.TypeVar("T")

#: File systems that pygrub's library reads; XFS of version 5 (the default since 2014) is beyond it.
_PYGRUB_READS: t.Final = frozenset({"ext2", "ext3", "ext4", "vfat", "iso9660"})


@dataclass(frozen=True)
class Problem:
    """Something of the image that could not be read: the path, the code of the refusal, and a sentence."""

    path: str
    code: str
    detail: str

    def as_dict(self) -> dict[str, str]:
        return {"path": self.path, "code": self.code, "detail": self.detail}


@dataclass(frozen=True)
class Disk:
    """The image that the tree is mounted from: its layout, which partition is mounted where, and its boot sectors."""

    image: str
    layout: Layout
    places: t.Mapping[int, str]
    boots: bool

    def partition_of(self, target: str) -> Partition | None:
        return next((item for item in self.layout.partitions if self.places.get(item.number) == target), None)


@dataclass(frozen=True)
class Pygrub:
    """What pygrub finds: the file, in the tree; the menu; where its paths begin; or why it finds nothing."""

    path: str | None
    prefix: str
    menu: Menu
    why: str | None = None

    def as_dict(self) -> dict[str, t.Any]:
        images = [
            {
                "index": index,
                "title": image.title,
                "kernel": None if image.kernel is None else in_tree(self.prefix, image.kernel),
                "initrd": None if image.initrd is None else in_tree(self.prefix, image.initrd),
                "arguments": image.arguments.split(),
            }
            for index, image in enumerate(self.menu.images)
        ]
        default = self.menu.default if images else None
        return {"path": self.path, "default": default, "entries": images, "problem": self.why or self.menu.error}


@dataclass
class Survey:
    """The findings; what could not be read is empty and among the `problems`."""

    system: System
    kernels: tuple[Kernel, ...]
    fstab: Fstab
    loader: Loader
    pygrub: Pygrub
    consoles: Consoles
    disk: Disk | None
    separate_boot: bool = False
    initrds: dict[str, Initrd] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    pins: tuple[tuple[str, str], ...] = ()
    problems: list[Problem] = field(default_factory=list)

    def kernel_of(self, path: str) -> Kernel | None:
        """The kernel whose image is at `path`, whatever links lead there."""
        resolved = self.images.get(path)
        return next(
            (
                item
                for item in self.kernels
                if item.image is not None and self.images.get(item.image) == resolved and resolved is not None
            ),
            None,
        )

    def problem_of(self, path: str) -> Problem | None:
        return next((problem for problem in self.problems if problem.path == shown(path)), None)


def survey(root: Root, *, image: str | None = None) -> Survey:
    """Read the tree. What a hostile tree refuses to tell is a problem of the survey, and never ends it.

    `image` is the disk that the tree lies on; without it, it is the one that the tree is mounted from, if it is.
    Raises `GuestError` for an `image` that cannot be read.
    """
    problems: list[Problem] = []

    def reading(path: str, read: t.Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except GuestError as error:
            problems.append(Problem(str(error.context.get("path", path)), error.code, error.sentence))
            return otherwise

    disk = _disk(root, image)
    system = reading("/etc", lambda: read_system(root), System(None, None, None, None, None))
    fstab = Fstab.parse(reading("/etc/fstab", lambda: root.read("/etc/fstab"), None) or b"")
    separate = fstab.of("/boot") is not None or (disk is not None and "/boot" in disk.places.values())
    found = Survey(
        system=system,
        kernels=reading("/boot", lambda: read_kernels(root), ()),
        fstab=fstab,
        loader=reading("/boot", lambda: read_loader(root, separate_boot=separate), Loader(None, None, (), None)),
        pygrub=reading("/boot", lambda: _pygrub(root, disk, separate=separate), Pygrub(None, "", Menu((), 0))),
        consoles=reading("/etc", lambda: read_consoles(root, system), Consoles((), False, None)),
        disk=disk,
        separate_boot=separate,
        problems=problems,
    )
    unusable: tuple[str, ...] = reading("/boot", lambda: unusable_names(root), ())
    for name in unusable:
        problems.append(Problem(f"/boot/{name}", "guest_malformed", f"{name} is no name of a kernel."))
    _read_images(root, found, reading)
    found.pins = reading("/etc", lambda: _pins(root, problems), ())
    return found


def _read_images(root: Root, found: Survey, reading: t.Callable[..., t.Any]) -> None:
    """Every kernel and initrd that an entry names."""
    kernels = {item.image for item in found.kernels if item.image is not None}
    initrds: set[str] = set()
    for entry in found.loader.entries:
        kernels |= {entry.kernel} if entry.kernel is not None else set()
        initrds |= set(entry.initrds)
    for image in found.pygrub.menu.images:
        kernels |= {in_tree(found.pygrub.prefix, image.kernel)} if image.kernel else set()
        initrds |= {in_tree(found.pygrub.prefix, image.initrd)} if image.initrd else set()
    for path in sorted(kernels):
        if reading(path, lambda path=path: root.is_file(path), False):
            found.images[path] = root.resolve(path)
    for path in sorted(initrds):
        initrd = reading(path, lambda path=path: read_initrd(root, path), None)
        if initrd is not None:
            found.initrds[path] = initrd


def _pins(root: Root, problems: list[Problem]) -> tuple[tuple[str, str], ...]:
    draft = Draft(root)
    for sentence in plan_network(draft):
        problems.append(Problem(sentence.split(",")[0], "guest_malformed", sentence))
    return tuple((shown(change.path), reason) for change in draft.changes for _id, reason in change.reasons)


def _disk(root: Root, image: str | None) -> Disk | None:
    mounts = below(root.path) if root.path != "/" else ()
    behind = mounts[0].image if mounts and mounts[0].target == root.path else None
    chosen = image if image is not None else behind
    if chosen is None:
        return None
    chosen = raw_of(chosen, root.path)
    layout = read_layout(chosen)
    places: dict[int, str] = {}
    for mount in mounts:
        if mount.image is not None and os.path.realpath(chosen) == mount.image:
            for partition in layout.partitions:
                if partition.start == mount.offset:
                    places[partition.number] = mount.target[len(root.path) :] or "/"
    return Disk(chosen, layout, places, _has_boot_sector(chosen, layout))


def _has_boot_sector(image: str, layout: Layout) -> bool:
    """Whether GRUB is in the first sector of the disk, or of the active partition."""
    starts = [0, *(partition.start for partition in layout.partitions if partition.active)]
    with open(image, "rb") as file:  # noqa: PTH123 - a block device is opened as well
        return any(b"GRUB" in os.pread(file.fileno(), 440, start) for start in starts)


def _pygrub(root: Root, disk: Disk | None, *, separate: bool) -> Pygrub:
    prefixes = ["/boot", ""] if separate else [""]
    skipped: list[str] = []
    if disk is not None and disk.places:
        prefixes = []
        for partition in disk.layout.partitions:
            target = disk.places.get(partition.number)
            if target not in ("/", "/boot"):
                continue
            kind = partition.filesystem
            if kind is None or (kind.kind not in _PYGRUB_READS and (kind.kind, kind.version) != ("xfs", 4)):
                skipped.append(
                    f"pygrub cannot read {'this' if kind is None else kind.kind} on partition {partition.number}"
                )
            else:
                prefixes.append("" if target == "/" else target)
    found = Pygrub(None, "", Menu((), 0), "; ".join(skipped) or "pygrub finds no configuration of a boot loader")
    for prefix in prefixes:
        read = _pygrub_on(root, prefix, separate=separate)
        if read is not None and read.menu.images:
            return read
        found = read if read is not None and found.path is None else found
    return found


def _pygrub_on(root: Root, prefix: str, *, separate: bool) -> Pygrub | None:
    """What pygrub reads on the file system that is mounted at `prefix`; None when it finds no file there.

    It looks at that file system alone: an absolute link begins at its root, wherever it is mounted.
    """
    if not root.is_directory(prefix or "/"):
        return None
    with Root(root.path.rstrip("/") + root.resolve(prefix or "/")) as filesystem:
        return _pygrub_in(filesystem, prefix, separate=separate)


def _pygrub_in(filesystem: Root, prefix: str, *, separate: bool) -> Pygrub | None:
    for place, form in PLACES:
        if separate and prefix == "" and place.startswith("/boot/"):
            continue
        text = filesystem.text(place)
        if text is None:
            continue
        if form == "extlinux":
            return Pygrub(prefix + place, prefix, Menu((), 0), "extlinux is not understood here")
        menu = read_menu(text, form)
        why = None if menu.images or menu.error else "pygrub finds no entry in it"
        return Pygrub(prefix + place, prefix, menu, why)
    return None
