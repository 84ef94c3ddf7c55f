# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real libvirtd (and virtlogd) with nothing of the machine's own: configuration, domains, hooks, sockets are private.

It runs in a mount namespace, where directories of its own lie over those that are compiled in, and in a process
namespace, which ends with it and takes every guest along. The host is left five empty directories.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

#: What a test that starts it must be marked with: ``@pytest.mark.needs(*NEEDS)``.
NEEDS: t.Final = (
    "root",
    "libvirtd",
    "virtlogd",
    "virsh",
    "qemu-system-x86_64",
    "/usr/lib/python3/dist-packages/libvirt.py",
    "/usr/lib/x86_64-linux-gnu/libvirt/connection-driver/libvirt_driver_qemu.so",
)
#: As whom guests run; the user exists in the namespace only. The number is Debian's.
GUEST_USER: t.Final = 64055
#: The Python that has libvirt's binding, which pip would have to compile.
PYTHON: t.Final = "/usr/bin/python3"

# The shell is the first process of its namespace, and so reaps the orphans. Without a user who may open /dev/kvm, where
# there is one, libvirtd takes what it knows of QEMU for outdated, and finds it out again before each guest.
_INSIDE: t.Final = r"""
set -eu
base=$1
for path in /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt /run/libvirt; do
    mkdir -p "$path" "$base$path"
    mount --bind "$base$path" "$path"
done
for file in passwd group; do
    { sed '/^libvirt-qemu:/d; /^kvm:/s/:[^:]*$/:libvirt-qemu/' "/etc/$file"; cat "$base/$file"; } >"$base/etc/$file"
    mount --bind "$base/etc/$file" "/etc/$file"
done
virtlogd --pid-file /run/libvirt/virtlogd.pid &
libvirtd --pid-file /run/libvirt/libvirtd.pid --config /etc/libvirt/libvirtd.conf &
wait $!
"""
# /run is private to it, and sockets have short names: they lie beside.
_CONFIGURATION: t.Final = """
unix_sock_dir = "{base}/sockets"
unix_sock_rw_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "2:file:{base}/libvirtd.log"
"""


@dataclass
class Libvirtd:
    """A running (or stopped) libvirtd.

    `uri` connects to it, from outside as well; what lies below `directory` its guests can reach. Executables in
    `hooks` named qemu, daemon, ... are its hooks: it looks for them when it starts.
    """

    uri: str
    directory: Path
    hooks: Path
    log: Path
    _base: Path = field(repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def inside(self) -> int:
        """The number of a process in its namespaces, for nsenter."""
        process = t.cast("subprocess.Popen[bytes]", self._process)
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        return int(first)

    def start(self) -> None:
        """Start, and return when it answers."""
        with (self._base / "output.log").open("ab") as output:
            self._process = subprocess.Popen(
                [
                    # What is killed with the tests takes libvirtd along, and that the guests.
                    *("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "slave"),
                    *("--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", _INSIDE, "sh", self._base),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        for _attempt in range(300):
            if self._process.poll() is not None:
                break
            with contextlib.suppress(subprocess.SubprocessError):
                self.virsh("version")
                return
            time.sleep(0.1)
        self.stop()
        told = [path.read_text() for path in (self._base / "output.log", self.log) if path.exists()]
        raise RuntimeError("\n".join(told))

    def stop(self) -> None:
        """Stop it and all its guests, without a farewell; what is defined is there again after the next start."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def virsh(self, *arguments: str | Path) -> str:
        """What virsh says; CalledProcessError with its complaint in `stderr`."""
        command = ["virsh", "--quiet", "--connect", self.uri, *map(str, arguments)]
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL
        )
        return done.stdout

    def console(self, path: Path, text: str, *, timeout: float = 60.0) -> str:
        """What the guest wrote to its log file so far; returns when `text` is in it. TimeoutError."""
        deadline = time.monotonic() + timeout
        written = ""
        while time.monotonic() < deadline:
            if path.exists():
                written = path.read_text(errors="replace")
            if text in written:
                return written
            time.sleep(0.1)
        raise TimeoutError(f"{text!r} is not in {path}:\n{written}")


@contextlib.contextmanager
def serve() -> t.Iterator[Libvirtd]:
    """A libvirtd; pytest's own directories would be closed to its guests, and their names too long for sockets."""
    base = Path(tempfile.mkdtemp(prefix="libvirtd-", dir="/tmp"))
    try:
        base.chmod(0o755)
        directory, hooks, settings = base / "guests", base / "etc/libvirt/hooks", base / "etc/libvirt"
        for path in (directory, hooks, base / "sockets"):
            path.mkdir(parents=True)
        (settings / "libvirtd.conf").write_text(_CONFIGURATION.format(base=base))
        home = "/var/lib/libvirt:/usr/sbin/nologin"
        (base / "passwd").write_text(f"libvirt-qemu:x:{GUEST_USER}:{GUEST_USER}::{home}\n")
        (base / "group").write_text(f"libvirt-qemu:x:{GUEST_USER}:\n")
        uri = f"qemu+unix:///system?socket={base}/sockets/libvirt-sock"
        server = Libvirtd(uri, directory, hooks, base / "libvirtd.log", base)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(base, ignore_errors=True)
