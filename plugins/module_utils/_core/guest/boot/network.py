# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A03, A04: the network is bound to no card, so that the system has one under every hypervisor."""

from __future__ import annotations

import fnmatch
import re
import typing as t

from ..formats.assignments import Assignments
from ..formats.interfaces import Interfaces
from ..formats.keyfile import Keyfile
from ..formats.modprobe import Modprobe
from ..formats.netplan import Netplan
from ..root.draft import Draft

_RULES: t.Final = "/etc/udev/rules.d/70-persistent-net.rules"
_GENERATOR: t.Final = "75-persistent-net-generator.rules"
_CARD: t.Final = r"(?:eth|en)[a-z0-9]*"
_DRIVERS: t.Final = ("bnx2*", "e100*", "8139*", "tg3", "virtio_net", "xen*", "ne2k*", "pcnet*", "r8169", "igb", "ixgbe")


def plan_network(draft: Draft) -> tuple[str, ...]:
    """Plan that; returns sentences on what has to be looked at by hand. Raises `GuestError`."""
    _ifcfg(draft)
    _modprobe(draft)
    _udev(draft)
    _keyfiles(draft)
    _interfaces(draft)
    return _netplan(draft)


def _files(draft: Draft, directory: str, pattern: str) -> t.Iterator[str]:
    for name in draft.root.names(directory):
        if fnmatch.fnmatch(name, pattern) and draft.is_file(f"{directory}/{name}"):
            yield f"{directory}/{name}"


def _ifcfg(draft: Draft) -> None:
    for path in _files(draft, "/etc/sysconfig/network-scripts", "ifcfg-*"):
        name = path.rsplit("ifcfg-", 1)[1]
        if name == "lo" or name.endswith(("~", ".bak", ".orig", ".rpmsave", ".rpmnew")):
            continue
        document = Assignments.parse(draft.read(path) or b"")
        pinned = [item.name for item in document.found if item.name in ("HWADDR", "UUID")]
        if "HWADDR" in pinned:
            draft.change(
                path, document.without_names("HWADDR").dump(), "A03", "HWADDR binds the interface to one card."
            )
        document = Assignments.parse(draft.read(path) or b"")
        if "UUID" in pinned:
            draft.change(path, document.without_names("UUID").dump(), "A03", "UUID is that of one installation.")


def _modprobe(draft: Draft) -> None:
    paths = [path for path in ("/etc/modprobe.conf",) if draft.is_file(path)]
    for path in (*paths, *_files(draft, "/etc/modprobe.d", "*.conf")):
        document = Modprobe.parse(draft.read(path) or b"")
        for _line, alias, module in document.aliases(_CARD):
            if any(fnmatch.fnmatch(module, driver) for driver in _DRIVERS):
                changed = Modprobe.parse(draft.read(path) or b"").without_aliases(re.escape(alias))
                draft.change(path, changed.dump(), "A04", f"The alias of {alias} names the driver of one card.")


def _udev(draft: Draft) -> None:
    text = draft.read(_RULES) or b""
    if any(line.strip() and not line.lstrip().startswith(b"#") for line in text.split(b"\n")):
        draft.remove(_RULES, "A03", "The rules name interfaces after the cards that were seen.")
    for directory in ("/lib/udev/rules.d", "/usr/lib/udev/rules.d"):
        if draft.is_file(f"{directory}/{_GENERATOR}"):
            why = "The generator would name the next card eth1."
            draft.link(f"/etc/udev/rules.d/{_GENERATOR}", "/dev/null", "A03", why)
            break
    if draft.is_file("/etc/sysconfig/hwconf"):
        draft.remove("/etc/sysconfig/hwconf", "A05", "kudzu's memory of the hardware is that of one machine.")


def _keyfiles(draft: Draft) -> None:
    for path in _files(draft, "/etc/NetworkManager/system-connections", "*"):
        document = Keyfile.parse(draft.read(path) or b"")
        for section in ("ethernet", "802-3-ethernet"):
            if document.get(section, "mac-address") is not None:
                document = document.without_keys(section, "mac-address")
                draft.change(path, document.dump(), "A03", "mac-address binds the connection to one card.", mode=0o600)
    for pattern in ("*.network", "*.link"):
        for path in _files(draft, "/etc/systemd/network", pattern):
            document = Keyfile.parse(draft.read(path) or b"")
            if all(document.get("Match", key) is None for key in ("MACAddress", "PermanentMACAddress")):
                continue
            if pattern == "*.link":
                draft.remove(path, "A03", "The file names the interface of one card.")
                continue
            changed = document.without_keys("Match", "MACAddress", "PermanentMACAddress")
            if changed.get("Match", "Name") is None:
                changed = changed.with_value("Match", "Name", "e*")
            draft.change(path, changed.dump(), "A03", "MACAddress binds the network to one card.")


def _interfaces(draft: Draft) -> None:
    paths = ["/etc/network/interfaces"] if draft.is_file("/etc/network/interfaces") else []
    for path in (*paths, *_files(draft, "/etc/network/interfaces.d", "*")):
        document = Interfaces.parse(draft.read(path) or b"")
        if document.options("hwaddress"):
            changed = document.without_option("hwaddress")
            draft.change(path, changed.dump(), "A03", "hwaddress gives the interface the address of one card.")


def _netplan(draft: Draft) -> tuple[str, ...]:
    unclear = []
    for path in (*_files(draft, "/etc/netplan", "*.yaml"), *_files(draft, "/etc/netplan", "*.yml")):
        document = Netplan.parse(draft.read(path) or b"")
        if document.pins:
            changed = document.without_pins().dump()
            draft.change(path, changed, "A03", "macaddress binds the configuration to one card.", mode=0o600)
        unclear += [
            f"{path}, line {line + 1}, speaks of a card's address in a form that is not changed here."
            for line in document.unclear
        ]
    return tuple(unclear)
