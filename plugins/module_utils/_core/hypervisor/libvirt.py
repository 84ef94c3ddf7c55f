# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine as libvirt's domain XML, with where its image comes from in a metadata element of our own."""

from __future__ import annotations

import typing as t
from xml.etree import ElementTree

from .devices import Attachment, attachments
from .machine import MIB, PARAVIRTUAL, QEMU_MODES, Machine, Network, Volume

#: The namespace of the metadata. It names, and promises no page.
NAMESPACE: t.Final = "tag:hepix.org,2026:vmimages:instance"

_OS_TYPES: t.Final = {
    "kvm": ("hvm", None),
    "qemu": ("hvm", None),
    "xen_hvm": ("hvm", "xenfv"),
    "xen_para": ("linux", "xenpv"),
    "xen_pvh": ("xenpvh", "xenpvh"),
}
_Element = ElementTree.Element


def domain_xml(machine: Machine, *, labels: t.Sequence[str] = ("dac",)) -> str:
    """The domain, which libvirt's schema accepts; the same text for the same machine.

    `labels` are the security models of the host by which libvirt would give the image below an overlay to the guest's
    user, and leave it to that user: it is told not to. Raises `HypervisorError`: ``disk_place_refused``.
    """
    domain = _Element("domain", {"type": machine.mode if machine.mode in QEMU_MODES else "xen"})
    _add(domain, "name", machine.name)
    _add(domain, "uuid", machine.uuid)
    _add_metadata(domain, machine)
    _add(domain, "memory", str(machine.memory // MIB), unit="MiB")
    _add(domain, "vcpu", str(machine.cpus))
    if machine.mode in PARAVIRTUAL:
        _add(domain, "bootloader", machine.bootloader)
        _add(domain, "bootloader_args", f"--entry={machine.boot.entry}")
    _add_system(domain, machine)
    if machine.mode in QEMU_MODES:
        _add(domain, "cpu", mode=machine.cpu)
    _add(domain, "clock", offset="utc")
    _add(domain, "on_poweroff", "destroy")
    _add(domain, "on_reboot", "restart")
    _add(domain, "on_crash", "destroy")
    devices = _add(domain, "devices")
    for attachment in attachments(machine):
        _add_disk(devices, machine, attachment, labels)
    for network in machine.networks:
        _add_interface(devices, network)
    _add_consoles(devices, machine)
    if machine.vnc is not None:
        graphics = _add(devices, "graphics", type="vnc", autoport="yes", port="-1", listen=machine.vnc)
        _add(graphics, "listen", type="address", address=machine.vnc)
    ElementTree.indent(domain)
    return ElementTree.tostring(domain, encoding="unicode") + "\n"


def _add(parent: _Element, tag: str, text: t.Optional[str] = None, **attributes: str) -> _Element:
    element = ElementTree.SubElement(parent, tag, attributes)
    element.text = text
    return element


def _add_metadata(domain: _Element, machine: Machine) -> None:
    provenance = machine.provenance.as_dict()
    instance = _add(_add(domain, "metadata"), "hepix:instance", **{"xmlns:hepix": NAMESPACE})
    for key, value in provenance.items():
        _add(instance, f"hepix:{key}", value)


def _add_system(domain: _Element, machine: Machine) -> None:
    kind, board = _OS_TYPES[machine.mode]
    system = _add(domain, "os")
    _add(system, "type", kind, arch="x86_64", machine=board or machine.board)
    if kind != "hvm":
        return
    _add(system, "boot", dev="hd")
    features = _add(domain, "features")
    _add(features, "acpi")
    _add(features, "apic")
    _add(features, "pae")


def _add_disk(devices: _Element, machine: Machine, attachment: Attachment, labels: t.Sequence[str]) -> None:
    volume = attachment.volume
    kind = _kind(volume)
    disk = _add(devices, "disk", type=kind, device="cdrom" if attachment.is_cdrom else "disk")
    _add(disk, "driver", name=_backend(machine, volume), type=volume.format)
    _add_source(disk, volume)
    if machine.mode in QEMU_MODES and volume.format == "qcow2":
        _add_backing(disk, volume.backing, labels)
    _add(disk, "target", dev=attachment.target, bus=attachment.bus)
    if attachment.is_readonly:
        _add(disk, "readonly")


def _backend(machine: Machine, volume: Volume) -> str:
    """Xen's own driver serves raw block devices from dom0's kernel; everything else is QEMU's."""
    is_plain = machine.mode not in QEMU_MODES and volume.format == "raw" and _kind(volume) == "block"
    return "phy" if is_plain else "qemu"


def _add_source(parent: _Element, volume: Volume) -> _Element:
    if _kind(volume) == "block":
        return _add(parent, "source", dev=volume.path)
    return _add(parent, "source", file=volume.path)


def _add_backing(parent: _Element, backing: t.Optional[Volume], labels: t.Sequence[str]) -> None:
    """What the overlay lies on, with its format, down to the end: libvirt probes what it is not told."""
    if backing is None:
        _add(parent, "backingStore")
        return
    store = _add(parent, "backingStore", type=_kind(backing))
    _add(store, "format", type=backing.format)
    source = _add_source(store, backing)
    for model in labels:
        _add(source, "seclabel", model=model, relabel="no")
    _add_backing(store, backing.backing, labels)


def _kind(volume: Volume) -> str:
    return "block" if volume.path.startswith("/dev/") else "file"


def _add_interface(devices: _Element, network: Network) -> None:
    interface = _add(devices, "interface", type=network.kind)
    _add(interface, "mac", address=network.mac)
    if network.source:
        _add(interface, "source", **{network.kind: network.source})
    if network.model is not None:
        _add(interface, "model", type=network.model)


def _add_consoles(devices: _Element, machine: Machine) -> None:
    """What the guest writes goes to a file, if wanted. For Xen's own consoles xenconsoled keeps the log."""
    if machine.mode in PARAVIRTUAL:
        _add(_add(devices, "console", type="pty"), "target", type="xen", port="0")
    elif machine.mode == "xen_hvm" and machine.console_log is not None:
        serial = _add(devices, "serial", type="file")
        _add(serial, "source", path=machine.console_log)
        _add(serial, "target", port="0")
    else:
        serial = _add(devices, "serial", type="pty")
        if machine.console_log is not None:
            _add(serial, "log", file=machine.console_log, append="on")
        _add(serial, "target", port="0")
