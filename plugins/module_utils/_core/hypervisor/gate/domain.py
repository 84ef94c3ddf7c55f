# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a domain would start from, read from its XML: its disks, and whatever else could bring a system in.

Nothing of its metadata is read: whoever may define the domain may write it.
Source: libvirt's documentation of the domain format, 9.0.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...errors import HypervisorError
from ..compare import read_domain

if t.TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_QEMU: t.Final = "{http://libvirt.org/schemas/domain/qemu/1.0}"
_XEN: t.Final = "{http://libvirt.org/schemas/domain/xen/1.0}"
#: Kinds of `settings.KINDS` by the elements that belong to them.
_BESIDE: t.Final = {
    "commandline": (f"{_QEMU}commandline", f"{_XEN}commandline", f"{_QEMU}override"),
    "devices": (
        "devices/hostdev",
        "devices/redirdev",
        "devices/filesystem",
        "devices/interface[@type='hostdev']",
    ),
    "kernel": ("os/kernel", "os/initrd", "os/dtb", "os/shim"),
    # A card's own program runs before the disk's; systemd takes credentials, and so passwords, from strings.
    "firmware": ("os/acpi/table", "devices/*/rom[@file]", "sysinfo[@type='fwcfg']", "sysinfo/oemStrings"),
    # Whoever sees the screen chooses what is started.
    "boot": ("os/bootmenu[@enable='yes']",),
    # Memory that a guest finds as a disk.
    "other_disks": ("devices/memory/source/path",),
}
#: Where distributions have the firmware of machines.
_FIRMWARE: t.Final = ("/usr/share/", "/usr/lib/", "/usr/libexec/")
#: Where libvirt keeps what firmware remembers.
_REMEMBERED: t.Final = ("/var/lib/libvirt/",)
_EMULATORS: t.Final = ("qemu", "kvm")
#: What is there once in whatever libvirt writes; of two, programs take different ones.
_ONCE: t.Final = {
    "domain": ("name", "uuid", "os", "bootloader", "bootloader_args"),
    "os": ("loader", "nvram", "varstore"),
    "disk": ("source", "driver", "target", "backingStore"),
    "backingStore": ("source", "format", "backingStore"),
}
#: Where the data of a disk is, beside its own file; in another domain of Xen, a path is that domain's own.
_ELSEWHERE: t.Final = ("dataStore", "slices", "encryption", "reservations", "backenddomain")
#: The bus that a disk is on by its name, where it does not say.
_BUSES: t.Final = {"xvd": "xen", "ubd": "uml", "hd": "ide", "sd": "scsi", "vd": "virtio", "fd": "fdc"}


@dataclass(frozen=True)
class Layer:
    """A file below an overlay, as the domain states it."""

    path: str
    format: str | None


@dataclass(frozen=True)
class Disk:
    """A disk: the file or device at `path` in this format, and what the domain says lies `below`, from the top;
    `ends`: it says that nothing lies below that.

    `readonly`: the guest cannot change what is at `path`; `removable`: it is a CD-ROM or a floppy disk. `unseen` tells
    why the gate cannot look at it, with the kind of `settings.KINDS` that lets it through.
    """

    name: str
    path: str = ""
    format: str = "raw"
    readonly: bool = False
    removable: bool = False
    below: tuple[Layer, ...] = ()
    ends: bool = False
    unseen: tuple[str, str] | None = None
    bus: str = ""


@dataclass(frozen=True)
class Domain:
    """A domain; `unseen` are kinds of `settings.KINDS` with what there is of them. `first` is the name of the disk
    that it starts from first, or of something that is no disk."""

    name: str
    uuid: str
    disks: tuple[Disk, ...]
    unseen: tuple[tuple[str, str], ...] = ()
    first: str = ""


