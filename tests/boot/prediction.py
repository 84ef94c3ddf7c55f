# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the collection says of an image: its boot facts with the matrix, and the files for xl that it writes for it."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.report import report
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.survey import survey
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.mount.images import mount_image, unmount_image
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.machine import Machine
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.xl import xl_config

from .xen import BRIDGE, CONSOLES, IMAGES

MODES: t.Final = ("kvm", "xen_hvm", "xen_para", "xen_pvh")
#: What emulating the emulator needs: without it a guest with full virtualisation takes ten minutes to boot.
FOR_SPEED: t.Final = 'hdtype = "ahci"\nvga = "none"\nusb = 0\n'


def boot_facts(image: Path, mount: Path) -> dict[str, t.Any]:
    """What image_boot_info says of an image, which is mounted read-only at `mount` meanwhile."""
    mount_image(str(image), str(mount), writable=False, check=False)
    try:
        with Root(str(mount)) as root:
            return report(survey(root))
    finally:
        unmount_image(str(mount), check=False)


def configuration(
    facts: t.Mapping[str, t.Any], mode: str, *, name: str, disk: str, contexts: Sequence[str] = (), **options: t.Any
) -> str:
    """The collection's file for xl: the guest `name`, whose disks are serial numbers of disks of dom0.

    For full virtualisation the lines of FOR_SPEED are added, which no site needs.
    """
    log = {"console_log": f"{CONSOLES}/{name}-serial.log"} if mode == "xen_hvm" else {}
    wanted = {
        "name": name,
        "uuid": "6d3c3a0e-52a5-4b9c-8f0a-1f4f0a7a1c01",
        "mode": mode,
        "memory": "384 MiB",
        "cpus": 1,
        "disk": {"path": f"{IMAGES}/{disk}"},
        "contexts": [{"path": f"{IMAGES}/{context}"} for context in contexts],
        "networks": [{"source": BRIDGE}],
        "image": {
            "uuid": "0b0d1a1a-7d5e-4a2b-9a34-5a0b3e0c9d11",
            "version": "1.0",
            "sha512": "0" * 128,
            "list": "7c2f4e0c-3d0e-4f0a-8f43-90b2d1c8a0f2",
            "list_version": "1.0",
            "endorser": {"dn": "/O=Boot tests/CN=Endorser", "ca": "/O=Boot tests/CN=Authority"},
            "expires": "2099-01-01T00:00:00Z",
        },
        **log,
        **options,
    }
    return xl_config(Machine.from_options(wanted, facts)) + (FOR_SPEED if mode == "xen_hvm" else "")
