# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which drivers a kernel has at hand when it looks for its root: built in, or in its initrd."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..initrd.contents import Initrd
from .kernels import Kernel

#: The option of the kernel's configuration that a driver is of, where its name does not say it.
_OPTIONS: t.Final = {
    "virtio_ring": "VIRTIO",
    "virtio": "VIRTIO",
    "virtio_pci": "VIRTIO_PCI",
    "virtio_blk": "VIRTIO_BLK",
    "virtio_net": "VIRTIO_NET",
    "xen_blkfront": "XEN_BLKDEV_FRONTEND",
    "xen_netfront": "XEN_NETDEV_FRONTEND",
    "ata_piix": "ATA_PIIX",
    "piix": "BLK_DEV_PIIX",
    "ext2": "EXT2_FS",
    "ext3": "EXT3_FS",
    "ext4": "EXT4_FS",
    "xfs": "XFS_FS",
    "btrfs": "BTRFS_FS",
}


@dataclass(frozen=True)
class Drivers:
    """The drivers of a kernel with an initrd, or with none."""

    kernel: Kernel
    initrd: Initrd | None

    def has(self, name: str) -> bool:
        """Whether the driver is there before the root is mounted."""
        return self.is_builtin(name) or (self.initrd is not None and name in self.initrd.modules)

    def is_builtin(self, name: str) -> bool:
        """Whether the driver is a part of the kernel itself."""
        option = _OPTIONS.get(name)
        configured = option is not None and self.kernel.options.get(option) == "y"
        return name in self.kernel.builtin or configured

    def has_later(self, name: str) -> bool:
        """Whether the driver is there once the root is mounted."""
        return self.has(name) or name in self.kernel.modules

    def lacks(self, *names: str) -> tuple[str, ...]:
        """Those of the drivers that are not there."""
        return tuple(name for name in names if not self.has(name))

    def misordered(self, *names: str) -> tuple[str, str] | None:
        """Two of the drivers where the second is inserted before the first, by an initrd of mkinitrd.

        The others load a module with all that it needs, in whatever order they name them.
        """
        order = self.initrd.order if self.initrd is not None and self.initrd.tool == "mkinitrd" else ()
        listed = [name for name in names if name in order]
        for first, second in zip(listed, listed[1:]):
            if order.index(second) < order.index(first):
                return first, second
        return None
