# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine as a configuration for xl, the tool of Xen itself."""

from __future__ import annotations

import typing as t

from ..errors import HypervisorError
from .devices import Attachment, attachments
from .machine import MIB, PARAVIRTUAL, QEMU_MODES, Machine, Network

_TYPES: t.Final = {"xen_hvm": "hvm", "xen_para": "pv", "xen_pvh": "pvh"}

_Value = t.Union[str, int, t.Sequence[str]]


def xl_config(machine: Machine) -> str:
    """The configuration; the same text for the same machine. Where the image comes from is told in comments.

    Raises `HypervisorError`: ``output_unsupported``, ``disk_place_refused``.
    """
    if machine.mode in QEMU_MODES:
        raise HypervisorError("output_unsupported", f"xl starts no machine of mode {machine.mode}", mode=machine.mode)
    keys: list[tuple[str, _Value]] = [
        ("name", machine.name),
        ("uuid", machine.uuid),
        ("type", _TYPES[machine.mode]),
        ("memory", machine.memory // MIB),
        ("vcpus", machine.cpus),
    ]
    if machine.mode in PARAVIRTUAL:
        # The path of the book would do, with a warning; xl finds its own pygrub by name.
        loader = "pygrub" if machine.bootloader == "/usr/bin/pygrub" else machine.bootloader
        keys += [("bootloader", loader), ("bootloader_args", [f"--entry={machine.boot.entry}"])]
    else:
        keys += [("boot", "c"), ("serial", _serial(machine))]
    keys += [
        ("disk", [_disk(attachment) for attachment in attachments(machine)]),
        ("vif", [_vif(network) for network in machine.networks]),
        *_screen(machine),
        ("on_poweroff", "destroy"),
        ("on_reboot", "restart"),
        ("on_crash", "destroy"),
    ]
    told = [f"# {key}: {value}" for key, value in machine.provenance.as_dict().items()]
    return "\n".join([*told, *(f"{key} = {_written(value)}" for key, value in keys), ""])


def _written(value: _Value) -> str:
    """No text has quotes, backslashes or line ends in it: the machine's checks see to that."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{value}"'
    return "[" + ", ".join(f'"{item}"' for item in value) + "]"


def _serial(machine: Machine) -> str:
    return "pty" if machine.console_log is None else f"file:{machine.console_log}"


def _disk(attachment: Attachment) -> str:
    """`target` takes the rest of the text, commas and all, and so comes last."""
    words = [
        f"format={attachment.volume.format}",
        f"vdev={attachment.target}",
        f"access={'ro' if attachment.is_readonly else 'rw'}",
    ]
    if attachment.is_cdrom:
        words.append("devtype=cdrom")
    return ",".join([*words, f"target={attachment.volume.path}"])


def _vif(network: Network) -> str:
    """No type: netfront, as the book has it, is an error today, and left out it is both."""
    if network.kind != "bridge":
        raise HypervisorError("output_unsupported", f"xl knows bridges, and no network of type {network.kind}")
    return f"mac={network.mac},bridge={network.source}"


def _screen(machine: Machine) -> list[tuple[str, _Value]]:
    if machine.mode in PARAVIRTUAL:
        return [] if machine.vnc is None else [("vfb", [f"vnc=1,vnclisten={machine.vnc}"])]
    if machine.vnc is None:
        return [("vnc", 0), ("nographic", 1)]
    return [("vnc", 1), ("vnclisten", machine.vnc)]
