# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine as it is wanted: from options and the image's boot facts, checked, the same for every hypervisor.

What no output may contain is refused here, so that the writers of templates have nothing left to quote: names are of
a small alphabet, paths are absolute, printable ASCII without quotes and backslashes.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import typing as t
from dataclasses import dataclass
from datetime import datetime

from ..errors import HypervisorError
from ..sizes import parse_size
from ..times import from_text, to_text
from .given import Given, invalid

MODES: t.Final = ("kvm", "qemu", "xen_hvm", "xen_para", "xen_pvh")
#: What runs without Xen and is judged by the matrix's kvm.
QEMU_MODES: t.Final = ("kvm", "qemu")
#: What pygrub boots.
PARAVIRTUAL: t.Final = ("xen_para", "xen_pvh")
MIB: t.Final = 1024 * 1024

_NAME: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,62}")
_UUID: t.Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SHA512: t.Final = re.compile(r"[0-9a-f]{128}")
_MAC: t.Final = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_LINK: t.Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_BRIDGE: t.Final = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_MODEL: t.Final = re.compile(r"[a-z0-9-]{1,32}")
_CPUS: t.Final = 1024
_SMALLEST: t.Final = 16 * MIB


@dataclass(frozen=True)
class Volume:
    """A disk's file or block device: `format` is raw or qcow2, `backing` what an overlay lies on, never probed."""

    path: str
    format: str
    backing: t.Optional[Volume] = None


@dataclass(frozen=True)
class Context:
    """A context ISO; `attach` is auto, disk or cdrom."""

    path: str
    attach: str = "auto"


@dataclass(frozen=True)
class Network:
    """A card: `kind` is bridge, network (one of the manager's own) or user; `model` may be left to the hypervisor."""

    kind: str
    source: str
    mac: str
    model: t.Optional[str] = None


@dataclass(frozen=True)
class Provenance:
    """What the disk is a copy of, and who stands for it. Times are aware, digests lower-case hexadecimal."""

    image: str
    version: str
    sha512: str
    list: str
    list_version: str
    dn: str
    ca: str
    expires: datetime

    def as_dict(self) -> dict[str, str]:
        return {
            "image": self.image,
            "version": self.version,
            "sha512": self.sha512,
            "list": self.list,
            "list_version": self.list_version,
            "endorser_dn": self.dn,
            "endorser_ca": self.ca,
            "expires": to_text(self.expires),
        }


@dataclass(frozen=True)
class Boot:
    """How the image boots in the machine's mode, of image_boot_info's matrix; `entry` is what pygrub takes."""

    entry: int
    console: str
    disk: str
    is_root_by_device: bool
    has_noprobe: bool


@dataclass(frozen=True)
class Machine:
    """A checked machine. `memory` in octets, whole MiB; `vnc` is the address to listen on, None for no screen."""

    name: str
    uuid: str
    mode: str
    memory: int
    cpus: int
    board: str
    cpu: str
    volume: Volume
    target: str
    contexts: tuple[Context, ...]
    networks: tuple[Network, ...]
    console_log: t.Optional[str]
    vnc: t.Optional[str]
    bootloader: str
    provenance: Provenance
    boot: Boot

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any], boot_info: t.Mapping[str, t.Any]) -> Machine:
        """The machine that options ask for, of an image that `boot_info` (image_boot_info's result) tells of.

        Raises `HypervisorError`: ``machine_invalid``, ``boot_facts_missing``, ``mode_not_bootable``.
        """
        given = Given(options, "")
        mode = given.choice("mode", MODES)
        boot = boot_of(boot_info, mode)
        uuid = given.matching("uuid", _UUID, "a UUID in lower case")
        disk = given.part("disk")
        machine = cls(
            name=_name(given),
            uuid=uuid,
            mode=mode,
            memory=_memory(given),
            cpus=given.number("cpus", 1, _CPUS),
            board=given.choice("machine", ("pc", "q35"), "pc"),
            cpu=given.choice("cpu", ("host-model", "host-passthrough", "maximum"), _usual_cpu(mode)),
            volume=_volume(disk),
            target=disk.matching(
                "target", re.compile(r"(?:vd|hd|sd|xvd)a"), "vda, hda, sda or xvda", _first_disk(mode)
            ),
            contexts=tuple(_context(one) for one in given.parts("contexts")),
            networks=tuple(_network(one, uuid, mode, index) for index, one in enumerate(given.parts("networks"))),
            console_log=given.optional_path("console_log"),
            vnc=_listen(given),
            bootloader=given.path("bootloader", "/usr/bin/pygrub"),
            provenance=_provenance(given.part("image")),
            boot=boot,
        )
        disk.finish()
        given.finish()
        _check_together(machine)
        return machine