def read(text: str) -> Domain:
    """The domain; `HypervisorError` ``domain_unreadable``."""
    root = read_domain(text)
    _require_plain(root)
    name, uuid = (root.findtext(key) or "" for key in ("name", "uuid"))
    if not name.strip():
        raise HypervisorError("domain_unreadable", "It is a domain without a name")
    devices = root.findall("devices/disk")
    is_xen = root.get("type") == "xen"
    disks = tuple(disk for disk in (_disk(one, is_xen=is_xen) for one in devices) if disk is not None)
    return Domain(name.strip(), uuid.strip().lower(), disks, tuple(_unseen(root)), _first(root, _in_order(disks)))


def _require_plain(root: Element) -> None:
    """Refuse what one program reads in this way, and another one in that; libvirt itself writes none of it."""
    for part in root:
        if part.tag != "metadata" and "}" not in part.tag and any("}" in one.tag for one in part.iter()):
            raise HypervisorError("domain_unreadable", f"It has elements of another namespace in {part.tag}")
    for holder, tags in _ONCE.items():
        for element in [root] if holder == "domain" else root.iter(holder):
            for tag in tags:
                if len(element.findall(tag)) > 1:
                    raise HypervisorError("domain_unreadable", f"It has two elements {tag} in one {holder}")


def _unseen(root: Element) -> t.Iterator[tuple[str, str]]:
    for kind, paths in _BESIDE.items():
        for path in paths:
            if root.find(path) is not None:
                yield kind, path.rpartition("}")[2].replace("devices/", "").replace("*/", "")
    for emulator in root.iterfind("devices/emulator"):
        program = (emulator.text or "").strip()
        if not _is_below(program, ("/usr/",)) or not program.rpartition("/")[2].startswith(_EMULATORS):
            yield "commandline", f"emulator {program}"
    yield from _bootloader(root)
    if any("ds=" in (entry.text or "") for entry in root.iterfind("sysinfo/*/entry")):
        # cloud-init is told by it from where to fetch what it does as root.
        yield "firmware", "sysinfo with ds="
    loader = (root.findtext("os/loader") or "").strip()
    if loader and not _is_below(loader, _FIRMWARE):
        yield "firmware", f"loader {loader}"
    yield from _remembered(root)


def _bootloader(root: Element) -> t.Iterator[tuple[str, str]]:
    """Xen's own is shown the disk; others fetch a kernel from elsewhere, as it does where it is given another file."""
    program = (root.findtext("bootloader") or "").strip()
    is_own = program == "pygrub" or (_is_below(program, ("/usr/",)) and program.endswith("/pygrub"))
    if program and not is_own:
        yield "kernel", f"bootloader {program}"
    for word in (root.findtext("bootloader_args") or "").split():
        if not word.startswith("-"):
            yield "kernel", f"bootloader_args {word}"


def _remembered(root: Element) -> t.Iterator[tuple[str, str]]:
    memory, store = root.find("os/nvram"), root.find("os/varstore")
    for holder in (memory, store):
        template = None if holder is None else holder.get("template")
        if template and not _is_below(template, _FIRMWARE):
            yield "firmware", f"nvram template {template}"
    paths = [] if store is None else [store.get("path", "")]
    if memory is not None:
        # Of the two forms of it, programs take different ones.
        paths += [(memory.text or "").strip(), *(source.get("file", "?") for source in memory.findall("source"))]
    for path in paths:
        if path and not _is_below(path, _REMEMBERED):
            yield "firmware", f"nvram {path}"


def _is_below(path: str, places: tuple[str, ...]) -> bool:
    return path.startswith(places) and ".." not in path


def _first(root: Element, disks: t.Sequence[Disk]) -> str:
    """The devices' own order excludes that of the system; without both it is the first disk.

    Xen shows its bootloader the first of all disks, a CD-ROM as well, whatever the order says.
    """
    if root.find("bootloader") is not None:
        return disks[0].name if disks else ""
    ordered = []
    for device in root.findall("devices/*"):
        boot = device.find("boot")
        if boot is not None:
            order = boot.get("order", "")
            ordered.append((int(order) if order.isdecimal() else 0, _device_name(device)))
    if ordered:
        return min(ordered)[1]
    first = root.find("os/boot")
    if first is not None and first.get("dev") != "hd":
        return first.get("dev", "")
    return next((disk.name for disk in disks if not disk.removable), "")


