# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which readers would find a disk and use it: each of them as its source or documentation has it.

A verdict is told in one sentence. It speaks of the disk alone: whether the reader is installed in a guest, and enabled
there, nobody can see from here.
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

from .payload.variables import read_context
from .tree import Disk

#: Where the book's scripts look, and where a disk attached in a usual way appears (build-and-context.md 2.6).
_BOOK_DEVICES: t.Final = ("/dev/xvdb", "/dev/vdb", "/dev/hdb", "/dev/sdb")
ATTACHMENTS: t.Final[t.Mapping[str, str]] = {
    "kvm_virtio_disk": "/dev/vdb",
    "kvm_cdrom": "/dev/sr0",
    "xen_para_disk": "/dev/xvdb",
    "xen_hvm_cdrom": "/dev/sr0",
}
_OVF_LIMIT: t.Final = 10_000_000


@dataclass(frozen=True)
class Reading:
    """Whether a reader takes the disk, and the sentence that says why or why not."""

    accepts: bool
    why: str

    def as_dict(self) -> dict[str, t.Any]:
        """For results."""
        return {"accepts": self.accepts, "why": self.why}


def judge(disk: Disk) -> dict[str, Reading]:
    """reader -> reading, for every reader that is known."""
    return {name: reader(disk) for name, reader in _READERS.items()}


def found_as() -> dict[str, t.Optional[str]]:
    """attachment -> the device at which the book's scripts find a disk; None where they do not look."""
    return {name: device if device in _BOOK_DEVICES else None for name, device in ATTACHMENTS.items()}


def _variables(disk: Disk) -> t.Optional[dict[str, str]]:
    octets = disk.text("context.sh")
    return None if octets is None else read_context(octets)


def _holds(disk: Disk, *names: str) -> t.Optional[str]:
    return next((name for name in names if name in disk.entries), None)


def _no(why: str) -> Reading:
    return Reading(accepts=False, why=why)


def _yes(why: str) -> Reading:
    return Reading(accepts=True, why=why)


def _long_names(disk: Disk) -> t.Optional[Reading]:
    if disk.names == "iso9660" and any("_" in path and "." not in path for path in disk.entries):
        return _no("The disk has neither Rock Ridge nor Joliet names, so a name with a hyphen is lost.")
    return None


def _book(disk: Disk) -> Reading:
    prolog = _holds(disk, "prolog.sh", "init.sh")
    if prolog is None:
        return _no("There is neither prolog.sh nor init.sh, and the book's prologue fails without them.")
    more = "" if "epilog.sh" in disk.entries else ", and the epilogue does nothing"
    return _yes(f"It sources {prolog}{more}, where the disk is /dev/xvdb, /dev/vdb, /dev/hdb or /dev/sdb.")


def _vmcontext(disk: Disk) -> Reading:
    marker = _holds(disk, "prolog.sh", "epilog.sh", "init.sh", "context.sh")
    if marker is None:
        return _no("There is none of prolog.sh, epilog.sh, init.sh and context.sh.")
    return _yes(f"It knows the disk by {marker}, on whatever device it is.")


def _amiconfig(disk: Disk) -> Reading:
    if _holds(disk, "prolog.sh", "epilog.sh", "init.sh", "context.sh") is not None:
        data = (_variables(disk) or {}).get("EC2_USER_DATA")
        return _yes("It runs the scripts." if data is None else "It runs the scripts and reads EC2_USER_DATA.")
    if "ec2/latest/user-data" in disk.entries:
        return _yes("It reads ec2/latest/user-data.")
    return _no("There is neither a script of HEPiX, nor context.sh, nor ec2/latest/user-data.")


def _one_context(disk: Disk) -> Reading:
    if disk.label != "CONTEXT":
        return _no(f"It looks for the label CONTEXT, and this is {disk.label!r}.")
    if "context.sh" not in disk.entries:
        return _no("There is no context.sh.")
    return _yes("It sources context.sh" + (" and runs init.sh." if "init.sh" in disk.entries else "."))


