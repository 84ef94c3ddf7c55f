# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems whose files were cut, shuffled and replaced: told or refused, never a defect, and planned for once."""

from __future__ import annotations

import json
import random
import shutil
import typing as t
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.report import report
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.survey import survey
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.carry_out import make_bootable
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.wishes import Wishes
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

PIECES = [
    *(b"\n", b"\r\n", b"{", b"}", b'"', b"'", b"\\", b"=", b" ", b"\t", b"\x00", b"\xff", b"LABEL=", b"root=/dev/vda9"),
    *(b"title\n", b"\nkernel\n", b"\nlinux\n", b"\noptions\n", b"\nblscfg\n", b"module x", b"root (hd0,", b"default="),
    *(b'menuentry "x" {', b'submenu "a" {', b"set default=9>9", b"match:\n", b"macaddress: x\n", b"MODULES=dep"),
]


@pytest.mark.needs("zstd", "lz4")
@pytest.mark.parametrize("seed", range(24))
def test_a_damaged_system_is_told_or_refused(systems: t.Any, tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    system = systems.unpack(systems.NAMES[seed % len(systems.NAMES)], tmp_path / "system")
    for _round in range(chance.randint(1, 4)):
        damage(system, chance)
    now = datetime.now(timezone.utc)
    with Root(system) as root:
        json.dumps(report(survey(root)))
        try:
            make_bootable(root, Wishes(), check=False, now=now, build=None)
            again = make_bootable(root, Wishes(), check=False, now=now, build=None)
        except GuestError as error:
            assert error.code in ("guest_path_loop", "guest_not_writable", "guest_not_a_file", "guest_not_found")
        else:
            assert (again.changed, again.after) == (False, {})
            json.dumps([again.data, again.actions])


def damage(system: Path, chance: random.Random) -> None:
    """Damage one file or directory of the system."""
    path = chance.choice(sorted(item for item in system.rglob("*") if not item.is_symlink()))
    if path.is_dir():
        shutil.rmtree(path)
        if chance.random() < 0.5:
            path.write_bytes(b"a file")
        else:
            path.symlink_to(chance.choice([".", "/", "../..", "/etc", path.name]))
        return
    octets = path.read_bytes()
    place = chance.randint(0, len(octets))
    lines = octets.split(b"\n")
    chance.shuffle(lines)
    inserted = b"".join(chance.choice(PIECES) for _piece in range(chance.randint(1, 6)))
    path.write_bytes(
        chance.choice(
            [octets[:place], octets[:place] + inserted + octets[place:], b"\n".join(lines), chance.randbytes(60)]
        )
    )
