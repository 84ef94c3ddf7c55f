# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other readers than the role's find and use the disks of context_iso. Two of them cannot be had as packages: for each
there is a script of our own that does what is known of it. (cloud-init is started in test_cloud_init.py.)

* The book's (chapter 9): the first of /dev/xvdb, vdb, hdb, sdb that exists is mounted on /mnt as iso9660; the prologue
  sources prolog.sh, else init.sh, the epilogue epilog.sh, both by bash and without an argument.
* OpenNebula's one-context, which Debian does not have. A start with the real one of 2026 gave these facts: the first
  device that blkid knows by the label CONTEXT, unless it is a loop device, is mounted; context.sh is copied and sourced
  by bash, and what it assigns at the beginnings of lines is exported; every line of SSH_PUBLIC_KEY goes to root; of
  SET_HOSTNAME the host is called by what stands before the first dot; START_SCRIPT, then init.sh, are executed from
  copies of theirs, in the directory of the disk.
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
ONE: t.Final = r"""#!/bin/bash
[ "$1" = start ] || exit 0
disk=$(blkid -l -t LABEL=CONTEXT -o device | grep -v ^/dev/loop)
mkdir -p /run/one /var/lib/copies
mount -o ro "$disk" /run/one || exit
cp /run/one/context.sh /var/lib/copies/
. /var/lib/copies/context.sh
export $(sed -n 's/^\([A-Za-z0-9_-]*\)=.*/\1/p' /var/lib/copies/context.sh)
echo "@@ one-context: $disk, ${GREETING%%$'\n'*}, ${SET_HOSTNAME%%.*}"
echo "$SSH_PUBLIC_KEY" | while read key; do echo "@@ one-context: $key"; done
cd /run/one || exit
printf '%s\n' "$START_SCRIPT" >/var/lib/copies/start
cp init.sh /var/lib/copies/
chmod +x /var/lib/copies/*
/var/lib/copies/start
/var/lib/copies/init.sh
cd / && umount /run/one
"""
KEYS: t.Final = ["ssh-ed25519 AAAA somebody", "ssh-rsa BBBB 'other' $(touch /executed)"]


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
    start = 'echo "@@ start script of $VMID, $(cat etchosts)"\n'
    init = """#!/bin/bash
echo "@@ init of ${GREETING##*$'\\n'}, $(cat etchosts)"
[ ! -e /executed ] || echo "@@ executed"
"""
    one = guests.plain_disk(
        tmp_path / "one.iso",
        flavours=["opennebula"],
        hostname="wn1.example.org",
        instance_id="one-1",
        ssh_authorized_keys=KEYS,
        variables={"GREETING": "`touch /executed`\nB-D=it's", "START_SCRIPT": start},
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
        "@@ one-context: /dev/sr0, `touch /executed`, wn1",
        *(f"@@ one-context: {key}" for key in KEYS),
        "@@ start script of one-1, 192.0.2.2 other",
        "@@ init of B-D=it's, 192.0.2.2 other",
        "@@ epilog 192.0.2.1 wn",
    ]
    assert [line for line in wanted if line not in booted.text] == []
    assert "@@ executed" not in booted.text
