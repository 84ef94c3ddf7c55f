# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Two domains compared by what they mean: libvirt adds addresses, controllers and versions to what it is given."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from xml.etree import ElementTree

from ..errors import HypervisorError
from .libvirt import NAMESPACE

_UNITS: t.Final = {
    "b": 1, "bytes": 1, "KB": 10**3, "k": 2**10, "KiB": 2**10, "MB": 10**6, "M": 2**20, "MiB": 2**20,
    "GB": 10**9, "G": 2**30, "GiB": 2**30, "TB": 10**12, "T": 2**40, "TiB": 2**40,
}  # fmt: skip
_LARGEST: t.Final = 4 * 1024 * 1024
_ENCODING: t.Final = re.compile(r"\s*<\?xml[^>]*\sencoding\s*=\s*[\"']([^\"'>]*)")
_BOARD: t.Final = re.compile(r"pc-(?:i440fx|(q35))-[0-9.]+")
#: What libvirt adds to no domain by itself: ways past the image, and into the host.
_EXTRAS: t.Final = (
    *(f"devices/{tag}" for tag in ("filesystem", "hostdev", "lease", "redirdev", "shmem", "vsock")),
    *("devices/memory", "devices/*/rom[@file]", "devices/*/boot"),
    *(f"os/{tag}" for tag in ("kernel", "initrd", "cmdline", "dtb", "shim", "nvram", "acpi", "bootmenu")),
    *(f"{{http://libvirt.org/schemas/domain/{driver}/1.0}}commandline" for driver in ("qemu", "xen")),
    "{http://libvirt.org/schemas/domain/qemu/1.0}override",
)
_Element = ElementTree.Element


@dataclass(frozen=True)
class Difference:
    """One thing that is not as wanted; None where there is no such thing."""

    what: str
    wanted: t.Any
    found: t.Any

    def as_dict(self) -> dict[str, t.Any]:
        return {"what": self.what, "wanted": self.wanted, "found": self.found}


def differences(wanted: str, found: str) -> tuple[Difference, ...]:
    """What the domain `found` has otherwise than the domain `wanted`; nothing if it may stay as it is.

    `found` is the XML of a domain as it is defined: libvirt's inactive one, for in the running one host-model is spelt
    out. What `wanted` leaves to the hypervisor (a card's model) is not compared. Disks, cards, screens, log files, a
    kernel from outside the image, devices of the host and the like, which nobody wanted, are differences.

    Raises `HypervisorError`: ``domain_unreadable``.
    """
    ours, theirs = facts(wanted), facts(found)
    return tuple(
        Difference(what, ours.get(what), theirs.get(what))
        for what in sorted({*ours, *theirs})
        if ours.get(what) != theirs.get(what) and not (what in ours and ours[what] is None)
    )


def provenance_of(domain: str) -> dict[str, str] | None:
    """What the metadata says of the image; a hint, for whoever may define a domain can write it. None without ours."""
    instance = read_domain(domain).find(f"metadata/{{{NAMESPACE}}}instance")
    if instance is None:
        return None
    prefix = f"{{{NAMESPACE}}}"
    return {child.tag[len(prefix) :]: child.text or "" for child in instance if child.tag.startswith(prefix)}


def facts(domain: str) -> dict[str, t.Any]:
    """What matters of a domain, by names such as ``disk vda path``; None is left to the hypervisor."""
    root = read_domain(domain)
    system = root.find("os/type")
    kind = {} if system is None else {"system": _text(system), "machine": _board(system.get("machine"))}
    if _text(system) == "hvm":
        kind["boot"] = " ".join(boot.get("dev", "") for boot in root.iterfind("os/boot"))
    cpu = root.find("cpu")
    found: dict[str, t.Any] = {
        "type": root.get("type"),
        "name": _text(root.find("name")),
        "uuid": _text(root.find("uuid")).lower(),
        "memory": _octets(root.find("memory")),
        "cpus": _text(root.find("vcpu")),
        "cpu": None if cpu is None else cpu.get("mode"),
        "bootloader": _text(root.find("bootloader")),
        "bootloader arguments": " ".join(_text(root.find("bootloader_args")).split()),
        "screens": sorted(_screen(graphics) for graphics in root.iterfind("devices/graphics")),
        "logs": sorted(_logs(root)),
        "extras": sorted(_extras(root)),
        **kind,
    }
    for event in ("on_poweroff", "on_reboot", "on_crash"):
        found[event] = _text(root.find(event))
    for disk in root.iterfind("devices/disk"):
        found.update(_disk(disk))
    for number, interface in enumerate(root.iterfind("devices/interface")):
        found.update(_interface(interface, number))
    for key, value in (provenance_of(domain) or {}).items():
        found[f"image {key}"] = value
    return found


