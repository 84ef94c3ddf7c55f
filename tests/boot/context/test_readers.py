# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other readers than the role's find and use the disks of context_iso. Two of them cannot be had as packages: for each
there is a script of our own that does what is known of it. (cloud-init's own code is run by the unit tests.)

* The book's (chapter 9): the first of /dev/xvdb, vdb, hdb, sdb that exists is mounted on /mnt as iso9660; the prologue
  sources prolog.sh, else init.sh, the epilogue epilog.sh, both by bash and without an argument.
* OpenNebula's one-context, which Debian does not have: the disk with the label CONTEXT is mounted, what context.sh
  assigns is exported, and init.sh is run from the disk by bash.
"""

from __future__ import annotations

import typing as t
from pathlib import Path

from .. import qemu
from ..conftest import Note
from . import guests

BOOK: t.Final = """\
#!/bin/bash
# {phase}, as the book has it
[ "$1" = start ] || exit 0
for disk in /dev/xvdb /dev/vdb /dev/hdb /dev/sdb none; do
    [ ! -e $disk ] || break
done
echo "@@ book: $disk"
mount -t iso9660 $disk /mnt || exit
source_it() {{
    for script in {scripts}; do
        if [ -e /mnt/$script ]; then
            . /mnt/$script
            return
        fi
    done
}}
source_it
echo "@@ book: {phase} $?"
umount /mnt
"""
ONE: t.Final = """\
#!/bin/bash
[ "$1" = start ] || exit 0
disk=$(blkid -l -t LABEL=CONTEXT -o device)
mkdir -p /run/one
mount -t iso9660 -o ro "$disk" /run/one || exit
set -a
. /run/one/context.sh
set +a
echo "@@ one-context: $disk, $GREETING, $SET_HOSTNAME, $SSH_PUBLIC_KEY"
cd /run/one && bash ./init.sh
cd / && umount /run/one
"""
KEY: t.Final = "ssh-ed25519 AAAA somebody"


def test_the_books_scripts_and_one_context_each_use_their_disk(
    tmp_path: Path, run_playbook: t.Any, logs: Path, note: Note
) -> None:
    image = guests.made("el5_like", tmp_path, run_playbook)
    with guests.tree(image, tmp_path / "mnt", writable=True) as root:
        scripts = {
            "S02book.prologue": BOOK.format(phase="prologue", scripts="prolog.sh init.sh"),
            "S03one-context": ONE,
            "S99book.epilogue": BOOK.format(phase="epilogue", scripts="epilog.sh"),
        }
        for link, text in scripts.items():
            script = root / "etc/init.d" / link[3:]
            script.write_text(text)
            script.chmod(0o755)
            (root / "etc/rc3.d" / link).symlink_to(f"../init.d/{link[3:]}")
    prolog = (
        'echo "@@ prolog $# ${BASH_VERSION%%.*}"\n. /mnt/context.sh\necho "@@ $GREETING"\ncp /mnt/etchosts /etc/hosts\n'
    )
    book = guests.plain_disk(
        tmp_path / "book.iso",
        flavours=["hepix"],
        label="SITE",
        variables={"GREETING": "it's $(touch /executed)"},
        files=[{"name": "etchosts", "content": "192.0.2.1 wn\n"}],
        scripts={"prolog": {"content": prolog}, "epilog": {"content": 'echo "@@ epilog $(cat /etc/hosts)"\n'}},
    )
    init = 'echo "@@ init of $GREETING, $(cat etchosts)"\n'
    one = guests.plain_disk(
        tmp_path / "one.iso",
        flavours=["opennebula"],
        hostname="wn1.example.org",
        ssh_authorized_keys=[KEY],
        variables={"GREETING": "`touch /executed`"},
        files=[{"name": "etchosts", "content": "192.0.2.2 other"}],
        scripts={"init": {"content": init}},
    )
    attached = [qemu.Disk(image), qemu.Disk(book, readonly=True), qemu.Disk(one, bus="ide", cdrom=True)]
    booted = qemu.boot(attached, "@@ book: epilogue 0", log=logs / "el5_like-readers.log")
    note("el5_like", "QEMU, the book's scripts and one-context's contract", booted.seconds, came="epilogue")
    wanted = [
        "@@ book: /dev/vdb",
        "@@ prolog 0 5",
        "@@ it's $(touch /executed)",
        "@@ book: prologue 0",
        f"@@ one-context: /dev/sr0, `touch /executed`, wn1.example.org, {KEY}",
        "@@ init of `touch /executed`, 192.0.2.2 other",
        "@@ epilog 192.0.2.1 wn",
    ]
    assert [line for line in wanted if line not in booted.text] == []
