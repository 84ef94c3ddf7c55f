# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine as a template for OpenNebula, which gives out its own UUIDs, addresses and context disks."""

from __future__ import annotations

import re
import typing as t

from ..errors import HypervisorError
from .devices import attachments
from .machine import MIB, PARAVIRTUAL, QEMU_MODES, Machine

_VARIABLE: t.Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_LABEL: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+ -]{0,127}")
_Pairs = t.Sequence[tuple[str, str]]


def opennebula_template(
    machine: Machine,
    *,
    image: str,
    context: t.Mapping[str, str] | None = None,
    context_files: t.Sequence[str] = (),
) -> str:
    """The template; the same text for the same arguments.

    `image` is the name under which the datastore has the disk: the machine's own path and overlay are OpenNebula's to
    choose, and so are UUID and addresses. `context` are variables beside VMID, which is always handed over;
    `context_files` names of the files datastore. The machine's context ISOs cannot be taken over: OpenNebula writes
    one of its own from these.

    Raises `HypervisorError`: ``output_unsupported``, ``machine_invalid``, ``disk_place_refused``.
    """
    _check(machine)
    target = attachments(machine)[0].target
    lines = [
        f"NAME = {_quoted(machine.name)}",
        f"MEMORY = {_quoted(str(machine.memory // MIB))}",
        f"CPU = {_quoted(str(machine.cpus))}",
        f"VCPU = {_quoted(str(machine.cpus))}",
        _vector("OS", _system(machine)),
        _vector("DISK", [("IMAGE", _label("image", image)), ("TARGET", target), ("DEV_PREFIX", target[:-1])]),
    ]
    for network in machine.networks:
        model = [] if network.model is None else [("MODEL", network.model)]
        lines.append(_vector("NIC", [("NETWORK", network.source), *model]))
    if machine.vnc is not None:
        lines.append(_vector("GRAPHICS", [("TYPE", "vnc"), ("LISTEN", machine.vnc)]))
    if machine.mode in PARAVIRTUAL:
        data = f'bootloader_args = ["--entry={machine.boot.entry}"]'
        lines.append(_vector("RAW", [("TYPE", "xen"), ("DATA", data)]))
    lines.append(_vector("CONTEXT", _context(context or {}, context_files)))
    hypervisor = "kvm" if machine.mode in QEMU_MODES else "xen"
    lines.append(f"SCHED_REQUIREMENTS = {_quoted(f'HYPERVISOR = {chr(34)}{hypervisor}{chr(34)}')}")
    lines += [f"HEPIX_{key.upper()} = {_quoted(value)}" for key, value in machine.provenance.as_dict().items()]
    return "\n".join([*lines, ""])


def _check(machine: Machine) -> None:
    if machine.mode == "xen_pvh":
        raise HypervisorError("output_unsupported", "OpenNebula's driver for Xen knows no PVH", mode=machine.mode)
    if machine.contexts:
        raise HypervisorError(
            "output_unsupported", "OpenNebula makes the context disk itself: hand it variables and files"
        )
    if any(network.kind != "network" for network in machine.networks):
        raise HypervisorError("output_unsupported", "OpenNebula knows its own networks only, by name")


def _system(machine: Machine) -> _Pairs:
    if machine.mode in PARAVIRTUAL:
        return [("ARCH", "x86_64"), ("BOOTLOADER", machine.bootloader)]
    if machine.mode == "xen_hvm":
        return [("ARCH", "x86_64")]
    return [("ARCH", "x86_64"), ("BOOT", "disk0"), ("MACHINE", machine.board)]


def _context(variables: t.Mapping[str, str], files: t.Sequence[str]) -> _Pairs:
    """The variables in the order of their names. A dollar is refused: OpenNebula would put values of its own there."""
    pairs = [("VMID", "$VMID")]
    for name in sorted(variables):
        if not _VARIABLE.fullmatch(name) or name in ("VMID", "FILES_DS", "FILES", "TARGET"):
            raise HypervisorError("machine_invalid", f"context: {name!r} is no variable's name, or OpenNebula's own")
        value = variables[name]
        if not isinstance(value, str) or "$" in value or not all(sign.isprintable() or sign == "\n" for sign in value):
            raise HypervisorError("machine_invalid", f"context.{name}: it is not printable text without a dollar sign")
        pairs.append((name, value))
    if files:
        pairs.append(("FILES_DS", " ".join(f'$FILE[IMAGE="{_label("context_files", name)}"]' for name in files)))
    return pairs


def _label(option: str, name: str) -> str:
    if not isinstance(name, str) or not _LABEL.fullmatch(name):
        raise HypervisorError("machine_invalid", f"{option}: {name!r} is not the name of an image in a datastore")
    return name


def _vector(name: str, pairs: _Pairs) -> str:
    return f"{name} = [\n" + ",\n".join(f"  {key} = {_quoted(value)}" for key, value in pairs) + " ]"


def _quoted(value: str) -> str:
    """In quotes, quotes in it behind a backslash; a backslash before anything else stands for itself."""
    if "\\" in value:
        raise HypervisorError(
            "machine_invalid", f"{value!r} has a backslash, which OpenNebula's templates cannot express"
        )
    return '"' + value.replace('"', '\\"') + '"'
