# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest without a boot: the role's scripts in a tree of its own, with disks attached, started and stopped.

The tree is an overlay of this system, so that its shells and tools are real; mounts, processes, host name and network
are of name spaces of their own. Context disks are loop devices under the names that a hypervisor would give them. Their
file system is ext2, because the kernel that runs the tests need not know iso9660; that the scripts ask for a type is
seen by giving them the wrong one.

What would act on the machine that runs the tests (shutdown, systemctl) is a stand-in that notes its arguments.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: What both scripts of a disk do: they note that they ran, and with which argument.
PROLOG: t.Final = '#!/bin/sh\necho prolog "$1" >>/ran\n'
EPILOG: t.Final = '#!/bin/sh\necho epilog "$1" >>/ran\n'
BOTH: t.Final = {"prolog.sh": PROLOG, "epilog.sh": EPILOG}
CONTEXT: t.Final = "HEPIX_INSTANCE_ID='vm-1'\n"
#: Where the copy of the disk is.
KEPT: t.Final = "/var/lib/hepix/context"
STANDINS: t.Final = ("shutdown", "poweroff", "systemctl")

#: Run in the name spaces: mounts, then the phases of one boot, each with its status.
BOOT: t.Final = """\
set -e
cd "$WORK"
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=upper,workdir=work" root
mount -t proc proc root/proc
mount --bind partitions root/proc/partitions
[ -z "$BOOT_ID" ] || mount --bind boot_id root/proc/sys/kernel/random/boot_id
mount --rbind dev root/dev
set +e
for phase in $PHASES; do
    chroot root /usr/bin/env -i PATH=/tmp "$SHELL_OF_GUEST" /usr/lib/vmcontext/vmcontext ${phase%-*} ${phase#*-}
    echo "$phase: $?"
done
wait_for=$WAIT
while [ $wait_for -gt 0 ] && [ ! -s "root/$UNTIL" ]; do sleep 0.1; wait_for=$((wait_for - 1)); done
umount root/dev
exit 0
"""


@dataclass(frozen=True)
class Boot:
    """What one boot showed on the console, and the status of every phase."""

    console: str
    status: dict[str, int]