def doubts(machine: Machine) -> tuple[str, ...]:
    """Sentences on what is not refused and may still surprise."""
    told = []
    if machine.console_log is not None and machine.mode in PARAVIRTUAL:
        told.append(
            f"console_log: in mode {machine.mode} the console is logged by xenconsoled (--log=guest), not to"
            f" {machine.console_log}."
        )
    elif machine.console_log is not None and not machine.boot.console.startswith("ttyS"):
        told.append(
            f"console_log: the image writes to {machine.boot.console or 'no serial line'} in mode {machine.mode}, so"
            f" that {machine.console_log} stays all but empty."
        )
    if machine.mode in PARAVIRTUAL and machine.volume.format != "raw":
        told.append("disk.format: pygrub reads an overlay only through a disk that dom0 attaches for it.")
    if machine.vnc is not None and not ipaddress.ip_address(machine.vnc).is_loopback:
        told.append(f"vnc.listen: whoever reaches {machine.vnc} is at the machine's console, without a password.")
    return tuple(told)


def boot_of(boot_info: t.Mapping[str, t.Any], mode: str) -> Boot:
    """The boot facts of the mode, which must be one that the image boots in.

    Raises `HypervisorError`: ``boot_facts_missing``, ``mode_not_bootable`` with the matrix's reasons.
    """
    row = "kvm" if mode in QEMU_MODES else mode
    matrix = boot_info.get("matrix")
    facts = matrix.get(row) if isinstance(matrix, t.Mapping) else None
    if not isinstance(facts, t.Mapping) or not isinstance(facts.get("ok"), bool):
        raise HypervisorError(
            "boot_facts_missing", f"Nothing is known of how the image boots in mode {mode}", mode=mode
        )
    if not facts["ok"]:
        reasons = [dict(reason) for reason in facts.get("reasons") or ()]
        told = " ".join(f"{reason.get('requirement')}: {reason.get('text')}" for reason in reasons)
        raise HypervisorError(
            "mode_not_bootable", f"The image does not boot in mode {mode}. {told}".strip(), mode=mode, reasons=reasons
        )
    entry = facts.get("entry")
    if isinstance(entry, bool) or not isinstance(entry, int) or not 0 <= entry < 10_000:
        raise HypervisorError("boot_facts_missing", f"The entry that boots in mode {mode} is not told", mode=mode)
    return Boot(
        entry=entry,
        console=str(facts.get("console") or ""),
        disk=str(facts.get("disk") or ""),
        is_root_by_device=facts.get("root_by") == "device",
        has_noprobe=bool(facts.get("ide_noprobe")),
    )


def _usual_cpu(mode: str) -> str:
    """Without hardware there is no host's model; QEMU's own default is too old for EL9."""
    return "maximum" if mode == "qemu" else "host-model"


def _first_disk(mode: str) -> str:
    return "vda" if mode in QEMU_MODES else "xvda"


def check_name(name: t.Any) -> str:
    """The name of a machine. Raises `HypervisorError` ``machine_invalid``."""
    return _name(Given({"name": name}, ""))


def _name(given: Given) -> str:
    """Tools take a number for the id of a domain, a UUID for its UUID, and Domain-0 is the host."""
    name = given.matching(
        "name", _NAME, "a name of up to 63 letters, digits and _ . + -, beginning with one of the first"
    )
    if name.isdigit() or _UUID.fullmatch(name.lower()) or name.lower() == "domain-0":
        raise invalid("name", f"{name!r} is what hypervisors call another thing by")
    return name


