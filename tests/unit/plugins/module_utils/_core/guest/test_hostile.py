# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems that mean harm, through everything that reads or changes one: told, refused, and nothing outside touched.

Each attack runs in a process of its own, which has a GiB of memory more and a minute.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import socket
import typing as t
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.auditing import Wanted, audit
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.inputs import read_inputs
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.report import report
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.survey import survey
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.packages.manifest import make_manifest
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.carry_out import make_bootable
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.plan.wishes import Wishes
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

pytestmark = pytest.mark.needs("root", "zstd", "lz4")

NOW = datetime(2026, 11, 20, tzinfo=timezone.utc)
MIB = 1024 * 1024
SECRET = "CANARY-OF-THE-BUILDER"
MORE = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nanna:x:1000:1000::/home/anna:/bin/bash\n",
    "etc/shadow": "root:*:1::::::\nanna:*:1::::::\n",
    "home/anna/.bash_history": "ls\n",
    "var/lib/dpkg/status": "Package: one\nStatus: install ok installed\nVersion: 1\n",
    "var/lib/dpkg/info/one.list": "/.\n/usr/bin/one\n",
    "var/lib/dpkg/info/one.md5sums": "d41d8cd98f00b204e9800998ecf8427e  usr/bin/one\n",
    "usr/bin/one": "",
    "opt/vo/lib/python3.9/site-packages/x-1.dist-info/METADATA": "Name: x\nVersion: 1\n",
    "etc/ssh/sshd_config": "PasswordAuthentication no\n",
    "etc/hepix-image.json": "{}",
}


def files(tree: Path) -> list[Path]:
    """Every file but those without which an audit is refused before its first check."""
    found = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    return [path for path in found if path.name not in ("passwd", "os-release", "redhat-release")]


def links_out(tree: Path, outside: Path) -> None:
    """Every file is a link to the builder's, by an absolute path or by climbing."""
    for number, path in enumerate(files(tree)):
        path.unlink()
        path.symlink_to(outside / "secret" if number % 2 else "../" * 40 + str(outside / "secret").lstrip("/"))


def directories_out(tree: Path, outside: Path) -> None:
    """Directories are links to the builder's."""
    for name in ("etc/ssh", "boot", "home", "var/lib/dpkg", "opt"):
        if (tree / name).is_dir():
            (tree / name).rename(tree / f"{name}.away")
            (tree / name).symlink_to(outside)


def pipes(tree: Path, _outside: Path) -> None:
    """Every file is a pipe that nobody writes to."""
    for path in files(tree):
        path.unlink()
        os.mkfifo(path)


def devices(tree: Path, _outside: Path) -> None:
    """Every file is an endless device, or a socket."""
    for number, path in enumerate(files(tree)):
        path.unlink()
        if number % 2 or len(str(path)) > 100:
            os.mknod(path, 0o20666, os.makedev(1, 5))
        else:
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))


def loops(tree: Path, _outside: Path) -> None:
    """Every file and some directories are links that turn in circles."""
    for number, path in enumerate(files(tree)):
        path.unlink()
        path.symlink_to(path.name if number % 2 else ".")
    (tree / "etc/round").symlink_to("../etc")
    (tree / "home/anna/again").symlink_to("/home")


