# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines: Debian 12 with its own systemd as process 1, in namespaces of their own, made in seconds and thrown away.

A tree is made once (kept beside the images that are booted, named after its recipe); each machine is a layer over it.
The packages that roles install are in its apt cache, so that a machine needs no way to the world.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import subprocess
import time
import typing as t
import uuid
from dataclasses import dataclass
from pathlib import Path

from ..boot import images

SUITE = "bookworm"
INCLUDED = "systemd-sysv,dbus,python3-apt,iproute2,openssh-server,ca-certificates,curl"
#: What makes a machine one that runs guests, and that is administrated by somebody.
LIBVIRT = ("sudo", "libvirt-daemon-system", "libvirt-clients", "qemu-system-x86", "qemu-utils")
#: In the apt cache of a tree, not installed.
AT_HAND = ("python3-venv", "nginx", "openssl", "fetch-crl", "igtf-policy-classic")
FETCH = "-q -y -o APT::Install-Recommends=true --download-only"
WITHOUT = ("man", "doc", "locale")
#: CLONE_NEWNET of sched.h.
_NEW_NETWORK = 0x40000000


def run(*command: str | Path, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of this machine."""
    arguments = [str(word) for word in command]
    return subprocess.run(arguments, check=check, text=True, capture_output=True, timeout=timeout)


def base_tree() -> Path:
    """The root tree of a machine that has never been started."""
    mirror = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").stdout.split()[0]
    recipe = [
        *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={INCLUDED}", "--aptopt=Acquire::Languages none"),
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in WITHOUT),
        *("--dpkgopt=force-unsafe-io", "--skip=cleanup/apt,cleanup/apt/lists,cleanup/apt/cache"),
        f"--customize-hook=env -u APT_CONFIG chroot $1 apt-get {FETCH} install {' '.join(AT_HAND)}",
        # An address that nothing answers: a machine starts without waiting for one.
        "--customize-hook=rm -f $1/etc/machine-id $1/etc/ssh/ssh_host_*",
        "--customize-hook=ln -sf /dev/null $1/etc/systemd/system/systemd-networkd-wait-online.service",
        SUITE,
    ]
    return _kept(" ".join(recipe), lambda part: run(*recipe, part, mirror, timeout=900))


def libvirt_layer() -> Path:
    """What the packages of libvirt and QEMU lay over the base tree."""
    base = base_tree()
    install = ("apt-get", "-q", "-y", "-o", "Dpkg::Options::=--force-unsafe-io", "--no-install-recommends", "install")

    def make(part: Path) -> None:
        work, root = part.with_suffix(".work"), part.with_suffix(".root")
        run("umount", root, check=False)  # who was killed before has left it
        for path in (work, root):
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir()
        options = f"lowerdir={base},upperdir={part},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", options, root)
        try:
            run("env", "DEBIAN_FRONTEND=noninteractive", "chroot", root, *install, *LIBVIRT, timeout=600)
        finally:
            run("umount", root)
            shutil.rmtree(work)
            root.rmdir()

    return _kept(f"{base.name} {' '.join((*install, *LIBVIRT))}", make)


def _kept(recipe: str, make: t.Callable[[Path], object]) -> Path:
    """The directory that this recipe has filled, now or before."""
    # Not within the checkout, which tools copy whole: no host's links into /proc can be copied.
    kept = images.cache() / "hosts"
    tree = kept / f"{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}"
    if not tree.is_dir():
        kept.mkdir(parents=True, exist_ok=True)
        kept.chmod(0o755)
        part = tree.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(mode=0o755)
        try:
            make(part)
        except subprocess.CalledProcessError as error:
            raise RuntimeError(error.stderr) from error
        part.rename(tree)
    return tree


@contextlib.contextmanager
def network_apart() -> t.Iterator[None]:
    """Be in a network namespace of our own: no address here may hide one that this machine is used to reach.

    It counts for this thread, and for the processes that it starts.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def require(answer: int) -> None:
        if answer != 0:
            raise OSError(ctypes.get_errno(), "no network namespace can be had")

    with Path("/proc/thread-self/ns/net").open("rb") as before:
        require(libc.unshare(_NEW_NETWORK))
        try:
            run("ip", "link", "set", "lo", "up")
            yield
        finally:
            require(libc.setns(before.fileno(), _NEW_NETWORK))


@dataclass(frozen=True)
class Network:
    """A bridge, in the namespace of the tests: `prefix` is that of its addresses, where the tests are number 1."""

    bridge: str
    prefix: str

    def address(self, number: int) -> str:
        return f"{self.prefix}.{number}"


@contextlib.contextmanager
def network(bridge: str, prefix: str) -> t.Iterator[Network]:
    """A network that leads nowhere: who is in two of them does not pass anything on."""
    run("ip", "link", "add", bridge, "type", "bridge")
    try:
        run("ip", "address", "add", f"{prefix}.1/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        yield Network(bridge, prefix)
    finally:
        run("ip", "link", "delete", bridge, check=False)


@dataclass
class Machine:
    """A running machine: its `root` as seen from here, its address, and the process that is its process 1."""

    name: str
    address: str
    root: Path
    leader: int

    def run(self, *command: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in it, as its root."""
        inside = ("nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup")
        environment = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        found = run(*inside, "--", *environment, *command, timeout=timeout, check=False)
        if check and found.returncode != 0:
            raise RuntimeError(f"{self.name}: {' '.join(command)}: {found.returncode}\n{found.stdout}{found.stderr}")
        return found

    def says(self, *command: str) -> str:
        """What a command prints."""
        return self.run(*command).stdout.strip()

    def says_anyway(self, *command: str) -> str:
        """What a command prints, whether or not it succeeds."""
        return self.run(*command, check=False).stdout.strip()

    def journal(self, unit: str) -> str:
        """All that a unit has told."""
        return self.says("journalctl", "--no-pager", "-o", "cat", "-u", unit)

    def wait(self, holds: t.Callable[[], bool], what: str, *, patience: float = 60) -> None:
        """Wait until something holds."""
        end = time.monotonic() + patience
        while not holds():
            if time.monotonic() > end:
                log = self.run("journalctl", "--no-pager", "-n", "60", check=False).stdout
                raise RuntimeError(f"{self.name}: not within {patience:.0f} s: {what}\n{log}")
            time.sleep(0.3)


@contextlib.contextmanager
def machine(
    name: str, net: Network, number: int, directory: Path, names: t.Mapping[str, str], *layers: Path
) -> t.Iterator[Machine]:
    """Start a machine with an address in `net`; `names` are the names of hosts that it knows. It ends with the block.

    Its root user lets the key ``directory/key`` in, by ssh. `layers` lie over the base tree, the uppermost first.
    """
    place = directory / name
    for part in ("upper", "work", "root"):
        (place / part).mkdir(parents=True)
    root = place / "root"
    options = f"lowerdir={':'.join(map(str, (*layers, base_tree())))},upperdir={place}/upper,workdir={place}/work"
    run("mount", "-t", "overlay", "overlay", "-o", options, root)
    with contextlib.ExitStack() as stack:
        stack.callback(run, "umount", "--lazy", root, check=False)
        _configure(root, name, net.address(number), directory / "key.pub", names)
        log = stack.enter_context((place / "console").open("wb"))
        process = subprocess.Popen(
            # At most an hour, whatever becomes of the tests.
            [
                *("timeout", "--signal=KILL", "3600"),
                *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--boot", "--console=pipe"),
                *(f"--directory={root}", f"--machine={name}"),
                *(f"--network-bridge={net.bridge}", "--resolv-conf=off"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        stack.callback(_stop, process)
        leader = _leader(process, place / "console")
        stack.callback(_kill, leader)
        started = Machine(name, net.address(number), root, leader)
        started.wait(
            lambda: started.says_anyway("systemctl", "is-system-running") in ("running", "degraded"), "it runs"
        )
        yield started


def _configure(root: Path, name: str, address: str, key: Path, names: t.Mapping[str, str]) -> None:
    (root / "etc/hostname").write_text(f"{name}\n")
    lines = [f"{number} {host}\n" for host, number in names.items()]
    (root / "etc/hosts").write_text("".join(["127.0.0.1 localhost\n", *lines]))
    (root / "etc/systemd/network/10-host0.network").write_text(
        f"[Match]\nName=host0\n[Network]\nAddress={address}/24\nLinkLocalAddressing=no\n"
    )
    # It has been started before: at a first start systemd would enable whatever is there, ssh.socket for one.
    (root / "etc/machine-id").write_text(f"{uuid.uuid4().hex}\n")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (wants / "systemd-networkd.service").symlink_to("/lib/systemd/system/systemd-networkd.service")
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    (root / "root/.ssh/authorized_keys").write_text(key.read_text())
    run("chroot", root, "ssh-keygen", "-A")


def _leader(process: subprocess.Popen[bytes], console: Path) -> int:
    """The machine's process 1, by its number here."""
    for _attempt in range(100):
        if process.poll() is not None:
            raise RuntimeError(console.read_text(errors="replace"))
        for nspawn in _children(process.pid):
            for child in _children(nspawn):
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return child
        time.sleep(0.1)
    raise RuntimeError(f"No process 1: {console.read_text(errors='replace')}")


def _children(process: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def _kill(leader: int) -> None:
    """With its process 1 everything in it ends."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(leader, 9)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Its disk is thrown away: nothing in it has to end in order."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait(30)
