# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel has mounted, and who uses an image: asked each time, so that nothing needs recording."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import struct
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ...errors import GuestError

_TIMEOUT: t.Final = 120.0
_OCTAL: t.Final = re.compile(r"\\([0-7]{3})")

#: qemu locks octets from here on of the images that it uses, one octet for each thing that it does or forbids others.
_QEMU_FIRST, _QEMU_COUNT = 100, 200
#: The octet of those who write: what lies below an overlay, or is attached for reading, is not locked there.
_QEMU_WRITES: t.Final = 101
_OFD_GETLK: t.Final = 36


@dataclass(frozen=True)
class Mounted:
    """One mount: `image` is the file behind its loop device, `offset` where in it the file system begins."""

    target: str
    device: str
    kind: str
    writable: bool
    root: str
    image: str | None
    offset: int


def mounted() -> tuple[Mounted, ...]:
    """Every mount of this process's namespace, oldest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        fields = line.split(" ")
        after = fields.index("-")
        device = _plain(fields[after + 2])
        image, offset = _behind(device)
        options = set(fields[5].split(",")) & set(fields[after + 3].split(","))
        found.append(
            Mounted(
                target=_plain(fields[4]),
                device=device,
                kind=fields[after + 1],
                writable="rw" in options,
                root=_plain(fields[3]),
                image=image,
                offset=offset,
            )
        )
    return tuple(found)


def below(directory: str) -> tuple[Mounted, ...]:
    """What is mounted at `directory` and under it, oldest first; `directory` is without links."""
    return tuple(mount for mount in mounted() if mount.target == directory or mount.target.startswith(directory + "/"))


def is_locked(image: str, *, by_writers: bool) -> bool:
    """Whether a virtual machine of qemu has the image open, or (`by_writers`) may write: it locks octets of it."""
    first, count = (_QEMU_WRITES, 1) if by_writers else (_QEMU_FIRST, _QEMU_COUNT)
    query = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, first, count, 0)
    fd = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        answer = fcntl.fcntl(fd, _OFD_GETLK, query)
    except OSError:
        return False
    finally:
        os.close(fd)
    return t.cast(int, struct.unpack_from("h", answer)[0]) != fcntl.F_UNLCK


def holders(directory: str) -> tuple[str, ...]:
    """The processes that have something under `directory` open, as ``name (id)``."""
    found = []
    for process in Path("/proc").iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            links = [process / "cwd", process / "root", process / "exe", *(process / "fd").iterdir()]
            if any(_leads_below(link, directory) for link in links):
                found.append(f"{(process / 'comm').read_text().strip()} ({process.name})")
    return tuple(sorted(found))


def run(argv: t.Sequence[str], *, code: str) -> None:
    """Run a command of the system. Raises `GuestError` with `code` and what the command said."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GuestError(code, f"{argv[0]} did not run: {error}", command=list(argv)) from error
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "backslashreplace").split()) or f"status {done.returncode}"
        raise GuestError(code, f"{argv[0]} failed: {said}", command=list(argv))


def _leads_below(link: Path, directory: str) -> bool:
    with contextlib.suppress(OSError):
        target = os.fspath(link.readlink())
        return target == directory or target.startswith(directory + "/")
    return False


def _behind(device: str) -> tuple[str | None, int]:
    """The image behind a loop device, and the offset."""
    if not re.fullmatch(r"/dev/loop\d+", device):
        return None, 0
    facts = Path("/sys/block", Path(device).name, "loop")
    try:
        image = (facts / "backing_file").read_text(encoding="utf-8", errors="surrogateescape").rstrip("\n")
        return image, int((facts / "offset").read_text())
    except (OSError, ValueError):
        return None, 0


def _plain(field: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), field)
