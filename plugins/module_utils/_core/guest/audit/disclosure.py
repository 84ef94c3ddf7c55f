# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report discloses of its own making: the rules, by their digest, and the versions of what applied them."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import platform
import shutil
import subprocess
import typing as t

from .table import TABLE

#: Programs that images are made with, and how each tells its version.
_TOOLS: t.Final = {
    "qemu-img": ("--version",),
    "mkfs.ext4": ("-V",),
    "debootstrap": ("--version",),
    "mmdebstrap": ("--version",),
}


@functools.lru_cache
def rules() -> str:
    """The SHA-256 of the rules: of the table, and of the sources of all its checks."""
    made = hashlib.sha256()
    modules = sorted({check.search.__module__ for check in TABLE})
    for name in modules:
        made.update(name.rsplit(".", 1)[-1].encode() + b"\0" + _source(name) + b"\0")
    for check in TABLE:
        made.update(repr((check.id, check.clause, check.severity, check.title)).encode())
    return made.hexdigest()


def _source(name: str) -> bytes:
    """The source of a module, be it in a directory or in the archive that Ansible sends."""
    spec = importlib.util.find_spec(name)
    read = getattr(spec.loader, "get_source", None) if spec is not None else None
    text = read(name) if read is not None else None
    return (text or "").encode()


@functools.lru_cache
def versions() -> dict[str, str | None]:
    """The versions of Python, of the kernel and of the tools on the builder; None where one is not there."""
    found: dict[str, str | None] = {"python": platform.python_version(), "linux": platform.release()}
    for name, options in _TOOLS.items():
        found[name] = _version(name, options)
    return found


def _version(name: str, options: t.Sequence[str]) -> str | None:
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "backslashreplace").strip().split("\n")[0][:120] or None