def _memory(given: Given) -> int:
    try:
        octets = parse_size(given.get("memory"))
    except ValueError as error:
        raise invalid("memory", str(error)) from error
    if octets % MIB or not _SMALLEST <= octets < 2**50:
        raise invalid("memory", f"{octets} octets are not a whole number of MiB, of at least 16")
    return octets


def _volume(disk: Given) -> Volume:
    image_format = disk.choice("format", ("raw", "qcow2"), "raw")
    backing = None
    if disk.get("backing") is not None:
        if image_format != "qcow2":
            raise invalid(disk.where("backing"), "only a qcow2 disk lies on another one")
        below = disk.part("backing")
        backing = Volume(below.path("path"), below.choice("format", ("raw", "qcow2"), "raw"))
        below.finish()
    return Volume(disk.path("path"), image_format, backing)


def _context(given: Given) -> Context:
    context = Context(given.path("path"), given.choice("attach", ("auto", "disk", "cdrom"), "auto"))
    given.finish()
    return context


def _network(given: Given, uuid: str, mode: str, index: int) -> Network:
    kind = given.choice("type", ("bridge", "network", "user"), "bridge")
    source = ""
    if kind == "bridge":
        source = given.matching("source", _BRIDGE, "the name of a bridge")
    elif kind == "network":
        source = given.matching("source", _LINK, "the name of a network")
    mac = given.matching("mac", _MAC, "a MAC address in lower case, as in 52:54:00:12:34:56", _mac(uuid, mode, index))
    if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
        raise invalid(given.where("mac"), f"{mac!r} is no single card's address")
    model = given.matching("model", _MODEL, "a model of a card", "virtio") if mode in QEMU_MODES else None
    given.finish()
    return Network(kind, source, mac, model)


def _mac(uuid: str, mode: str, index: int) -> str:
    """An address that the same machine gets each time, of the prefix that QEMU or Xen gives out."""
    prefix = "52:54:00" if mode in QEMU_MODES else "00:16:3e"
    octets = hashlib.sha256(f"{uuid} {index}".encode()).digest()[:3]
    return ":".join([prefix, *(f"{octet:02x}" for octet in octets)])


def _listen(given: Given) -> t.Optional[str]:
    """No screen unless asked for, and then on loopback: the book's open VNC lets everybody at the console."""
    if given.get("vnc") is None:
        return None
    vnc = given.part("vnc")
    address = vnc.get("listen", "127.0.0.1")
    try:
        parsed = ipaddress.ip_address(address if isinstance(address, str) and "%" not in address else "")
    except ValueError as error:
        raise invalid(vnc.where("listen"), f"{address!r} is not an IP address") from error
    vnc.finish()
    return str(parsed)


def _provenance(image: Given) -> Provenance:
    endorser = image.part("endorser")
    try:
        expires = from_text(image.text("expires"))
    except ValueError as error:
        raise invalid(image.where("expires"), str(error)) from error
    provenance = Provenance(
        image=image.matching("uuid", _UUID, "a UUID in lower case"),
        version=image.text("version"),
        sha512=image.matching("sha512", _SHA512, "128 hexadecimal digits in lower case"),
        list=image.matching("list", _UUID, "a UUID in lower case"),
        list_version=image.text("list_version"),
        dn=endorser.text("dn"),
        ca=endorser.text("ca"),
        expires=expires,
    )
    endorser.finish()
    image.finish()
    return provenance


def _check_together(machine: Machine) -> None:
    paths = [machine.volume.path, *(one.path for one in machine.contexts)]
    if machine.volume.backing is not None:
        paths.append(machine.volume.backing.path)
    if machine.console_log is not None:
        paths.append(machine.console_log)
    twice = sorted({path for path in paths if paths.count(path) > 1})
    if twice:
        raise invalid("disk", f"{twice[0]} has two uses in one machine")
    macs = [network.mac for network in machine.networks]
    if len(set(macs)) < len(macs):
        raise invalid("networks", "two cards have the same address")
    if machine.mode not in QEMU_MODES and machine.board != "pc":
        raise invalid("machine", f"Xen has no {machine.board}")
