# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real OpenSSH server on a free port, for the present user, with keys of its own."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import subprocess
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

_CONFIGURATION = """
Port {port}
ListenAddress 127.0.0.1
HostKey {run}/host
PidFile {run}/pid
AuthorizedKeysFile {run}/authorized
StrictModes no
UsePAM no
PasswordAuthentication no
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Sshd:
    """A running sshd: `target` begins a target in its `root`, `key` is let in, `known_hosts` names it."""

    target: str
    root: Path
    key: Path
    known_hosts: Path


def _make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


@contextlib.contextmanager
def serve(directory: Path) -> t.Iterator[Sshd]:
    """An sshd whose files are below ``directory/far``."""
    run, root = directory / "sshd", directory / "far"
    run.mkdir()
    root.mkdir(exist_ok=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    for name in ("host", "user"):
        _make_key(run / name)
    (run / "authorized").write_bytes((run / "user.pub").read_bytes())
    (run / "known").write_text(f"[127.0.0.1]:{port} {(run / 'host.pub').read_text()}")
    (run / "config").write_text(_CONFIGURATION.format(run=run, port=port))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    with (run / "log").open("wb") as log:
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", run / "config"], stderr=log)
    try:
        _wait(port, process, run / "log")
        yield Sshd(f"sftp://{getpass.getuser()}@127.0.0.1:{port}{root}", root, run / "user", run / "known")
    finally:
        process.terminate()
        process.wait(20)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _attempt in range(100):
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.05)
    raise RuntimeError(log.read_text())
