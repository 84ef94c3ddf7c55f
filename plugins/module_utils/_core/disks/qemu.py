# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``qemu-img convert`` on a short leash: no name of ours is read as anything else, no other file is followed, and it
has limits of memory, time and size. Its input has passed `headers.inspect` before."""

from __future__ import annotations

import json
import os
import re
import resource
import selectors
import shutil
import subprocess
import time
import typing as t
from pathlib import Path

from ..errors import DiskError
from .headers import Disk
from .sparse import Guard

#: QEMU's names of the formats, and how we have it write them.
_DRIVERS: t.Final = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc"}
_OPTIONS: t.Final = {
    "qcow2": "compat=1.1",
    "vmdk": "subformat=monolithicSparse",
    "vhd": "subformat=dynamic,force_size=on",
}
#: What qemu-img is given of ours.
ENVIRONMENT: t.Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "HOME": "/nonexistent"}
_MEMORY: t.Final = 4 * 1024**3
_MEBI: t.Final = 1024 * 1024
_LEAST_RATE: t.Final = 2 * _MEBI
_TICK: t.Final = 0.2
_PERCENT: t.Final = re.compile(rb"([0-9]{1,3}\.[0-9]{2})/100%")


def program() -> str:
    """Where qemu-img is. Raises DiskError ``converter_missing``."""
    found = shutil.which("qemu-img", path=ENVIRONMENT["PATH"])
    if found is None:
        raise DiskError("converter_missing", "There is no program qemu-img on this host.")
    return found


def convert(
    source: Path, disk: Disk, target: Path, wanted: str, *, guard: t.Optional[Guard] = None, niceness: int = 10
) -> None:
    """Convert the inspected `disk` at `source` to a new file `target` of the format `wanted`.

    `guard` is called several times a second with the octets of the disk that are done. Raises DiskError
    ``converter_missing convert_failed``, and what `guard` raises; the program is killed then.
    """
    arguments = [program(), "convert", "-p", "-f", _DRIVERS[disk.format], "-O", _DRIVERS[wanted]]
    if wanted in _OPTIONS:
        arguments += ["-o", _OPTIONS[wanted]]
    # As JSON no character of a path means anything, and what a header might still name is cut off.
    arguments += [_as_json(source, disk.format), str(target)]
    if disk.format in ("qcow2", "vmdk"):
        arguments[arguments.index("-f") : arguments.index("-f") + 2] = []
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env=ENVIRONMENT,
        start_new_session=True,
        **_identity(),
    )
    try:
        _limit(process.pid, disk.virtual_size, niceness)
        said = _watch(process, disk.virtual_size, guard)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            t.cast("t.IO[bytes]", pipe).close()
    if process.returncode != 0:
        why = said or (f"signal {-process.returncode}" if process.returncode < 0 else "no reason told")
        raise DiskError("convert_failed", f"qemu-img could not convert {source}: {why}.", path=str(source))


def _as_json(path: Path, kind: str) -> str:
    document: dict[str, t.Any] = {
        "driver": _DRIVERS[kind],
        "file": {"driver": "file", "filename": str(path), "locking": "off"},
    }
    if kind in ("qcow2", "vmdk"):
        document["backing"] = None
    return f"json:{json.dumps(document)}"


def _identity() -> dict[str, t.Any]:
    """A program drops an effective identity for the real one: root's, when root acts for the service's user."""
    return {} if os.getuid() == os.geteuid() else {"user": os.geteuid(), "group": os.getegid()}


def _limit(pid: int, size: int, niceness: int) -> None:
    """Limits for a process that has just begun: a function to run in the child before it would not be safe here,
    beside threads."""
    seconds = 60 + size // _LEAST_RATE
    limits = {
        resource.RLIMIT_AS: _MEMORY,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_FSIZE: size + size // 64 + 64 * _MEBI,
        resource.RLIMIT_CORE: 0,
    }
    try:
        for kind, limit in limits.items():
            resource.prlimit(pid, kind, (limit, limit))
        os.setpriority(os.PRIO_PROCESS, pid, niceness)
    except (ProcessLookupError, PermissionError):
        # It has ended already; or the system does not let us, and the watch below still ends it in time.
        return


def _watch(process: subprocess.Popen[bytes], size: int, guard: t.Optional[Guard]) -> str:
    """Listen until it ends; returns the last line of what it said on standard error."""
    deadline = time.monotonic() + 120 + size / _LEAST_RATE
    out, error = t.cast("t.IO[bytes]", process.stdout), t.cast("t.IO[bytes]", process.stderr)
    said = {out: b"", error: b""}
    with selectors.DefaultSelector() as selector:
        for pipe in said:
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _event in selector.select(_TICK):
                pipe = t.cast("t.IO[bytes]", key.fileobj)
                octets = os.read(pipe.fileno(), 4096)
                if not octets:
                    selector.unregister(pipe)
                said[pipe] = (said[pipe] + octets)[-2048:]
            if guard is not None:
                percents = _PERCENT.findall(said[out])
                guard(int(float(percents[-1]) * size / 100) if percents else 0)
            if time.monotonic() > deadline:
                raise DiskError("convert_failed", f"qemu-img has not ended after {size // _LEAST_RATE + 120} seconds.")
    process.wait()
    lines = said[error].decode("utf-8", "replace").strip().splitlines()
    return lines[-1].rstrip(".") if lines else ""
