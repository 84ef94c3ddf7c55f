# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entries pygrub finds on a disk: the real pygrub is asked, which needs no hypervisor for that."""

from __future__ import annotations

import re
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.survey import survey
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.mount.images import mount_image, unmount_image
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

PYGRUB = "/usr/lib/xen-4.17/bin/pygrub"
MIB = 1024 * 1024
LEGACY = "default=0\ntitle {0}\n\troot (hd0,0)\n\tkernel /{0} ro\n\tinitrd /{0}.img\n"
GRUB2 = "menuentry '{0}' --id x {{\n\tlinux /{0} ro\n\tinitrd /{0}.img\n}}\n"
FSTAB = {"/etc/fstab": "LABEL=r / ext4\nLABEL=b /boot ext4\n", "/boot/": ""}
ALONE = {"/etc/fstab": "LABEL=r / ext4\n"}

pytestmark = pytest.mark.needs("root", "sfdisk", "mkfs.ext4", "mount", "/dev/loop-control", PYGRUB)

Tree = dict[str, str]


@pytest.mark.parametrize(
    ("boot", "root", "links", "active"),
    [
        (None, {"/boot/grub/grub.conf": LEGACY.format("a")}, {}, 1),
        (None, {"/boot/grub/grub.cfg": GRUB2.format("a"), "/boot/grub/menu.lst": LEGACY.format("b")}, {}, 1),
        (None, {"/boot/grub2/grub.cfg": GRUB2.format("a"), "/grub/grub.cfg": GRUB2.format("b")}, {}, 1),
        (None, {"/boot/grub/grub.cfg": "blscfg\n"}, {}, 1),
        ({"/grub/grub.conf": LEGACY.format("a")}, {}, {}, 1),
        ({"/grub/grub.conf": LEGACY.format("a")}, {"/grub/grub.conf": LEGACY.format("b")}, {}, 2),
        ({"/grub/grub.conf": "default=0\n"}, {"/grub/grub.conf": LEGACY.format("b")}, {}, 1),
        ({"/grub/grub.cfg": "}\n"}, {"/grub/menu.lst": LEGACY.format("b")}, {}, 1),
        ({"/grub/grub.conf": LEGACY.format("a")}, {}, {"/grub/menu.lst": "./grub.conf"}, 1),
        ({"/grub/grub.conf": LEGACY.format("a")}, {}, {"/grub/menu.lst": "/grub/grub.conf"}, 1),
        ({"/other": LEGACY.format("a"), "/grub/": ""}, {}, {"/grub/menu.lst": "/boot/other"}, 1),
    ],
)
def test_the_entries_of_a_disk_are_those_that_pygrub_lists(
    disk: t.Any, make_volume: t.Any, tmp_path: Path, boot: Tree | None, root: Tree, links: Tree, active: int
) -> None:
    if boot is None:
        image = disk(make_volume(label="r", files={**ALONE, **root}, links=links))
    else:
        image = disk(
            make_volume(label="b", files=boot, links=links, size=4 * MIB),
            make_volume(label="r", files={**FSTAB, **root}),
            active=active,
        )
    place = tmp_path / "mnt"
    mount_image(str(image), str(place), writable=False, check=False)
    try:
        with Root(place) as tree:
            found = survey(tree).pygrub
    finally:
        unmount_image(str(place), check=False)
    ours = [(entry.title, entry.kernel, entry.initrd) for entry in found.menu.images]
    assert ours == listed(image)


def listed(image: Path) -> list[tuple[str, ...]]:
    command = [PYGRUB, "--list-entries", f"--output-directory={image.parent}", str(image)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    found = re.findall(r"^title: (.*)\n.*\n  kernel: (.*)\n.*\n  initrd: (.*)$", done.stdout, re.MULTILINE)
    assert found or done.returncode or "title:" not in done.stdout
    return found
