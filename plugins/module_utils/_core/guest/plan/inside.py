# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands of the system itself, run inside its tree: the one place where code of an image runs on the builder.

It runs as root, in namespaces of its own: no network, no processes but its own, a /dev of six harmless devices, and
mounts that vanish with it. Links of the image do not lead the mounts astray.
"""

from __future__ import annotations

import os
import subprocess
import typing as t
from pathlib import Path

from ...errors import GuestError
from ..root.names import shown
from ..root.tree import Root

_TIMEOUT: t.Final = 1800.0
_SHOWN: t.Final = 2000

#: The arguments are the root, its proc, sys and dev, and the command: nothing of them is ever read as shell text.
_SCRIPT: t.Final = """
set -e
root=$1 proc=$2 sys=$3 dev=$4
shift 4
mount -t proc proc "$proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$sys"
mount -t tmpfs -o mode=0755,nosuid,size=64m tmpfs "$dev"
for name in null zero full random urandom tty; do
    : >"$dev/$name"
    mount --bind "/dev/$name" "$dev/$name"
done
ln -s /proc/self/fd "$dev/fd"
ln -s /proc/self/fd/0 "$dev/stdin"
ln -s /proc/self/fd/1 "$dev/stdout"
ln -s /proc/self/fd/2 "$dev/stderr"
mkdir "$dev/shm" "$dev/pts"
exec chroot "$root" "$@"
"""
_NAMESPACES: t.Final = ("--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child")
_ENVIRONMENT: t.Final = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "TMPDIR": "/tmp",
    "HOME": "/root",
}


def run_inside(root: Root, argv: t.Sequence[str], *, timeout: float = _TIMEOUT) -> str:
    """Run a command of the system in it; what it said.

    Raises `GuestError`: guest_foreign (the system is of another architecture), guest_command_failed.
    """
    command = list(argv)
    if root.path != "/":
        _refuse_foreign(root)
        places = [_place(root, path) for path in ("/proc", "/sys", "/dev")]
        command = ["unshare", *_NAMESPACES, "/bin/sh", "-c", _SCRIPT, "sh", root.path, *places, *argv]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=_ENVIRONMENT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        why = f"{argv[0]} did not end within {timeout:.0f} seconds, and was stopped"
        raise GuestError("guest_command_failed", why, command=list(argv)) from error
    except OSError as error:
        raise GuestError("guest_command_failed", f"{command[0]} cannot be run: {error}", command=list(argv)) from error
    said = done.stdout.decode("utf-8", "backslashreplace").strip()
    if done.returncode:
        how = "crashed" if done.returncode in (-11, 139) else f"failed with status {done.returncode}"
        last = said.splitlines()[-1] if said else "it said nothing"
        raise GuestError(
            "guest_command_failed", f"{argv[0]} {how}: {shown(last)}", command=list(argv), output=said[-_SHOWN:]
        )
    return said


def _place(root: Root, path: str) -> str:
    if not root.is_directory(path):
        raise GuestError("guest_not_found", f"The system has no directory {path}", path=path)
    return root.path.rstrip("/") + root.resolve(path)


def _refuse_foreign(root: Root) -> None:
    """By the machine that the system's shell was compiled for; 32 bits of the builder's own kind will do."""
    with Path("/proc/self/exe").open("rb") as file:
        own = file.read(20)[18:20]
    with root.open("/bin/sh") as file:
        head = os.pread(file.fileno(), 20, 0)
    machine = head[18:20]
    fits = machine == own or (own == b"\x3e\x00" and machine == b"\x03\x00")
    if head[:4] != b"\x7fELF" or not fits:
        raise GuestError("guest_foreign", "The programs of the system are not for this machine", machine=machine.hex())