def _in_order(disks: t.Iterable[Disk]) -> list[Disk]:
    """As libvirt hands them on: those of a bus by their names, the buses as they come."""
    ordered: list[Disk] = []
    for disk in disks:
        beside = [at for at, other in enumerate(ordered) if other.bus == disk.bus]
        behind = [at for at in beside if _place(ordered[at].name) > _place(disk.name)]
        ordered.insert(behind[0] if behind else beside[-1] + 1 if beside else len(ordered), disk)
    return ordered


def _place(name: str) -> tuple[int, str]:
    """sdb before sdaa."""
    letters = name[len(_prefix(name)) :]
    return len(letters), letters


def _prefix(name: str) -> str:
    return next((prefix for prefix in _BUSES if name.startswith(prefix)), "")


def _bus(disk: Element) -> str:
    target = disk.find("target")
    stated = None if target is None else target.get("bus")
    return stated or _BUSES.get(_prefix(_target(disk)), "")


def _device_name(device: Element) -> str:
    return _target(device) if device.tag == "disk" else device.tag


def _target(disk: Element) -> str:
    target = disk.find("target")
    return "?" if target is None else target.get("dev", "?")


def _disk(disk: Element, *, is_xen: bool) -> Disk | None:
    """None for a drive without a medium."""
    name, device = _target(disk), disk.get("device", "disk")
    source, driver = disk.find("source"), disk.find("driver")
    kind = disk.get("type", "file")
    if source is None and device in ("cdrom", "floppy"):
        return None
    unseen = _hidden(disk, kind, source)
    if unseen is not None:
        return Disk(name, removable=device in ("cdrom", "floppy"), unseen=unseen, bus=_bus(disk))
    stated = "raw" if driver is None else driver.get("type", "raw")
    below, ends = _below(disk)
    # Without its driver's word libvirt reads raw; Xen calls that aio as well.
    return Disk(
        name,
        path=_path(source, kind),
        format="raw" if stated == "aio" else stated,
        readonly=device == "cdrom" or disk.find("readonly") is not None or (_is_transient(disk) and not is_xen),
        removable=device in ("cdrom", "floppy"),
        below=below,
        ends=ends,
        bus=_bus(disk),
    )


def _hidden(disk: Element, kind: str, source: Element | None) -> tuple[str, str] | None:
    if kind == "network":
        return "network_disks", "it is on the network"
    if kind not in ("file", "block"):
        return "other_disks", f"it is of type {kind}"
    for holder in ([] if source is None else [source]) + [disk]:
        for tag in _ELSEWHERE:
            if holder.find(tag) is not None:
                return "other_disks", f"it has {tag}"
    if source is not None and source.get("fdgroup") is not None:
        return "other_disks", "it is a file that somebody holds open, of whatever name"
    if not _path(source, kind).startswith("/"):
        return "other_disks", "it names no file or device"
    return None


def _path(source: Element | None, kind: str | None) -> str:
    """Of several names libvirt takes that of the type."""
    return "" if source is None else source.get("dev" if kind == "block" else "file", "")


def _is_transient(disk: Element) -> bool:
    return disk.find("transient") is not None


def _below(disk: Element) -> tuple[tuple[Layer, ...], bool]:
    """What the domain says lies below, and whether an empty element ends it; what is no file has an empty path."""
    layers: list[Layer] = []
    store = disk.find("backingStore")
    while store is not None:
        source, kind = store.find("source"), store.find("format")
        if source is None:
            return tuple(layers), True
        is_plain = (
            store.get("type") in ("file", "block")
            and source.get("fdgroup") is None
            and all(source.find(tag) is None for tag in _ELSEWHERE)
        )
        path = _path(source, store.get("type")) if is_plain else ""
        layers.append(Layer(path, None if kind is None else kind.get("type")))
        store = store.find("backingStore")
    return tuple(layers), False
