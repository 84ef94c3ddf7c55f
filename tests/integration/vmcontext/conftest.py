# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests of three shells, one of the usual, and a system of busybox alone."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .guest import Guest, guest

ROLE = Path(__file__).resolve().parents[3] / "roles" / "vmcontext"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the role puts into a tree; test_role.py shows that it does."""
    tree = tmp_path_factory.mktemp("vmcontext")
    library, hooks = tree / "usr/lib/vmcontext", tree / "etc/vmcontext.d"
    for directory in (library, hooks):
        directory.mkdir(parents=True)
    for name in ("vmcontext", "sysv", "source.sh"):
        (library / name).write_bytes(ROLE.joinpath("files", name).read_bytes())
        (library / name).chmod(0o755)
    parts = sorted(ROLE.joinpath("files/library").iterdir())
    (library / "library.sh").write_text("".join(path.read_text() for path in parts))
    for path in ROLE.joinpath("files/hooks").iterdir():
        (hooks / path.name).write_bytes(path.read_bytes())
    for name in ("etc/rsyslog.d", "var/log", "opt/protected"):
        (tree / name).mkdir(parents=True)
    return tree


@pytest.fixture(params=["dash", "bash", "busybox"])
def any_shell(request: pytest.FixtureRequest, installed: Path, tmp_path: Path) -> Iterator[Guest]:
    """A guest whose sh is one of three."""
    with guest(tmp_path, installed, shell="/usr/bin/sh") as made:
        (tmp_path / "upper/usr/bin").mkdir(parents=True, exist_ok=True)
        program = "/usr/bin/busybox" if request.param == "busybox" else f"/usr/bin/{request.param}"
        (tmp_path / "upper/usr/bin/sh").symlink_to(program)
        yield made


@pytest.fixture
def vm(installed: Path, tmp_path: Path) -> Iterator[Guest]:
    with guest(tmp_path, installed) as made:
        yield made


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system of busybox alone."""
    root = tmp_path_factory.mktemp("tiny")
    for directory in ("bin", "usr/bin", "usr/sbin", "sbin", "proc", "dev", "tmp", "etc", "var/log", "root", "lib64"):
        (root / directory).mkdir(parents=True)
    listed = subprocess.run(["ldd", "/usr/bin/busybox"], check=False, capture_output=True, text=True, timeout=10)
    for library in [word for word in listed.stdout.split() if word.startswith("/")]:
        (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.lstrip("/"))
    shutil.copy("/usr/bin/busybox", root / "bin/busybox")
    subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s"], check=True, timeout=30)
    if not (root / "usr/bin/env").exists():
        (root / "usr/bin/env").symlink_to("/bin/busybox")
    return root