def read_domain(domain: str) -> _Element:
    """The parsed domain; ``domain_unreadable``. libvirt writes no document type: what has one would tire the reader."""
    if len(domain) > _LARGEST or "<!" in domain.replace("<!--", "").replace("<![CDATA[", ""):
        raise HypervisorError("domain_unreadable", "The XML is too long, or declares a document type")
    stated = _ENCODING.match(domain)
    if stated is not None and stated[1].lower() != "utf-8":
        raise HypervisorError("domain_unreadable", f"It says to be {stated[1]!a}: only UTF-8 is read here")
    try:
        root = ElementTree.fromstring(domain)
    except (ElementTree.ParseError, UnicodeEncodeError) as error:
        raise HypervisorError("domain_unreadable", f"It is no XML: {error}") from error
    if root.tag != "domain":
        raise HypervisorError("domain_unreadable", f"It is a {root.tag}, not a domain")
    return root


def _text(element: _Element | None) -> str:
    return "" if element is None else (element.text or "").strip()


def _octets(memory: _Element | None) -> int | None:
    text = _text(memory)
    if memory is None or not text.isdecimal():
        return None
    return int(text) * _UNITS.get(memory.get("unit", "KiB"), 0)


def _board(machine: str | None) -> str | None:
    """pc and q35 are names for the newest version, which libvirt puts in their place."""
    match = _BOARD.fullmatch(machine or "")
    return machine if match is None else match[1] or "pc"


def _source(element: _Element) -> str | None:
    source = element.find("source")
    return None if source is None else source.get("file") or source.get("dev") or source.get("name") or "elsewhere"


def _disk(disk: _Element) -> dict[str, t.Any]:
    target, driver = disk.find("target"), disk.find("driver")
    name = "?" if target is None else target.get("dev", "?")
    return {
        f"disk {name} device": disk.get("device", "disk"),
        f"disk {name} path": _source(disk),
        f"disk {name} format": "raw" if driver is None else driver.get("type", "raw"),
        f"disk {name} bus": None if target is None else target.get("bus"),
        f"disk {name} readonly": disk.find("readonly") is not None,
        f"disk {name} backing": _backing(disk),
    }


def _backing(element: _Element) -> list[str] | None:
    """What lies below, as ``format path``, from the top; None where it is not told."""
    store = element.find("backingStore")
    if store is None:
        return None
    layers = []
    while store is not None and store.find("source") is not None:
        layer = store.find("format")
        layers.append(f"{'?' if layer is None else layer.get('type')} {_source(store)}")
        store = store.find("backingStore")
    return layers


def _interface(interface: _Element, number: int) -> dict[str, t.Any]:
    mac, source, model = interface.find("mac"), interface.find("source"), interface.find("model")
    kind = interface.get("type", "")
    return {
        f"network {number} type": kind,
        f"network {number} mac": None if mac is None else mac.get("address", "").lower(),
        f"network {number} source": "" if source is None else source.get(kind, ""),
        f"network {number} model": None if model is None else model.get("type"),
    }


def _screen(graphics: _Element) -> str:
    listen = graphics.find("listen")
    address = graphics.get("listen") or (None if listen is None else listen.get("address"))
    return f"{graphics.get('type')} {address or ''}".strip()


def _logs(root: _Element) -> set[str]:
    """Files that serial lines and consoles are written to; libvirt tells the first serial line as a console again."""
    found = set()
    for device in [*root.iterfind("devices/serial"), *root.iterfind("devices/console")]:
        log, source = device.find("log"), device.find("source")
        if log is not None:
            found.add(log.get("file", ""))
        if device.get("type") == "file" and source is not None:
            found.add(source.get("path", ""))
    return found


def _extras(root: _Element) -> list[str]:
    return [path.split("}")[-1].split("/")[-1].split("[")[0] for path in _EXTRAS for _one in root.iterfind(path)]
