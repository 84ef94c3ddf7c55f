# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What system a tree holds, by the tools and files that are found in it; its release file is only shown."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..formats.assignments import Assignments
from ..root.tree import Root

_RELEASES: t.Final = ("/etc/redhat-release", "/etc/debian_version", "/etc/issue")
_BIN: t.Final = ("/usr/sbin", "/sbin", "/usr/bin", "/bin")


@dataclass(frozen=True)
class System:
    """`init`: systemd, upstart, sysv; `initrd_tool`: dracut, mkinitrd, initramfs-tools; None: none is there."""

    name: str | None
    identifier: str | None
    version: str | None
    init: str | None
    initrd_tool: str | None

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "name": self.name,
            "id": self.identifier,
            "version": self.version,
            "init": self.init,
            "initrd_tool": self.initrd_tool,
        }


def read_system(root: Root) -> System:
    """What system the tree holds. Raises `GuestError`."""
    release = Assignments.parse(root.read("/etc/os-release") or b"")
    name = release.get("PRETTY_NAME") or release.get("NAME")
    if name is None:
        texts = (root.text(path) for path in _RELEASES)
        name = next((text.strip().split("\n")[0][:200] for text in texts if text and text.strip()), None)
    return System(name, release.get("ID"), release.get("VERSION_ID"), _init(root), _initrd_tool(root))


def has_command(root: Root, name: str) -> bool:
    """Whether the system has a program of this name."""
    return any(root.is_file(f"{directory}/{name}") for directory in _BIN)


def _init(root: Root) -> str | None:
    if any(root.is_file(f"{lib}/systemd/systemd") for lib in ("/lib", "/usr/lib")) and not _is_sysv(root):
        return "systemd"
    if has_command(root, "initctl") and root.is_directory("/etc/init"):
        return "upstart"
    return "sysv" if root.is_file("/etc/inittab") else None


def _is_sysv(root: Root) -> bool:
    """Whether init is another program than systemd, although systemd is there."""
    return root.is_file("/sbin/init") and root.resolve("/sbin/init").rsplit("/", 1)[-1] != "systemd"


def _initrd_tool(root: Root) -> str | None:
    if has_command(root, "update-initramfs") and root.is_directory("/etc/initramfs-tools"):
        return "initramfs-tools"
    if has_command(root, "dracut"):
        return "dracut"
    return "mkinitrd" if has_command(root, "mkinitrd") else None
