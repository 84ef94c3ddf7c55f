# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernels of a tree: what they were configured with, and which drivers they have."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ...errors import GuestError
from ..formats.bls import version_key
from ..initrd.contents import module_name
from ..root.names import shown
from ..root.tree import Root

_VERSION: t.Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,120}\Z")
_OPTION: t.Final = re.compile(r"^(?:CONFIG_([A-Z0-9_]+)=([ym])|# CONFIG_([A-Z0-9_]+) is not set)$", re.MULTILINE)
_LISTS: t.Final = 8 * 1024 * 1024

#: The options of a kernel that say in which modes it runs; they are a part of the report.
TOLD: t.Final = (
    "XEN",
    "XEN_PV",
    "XEN_PVHVM",
    "XEN_PVH",
    "XEN_BLKDEV_FRONTEND",
    "XEN_NETDEV_FRONTEND",
    "HVC_XEN",
    "VIRTIO_PCI",
    "VIRTIO_BLK",
    "VIRTIO_NET",
)


@dataclass(frozen=True)
class Kernel:
    """`options`: what is configured, as y, m or n; empty when no configuration is there. `modules`: all in the tree."""

    version: str
    image: str | None
    options: t.Mapping[str, str]
    builtin: frozenset[str]
    modules: frozenset[str]

    @property
    def is_xen_only(self) -> bool:
        """A kernel-xen of the time before one kernel ran everywhere: it runs under a hypervisor, paravirtualised."""
        if self.options:
            return self.options.get("X86_64_XEN") == "y" or self.options.get("X86_XEN") == "y"
        return self.version.endswith("xen") or "-xen" in self.version

    @property
    def number(self) -> tuple[int, ...]:
        """The first three numbers of the version."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])

    def has(self, option: str) -> bool | None:
        """Whether the option is on; None when that cannot be told."""
        if not self.options:
            return None
        return self.options.get(option, "n") in ("y", "m")

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "version": self.version,
            "path": self.image,
            "xen_only": self.is_xen_only,
            "config": {name: self.options.get(name, "n") for name in TOLD} if self.options else None,
            "modules": len(self.modules),
        }


def read_kernels(root: Root) -> tuple[Kernel, ...]:
    """Every kernel that has an image in /boot or modules, the newest first. Raises `GuestError`."""
    images = {name[len("vmlinuz-") :]: f"/boot/{name}" for name in root.names("/boot") if name.startswith("vmlinuz-")}
    versions = {*images, *(name for name in root.names("/lib/modules") if root.is_directory(f"/lib/modules/{name}"))}
    safe = [version for version in versions if _VERSION.match(version)]
    return tuple(_read(root, version, images.get(version)) for version in sorted(safe, key=version_key, reverse=True))


def unusable_names(root: Root) -> tuple[str, ...]:
    """What is named like a kernel and cannot be one, as shown text."""
    names = [*root.names("/boot"), *(f"vmlinuz-{name}" for name in root.names("/lib/modules"))]
    return tuple(
        shown(name) for name in names if name.startswith("vmlinuz-") and not _VERSION.match(name[len("vmlinuz-") :])
    )


def _read(root: Root, version: str, image: str | None) -> Kernel:
    options: dict[str, str] = {}
    for path in (f"/boot/config-{version}", f"/lib/modules/{version}/config"):
        text = root.text(path)
        if text is not None:
            for match in _OPTION.finditer(text):
                options[match[1] or match[3]] = match[2] or "n"
            break
    return Kernel(
        version=version,
        image=image,
        options=options,
        builtin=_listed(root, f"/lib/modules/{version}/modules.builtin"),
        modules=_listed(root, f"/lib/modules/{version}/modules.dep"),
    )


def _listed(root: Root, path: str) -> frozenset[str]:
    """The modules that a list of depmod names: one path a line, with what it needs after a colon."""
    try:
        text = root.text(path, limit=_LISTS) or ""
    except GuestError as error:
        if error.code != "guest_too_large":
            raise
        text = ""
    files = (line.split(":", 1)[0].strip().rsplit("/", 1)[-1] for line in text.splitlines())
    return frozenset(module_name(file.split(".ko")[0]) for file in files if ".ko" in file)
