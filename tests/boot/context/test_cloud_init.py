# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""cloud-init as Debian has it, in an image that has the role vmcontext as well: each uses the disk that is for it."""

from __future__ import annotations

import time
import typing as t
from pathlib import Path

from .. import images, qemu
from ..conftest import Note
from ..console import patience
from ..prepared import Prepared
from . import guests

KEY: t.Final = "ssh-ed25519 AAAA somebody"
#: cloud-init's last module says it.
DONE: t.Final = "@@ cloud-init is done"
#: Shows that it was used: a file, a user with a key, a command.
USER_DATA: t.Final = {
    "write_files": [{"path": "/etc/cloud.conf", "content": "of cloud-init\n"}],
    "users": [{"name": "site", "ssh_authorized_keys": [KEY]}],
    "runcmd": [f"sync; echo '{DONE}' >/dev/console"],
}
#: Seconds for what takes 100 on a quiet machine.
_START: t.Final = 300.0


def test_both_use_the_disks_of_one_call(
    modern: Prepared, tmp_path: Path, run_playbook: t.Any, logs: Path, note: Note
) -> None:
    """A context disk, and by `also` one for NoCloud with the same user data, as the guide has it.

    Nothing tells cloud-init where to look: its ds-identify finds the disk among all sources that Debian lets it know,
    and takes it before the other, which it could use as OpenNebula's.
    """
    image = images.copy(modern.image, tmp_path / "disk.img")
    guests.install(image, tmp_path, run_playbook)
    with guests.tree(image, tmp_path / "mnt", writable=True) as root:
        (root / "etc/cloud/cloud-init.disabled").unlink()
    context = guests.disk(
        tmp_path / "context.iso",
        instance="one",
        stays=True,
        hostname="one.example.org",
        user_data=USER_DATA,
        also=[{"dest": str(tmp_path / "cidata.iso"), "flavours": ["nocloud"]}],
    )
    attached = [qemu.Disk(context, readonly=True), qemu.Disk(tmp_path / "cidata.iso", bus="ide", cdrom=True)]
    log = logs / "modern-cloud-init.log"
    began = time.monotonic()
    with qemu.machine([qemu.Disk(image, writable=True), *attached], log=log, network=True) as console:
        text = console.wait(guests.DONE, DONE, "DataSourceNoCloud", timeout=patience(_START))
    note("modern", "QEMU, cloud-init beside vmcontext", time.monotonic() - began, came="both done")
    assert guests.shortfall(text, device="/dev/vdb", instance="one", host="one") == []
    with guests.tree(image, tmp_path / "mnt") as root:
        assert (root / "etc/cloud.conf").read_text() == "of cloud-init\n"
        assert KEY in (root / "home/site/.ssh/authorized_keys").read_text()
        assert (root / "etc/hostname").read_text() == "one\n"
