# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that are booted, made by the scripts beside this file and kept between runs, by the scripts' content.

They are in $HEPIX_VMIMAGES_BOOT_CACHE, else in the user's cache. Nobody writes to what is kept: `copy` it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

SCRIPTS: t.Final = Path(__file__).parent / "scripts"
#: Three times what building one takes, on a machine with as much else to do.
_PATIENCE: t.Final = 1200.0
#: Seconds that an image of other scripts is kept for.
_KEPT: t.Final = 3 * 86400.0


def el5_like() -> Path:
    """A raw image in the layout of EL5, which knows KVM only."""
    return _made("el5_like") / "disk.img"


def modern() -> Path:
    """A raw image of Debian 12 as it comes."""
    return _made("modern") / "disk.img"


def dom0() -> Path:
    """A directory with xen, vmlinuz, initrd and disk.img of dom0."""
    return _made("dom0")


def copy(image: Path, to: Path) -> Path:
    """A copy of one's own; holes stay holes."""
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", str(image), str(to)], check=True, timeout=300)
    return to


def cache() -> Path:
    """Where images are kept."""
    chosen = os.environ.get("HEPIX_VMIMAGES_BOOT_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hepix-vmimages-boot"


def kept() -> list[tuple[str, str]]:
    """What is kept, with the seconds that it took to build."""
    found = sorted(cache().glob("*/seconds"))
    return [(path.parent.name.rpartition("-")[0], path.read_text()) for path in found]


def _made(name: str) -> Path:
    """What the script `name` makes: once for each content of the scripts, whoever asks first; what nobody uses goes."""
    directory = cache() / f"{name}-{_digest(name)}"
    with _locked(cache() / f"{name}.lock"):
        if directory.is_dir():
            os.utime(directory)
            return directory
        for old in cache().glob(f"{name}-*"):
            if time.time() - old.stat().st_mtime > _KEPT or old.name.endswith("-part"):
                shutil.rmtree(old, ignore_errors=True)
        part = cache() / f"{name}-part"
        part.mkdir()
        began = time.monotonic()
        log = cache() / f"{name}.log"
        with log.open("wb") as file:
            # Mounts of a script that is killed vanish with its name space.
            command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", str(SCRIPTS / f"{name}.sh"), str(part)]
            done = subprocess.run(
                command, check=False, stdin=subprocess.DEVNULL, stdout=file, stderr=file, timeout=_PATIENCE
            )
        assert done.returncode == 0, f"{name}.sh failed:\n{log.read_text(errors='replace')[-4000:]}"
        part.joinpath("seconds").write_text(f"{time.monotonic() - began:.0f}")
        part.rename(directory)
    return directory


def _digest(name: str) -> str:
    found = hashlib.sha256()
    for path in sorted(SCRIPTS.glob(f"{name}*.sh")):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