@dataclass
class Guest:
    """A tree with the role's files, and its disks by their device names."""

    work: Path
    conf: dict[str, str] = field(default_factory=dict)
    shell: str = "/usr/bin/dash"
    lower: str = "/"
    devices: dict[str, str] = field(default_factory=dict)
    boots: int = 0

    @classmethod
    def make(cls, work: Path, installed: Path, **options: t.Any) -> Guest:
        """A guest whose upper layer begins as the tree that the role was applied to."""
        for name in ("upper", "work", "root", "dev"):
            (work / name).mkdir()
        shutil.copytree(installed, work / "upper", symlinks=True, dirs_exist_ok=True)
        (work / "upper").chmod(0o755)
        guest = cls(work, **options)
        for name in STANDINS:
            guest.write(f"usr/local/sbin/{name}", f'#!/bin/sh\necho "{name} $*" >>/called\n', 0o755)
        guest.write("usr/local/sbin/udevadm", '#!/bin/sh\necho "$*" >>/settled\n', 0o755)
        guest.write("etc/login.defs", "UID_MIN 1000\n")
        guest.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
        guest.write("etc/group", "root:x:0:\nnogroup:x:65534:\n")
        guest.write("etc/shadow", "root:*:1::::::\n", 0o600)
        for name, number in (("null", (1, 3)), ("zero", (1, 5))):
            guest.node(name, stat.S_IFCHR | 0o666, number)
        return guest

    def write(self, path: str, text: str, mode: int = 0o644) -> Path:
        """A file of the guest."""
        file = self.work / "upper" / path
        for above in reversed(file.relative_to(self.work / "upper").parents):
            if not (self.work / "upper" / above).exists():
                (self.work / "upper" / above).mkdir(mode=0o755)
        file.write_text(text)
        file.chmod(mode)
        return file

    def read(self, path: str) -> str:
        """The text of a file that the guest wrote, or that was written for it."""
        return (self.work / "upper" / path).read_text()

    def has(self, path: str) -> bool:
        return os.path.lexists(self.work / "upper" / path)

    def without(self, path: str) -> None:
        """Let a file of the layer below be absent."""
        whiteout = self.work / "upper" / path
        whiteout.parent.mkdir(parents=True, exist_ok=True)
        os.mknod(whiteout, stat.S_IFCHR, os.makedev(0, 0))

    def user(self, name: str, number: int, *groups: str) -> None:
        """A user of the guest."""
        passwd, group = self.work / "upper/etc/passwd", self.work / "upper/etc/group"
        passwd.write_text(f"{passwd.read_text()}{name}:x:{number}:{number}::/home/{name}:/bin/sh\n")
        extra = "".join(f"{one}:x:{900 + index}:{name}\n" for index, one in enumerate(groups))
        group.write_text(f"{group.read_text()}{name}:x:{number}:\n{extra}")
        shadow = self.work / "upper/etc/shadow"
        shadow.write_text(f"{shadow.read_text()}{name}:*:1::::::\n")
        home = self.work / "upper/home" / name
        home.mkdir(parents=True)
        os.chown(home, number, number)

    def node(self, name: str, kind: int, number: tuple[int, int]) -> None:
        path = self.work / "dev" / name
        os.mknod(path, kind, os.makedev(*number))
        path.chmod(kind & 0o777)

    def attach(self, device: str, files: t.Mapping[str, str | bytes], label: str = "") -> None:
        """Attach a disk with these files as /dev/<device>."""
        tree, image = self.work / f"disk-{device}", self.work / f"{device}.img"
        for name, content in files.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        self.attach_tree(device, tree, image, label)

    def attach_tree(self, device: str, tree: Path, image: Path, label: str = "") -> None:
        tree.mkdir(exist_ok=True)
        command = ["mke2fs", "-q", "-t", "ext2", "-L", label, "-d", str(tree), str(image), "4M"]
        subprocess.run(command, check=True, timeout=30, stdout=subprocess.DEVNULL)
        # An ISO image has no such directory.
        empty = ["debugfs", "-w", "-R", "rmdir lost+found", str(image)]
        subprocess.run(empty, check=True, timeout=30, stderr=subprocess.DEVNULL)
        self.attach_image(device, image)

    def attach_image(self, device: str, image: Path) -> None:
        """Attach an image as /dev/<device>."""
        found = subprocess.run(
            ["losetup", "--read-only", "--find", "--show", str(image)],
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
        loop = found.stdout.strip()
        self.devices[device] = loop
        number = Path(loop).stat().st_rdev
        self.node(device, stat.S_IFBLK | 0o660, (os.major(number), os.minor(number)))

    def detach(self, *devices: str) -> None:
        for device in devices or tuple(self.devices):
            subprocess.run(["losetup", "-d", self.devices.pop(device)], check=True, timeout=30)
            (self.work / "dev" / device).unlink()
            shutil.rmtree(self.work / f"disk-{device}", ignore_errors=True)

    def boot(
        self, *phases: str, listed: t.Sequence[str] = (), until: str = "", same_boot: bool = False, **conf: str
    ) -> Boot:
        """Start the guest and return when the phases are over, and the file `until` is there (10 s at most)."""
        self.boots += 0 if same_boot else 1
        settings = {"VMCONTEXT_FILESYSTEMS": "ext2", "VMCONTEXT_WAIT": "0", "VMCONTEXT_PROTECTED": "/opt/protected/*"}
        lines = [f"{name}='{value}'\n" for name, value in {**settings, **self.conf, **conf}.items()]
        self.write("etc/vmcontext.conf", "".join(lines))
        self.write("etc/hostname", "before\n") if not self.has("etc/hostname") else None
        table = "major minor  #blocks  name\n\n" + "".join(f"   7  0  4096 {name}\n" for name in listed)
        (self.work / "partitions").write_text(table)
        (self.work / "boot_id").write_text(f"boot-{self.boots}\n")
        environment = {
            "PATH": os.environ["PATH"],
            "WORK": str(self.work),
            "LOWER": self.lower,
            "BOOT_ID": "1",
            "SHELL_OF_GUEST": self.shell,
            "PHASES": " ".join(phases or ("prologue-start", "epilogue-start")),
            "UNTIL": until,
            "WAIT": "100" if until else "0",
        }
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc", "sh", "-c", BOOT]
        done = subprocess.run(
            command,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=90,
            env=environment,
        )
        assert done.returncode == 0, done.stdout
        status = {}
        for line in done.stdout.splitlines():
            name, colon, number = line.partition(": ")
            if colon and name.endswith(("-start", "-stop")) and number.isdigit():
                status[name] = int(number)
        return Boot(done.stdout, status)


@contextlib.contextmanager
def guest(work: Path, installed: Path, **options: t.Any) -> Iterator[Guest]:
    """A guest whose disks are detached in the end."""
    made = Guest.make(work, installed, **options)
    try:
        yield made
    finally:
        made.detach()