def _cloud_init_opennebula(disk: Disk) -> Reading:
    if "context.sh" not in disk.entries:
        return _no("There is no context.sh.")
    if disk.label not in ("CONTEXT", "CDROM"):
        return _no(f"cloud-init is only started for the labels CONTEXT and CDROM, and this is {disk.label!r}.")
    if _variables(disk) == {}:
        return _no("context.sh assigns nothing.")
    return _yes("It reads context.sh" + (", and user data from it." if _user_data(disk) else "."))


def _user_data(disk: Disk) -> bool:
    variables = _variables(disk) or {}
    return "USER_DATA" in variables or "USERDATA" in variables


def _cloud_init_nocloud(disk: Disk) -> Reading:
    if disk.label not in ("cidata", "CIDATA"):
        return _no(f"It looks for the label cidata, and this is {disk.label!r}.")
    missing = [name for name in ("user-data", "meta-data") if name not in disk.entries]
    if missing:
        return _long_names(disk) or _no(f"There is no {' and no '.join(missing)}.")
    return _yes("It reads meta-data and user-data.")


def _cloud_init_configdrive(disk: Disk) -> Reading:
    if disk.label not in ("config-2", "CONFIG-2"):
        return _no(f"It looks for the label config-2, and this is {disk.label!r}.")
    octets = disk.text("openstack/latest/meta_data.json")
    if octets is None:
        return _no("There is no openstack/latest/meta_data.json.")
    try:
        data = json.loads(octets)
    except ValueError:
        return _no("openstack/latest/meta_data.json is not JSON.")
    if not isinstance(data, dict) or "uuid" not in data:
        return _no("openstack/latest/meta_data.json has no uuid.")
    return _yes("It reads openstack/latest/meta_data.json.")


def _ucernvm(disk: Disk) -> Reading:
    variables = _variables(disk) or {}
    if "openstack/latest/user_data" in disk.entries:
        return _yes("It reads openstack/latest/user_data.")
    if "EC2_USER_DATA" in variables:
        return _yes("It reads EC2_USER_DATA from context.sh.")
    if "user-data.txt" in disk.entries:
        return _yes("It reads user-data.txt.")
    return _no("There is neither openstack/latest/user_data, nor EC2_USER_DATA in context.sh, nor user-data.txt.")


def _stratuslab(disk: Disk) -> Reading:
    if _holds(disk, "context.sh") is None:
        return _no("There is no context.sh.")
    if disk.label in ("_STRATUSLAB", "_CLOUD_INIT"):
        return _yes("It knows the disk by its label.")
    return _yes("It takes the disk for its context.sh, where it is a CD-ROM (/dev/sr0).")


def _ignition(disk: Disk) -> Reading:
    places = {"cidata": "user-data", "CIDATA": "user-data", "config-2": "openstack/latest/user_data"}
    place = places.get(disk.label)
    octets = None if place is None else disk.text(place)
    if octets is None:
        return _no("There is no user data on a disk with the label cidata or config-2.")
    try:
        version = json.loads(octets)["ignition"]["version"]
    except (ValueError, KeyError, TypeError):
        return _no(f"{place} is not an Ignition configuration.")
    return _yes(f"It reads {place}, of version {str(version)[:20]}.")


def _ovf(disk: Disk) -> Reading:
    octets = disk.text("ovf-env.xml")
    if octets is None:
        return _no("There is no ovf-env.xml.")
    size = sum(len(entry.octets) for entry in disk.entries.values())
    if size > _OVF_LIMIT and disk.label not in ("OVF-TRANSPORT", "OVFENV", "OVF ENV"):
        return _no("The disk is larger than 10 MB, and has not the label OVF-TRANSPORT.")
    return _yes("It reads ovf-env.xml.")


_READERS: t.Final[t.Mapping[str, t.Callable[[Disk], Reading]]] = {
    "book": _book,
    "vmcontext": _vmcontext,
    "amiconfig": _amiconfig,
    "one_context": _one_context,
    "cloud_init_opennebula": _cloud_init_opennebula,
    "cloud_init_nocloud": _cloud_init_nocloud,
    "cloud_init_configdrive": _cloud_init_configdrive,
    "ucernvm": _ucernvm,
    "stratuslab": _stratuslab,
    "ignition": _ignition,
    "ovf": _ovf,
}