def large(tree: Path, _outside: Path) -> None:
    """Every file has 50 MB of text, or a terabyte of nothing."""
    text = b"default 0\ntitle x\nkernel /vmlinuz ro\n" * (50 * MIB // 37)
    grub = next(path for name in ("grub.cfg", "grub.conf") for path in tree.rglob(name))
    grub.write_bytes(text)
    for path in files(tree):
        if path != grub:
            os.truncate(path, 1 << 40)


def names(tree: Path, _outside: Path) -> None:
    """Names with line breaks, escapes and octets that are no text, of files that are looked at."""
    for name in (b"a\nb", b"\x1b[31mred", b"\xff\xfe", b"x" * 255, b"a\rb.conf", b"-rf", b"$(touch x)"):
        for place in ("boot", "etc", "home", "home/anna", "etc/ssh", "var/log", "opt", "var/lib/dpkg/info"):
            (tree / place).mkdir(parents=True, exist_ok=True)
            for made in (name, b"vmlinuz-" + name[:200], name[:200] + b".md5sums"):
                Path(os.fsdecode(os.fsencode(tree / place) + b"/" + made)).write_text("x\n")


def hard_links(tree: Path, outside: Path) -> None:
    """Every file is also the builder's."""
    for number, path in enumerate(files(tree)):
        os.link(path, outside / f"own{number}")


def crowds(tree: Path, _outside: Path) -> None:
    """More names than any system has, and more directories in each other."""
    for place in ("boot", "etc/ssh", "var/lib/dpkg/info"):
        (tree / place).mkdir(parents=True, exist_ok=True)
        seed = tree / place / "0.list"
        seed.write_text("")
        for number in range(1, 6000):
            os.link(seed, tree / place / f"{number}.list")
    deep = os.open(tree / "home/anna", os.O_RDONLY)
    for _number in range(300):
        os.mkdir("d", dir_fd=deep)
        further = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = further
    os.close(deep)
    rows = "".join(f"u{number}:x:{number}:1::/home/{number}:/bin/sh\n" for number in range(1000, 21000))
    (tree / "etc/passwd").write_text(rows)


def dull(tree: Path, _outside: Path) -> None:
    """Long configuration with hardly anything in it: what is looked for is almost there, and again."""
    texts = ("a" + " " * 300_000 + "b\n", "\n" * 200_000, "a " * 150_000, "k=" + "\t" * 300_000 + "v\n")
    pins = "network:\n  ethernets:\n    e:\n      match:\n" + "        macaddress: x\n" * 15_000
    places = (
        "sudoers.d/{}",
        "netplan/{}.yaml",
        "NetworkManager/system-connections/{}.nmconnection",
        "modprobe.d/{}.conf",
    )
    for number, text in enumerate(texts):
        for place in (
            *places,
            "network/interfaces.d/{}",
            "cron.d/{}",
            "systemd/network/{}.network",
            "default/grub.d/{}.cfg",
        ):
            path = tree / "etc" / place.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o600)
    (tree / "etc/netplan/pins.yaml").write_text(pins)


ATTACKS = [links_out, directories_out, pipes, devices, loops, large, names, hard_links, crowds, dull]


def snapshot(directory: Path) -> dict[str, t.Any]:
    return {path.name: (path.lstat().st_mode, path.lstat().st_size, path.read_bytes()) for path in directory.iterdir()}


def go_through(tree: Path, work: Path, told: t.Any) -> None:
    """Everything that takes a tree; what each said, or the code of its refusal."""
    soft = _memory() + 1024 * MIB
    resource.setrlimit(resource.RLIMIT_AS, (soft, soft))
    (work / "patterns").write_text("CANARY\n")
    asked, given = read_inputs(modes=["kvm"], patterns=str(work / "patterns"), scanner=["true"])
    wanted = Wanted(asked=asked, given=given, report=str(work / "report.json"), text_report=str(work / "report.txt"))
    steps: dict[str, t.Callable[[Root], t.Any]] = {
        "boot_info": lambda root: report(survey(root)),
        "manifest": lambda root: make_manifest(root, dest=str(work / "spdx"), name=None, check=False, now=NOW).data,
        "audit": lambda root: audit(root, wanted, check=False, now=NOW).data,
        "boot": lambda root: make_bootable(root, Wishes(), check=False, now=NOW, build=None).data,
        "fix": lambda root: audit(root, Wanted(asked=asked, fix=True), check=False, now=NOW).data,
    }
    found = {}
    for name, step in steps.items():
        with Root(tree) as root:
            try:
                found[name] = ("told", json.dumps(step(root)))
            except GuestError as error:
                found[name] = (error.code, error.sentence)
    told.send(found)


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_hostile_system_is_contained(systems: t.Any, tmp_path: Path, attack: t.Callable[[Path, Path], None]) -> None:
    tree, outside, work = tmp_path / "tree", tmp_path / "outside", tmp_path / "work"
    systems.unpack("el5" if attack is large else "debian12", tree)
    for name, text in MORE.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    outside.mkdir()
    work.mkdir()
    (outside / "secret").write_text(f"{SECRET}\nroot:$6$saltsalt$hashhashhashhash:1::::::\n")
    attack(tree, outside)
    before = snapshot(outside)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=go_through, args=(tree, work, sender))
    process.start()
    sender.close()
    try:
        assert receiver.poll(60), "It has not ended."
        found = receiver.recv()
    finally:
        process.kill()
        process.join()
    assert set(found) == {"boot_info", "manifest", "audit", "boot", "fix"}
    assert snapshot(outside) == before
    texts = [text for _code, text in found.values()] + [path.read_text() for path in work.iterdir()]
    assert not any(SECRET in text for text in texts)
    reports = [path.read_text() for path in work.glob("report.*")]
    assert not any(character in text for text in reports for character in ("\x1b", "\r"))
