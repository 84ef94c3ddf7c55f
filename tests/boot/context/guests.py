# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images with the role vmcontext, context disks that show what becomes of them, and what a start left in the image.

    image = guests.made("modern", tmp_path, run_playbook)
    guests.install(image, tmp_path, run_playbook)
    disk = guests.disk(tmp_path / "a.iso", instance="a")
    console = guests.start([Disk(image, writable=True), Disk(disk, readonly=True)], log=log)
    assert guests.shortfall(console, device="/dev/vdb", instance="a") == []
    assert guests.left(image, tmp_path / "mnt").ran == ["prologue start a", "epilogue start a"]

A guest of these images does not wait to be used: when all is done it says so, and switches itself off.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import typing as t
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context import disks
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.mount.images import mount_image, unmount_image

from .. import images
from ..console import patience
from ..prediction import MODES
from ..qemu import Disk, machine

#: The guest says so when everything has been started, and is on its disk.
DONE: t.Final = "@@ the guest is done"
#: Changed by a disk that `spoils`; it works no less with an octet more.
PROTECTED: t.Final = "/usr/bin/perl"
USER: t.Final = "grid"
_NUMBER: t.Final = 1000
#: Seconds for what takes 60 on a quiet machine.
_START: t.Final = 500.0

_PROLOG: t.Final = """\
#!/bin/sh
echo "@@ prologue $1 of $INSTANCE"
echo "prologue $1 $INSTANCE" >>/var/log/ran
! grep -E ' /mnt | iso9660 ' /proc/mounts || echo "@@ a disk is mounted"
ls /sys/class/net | grep -v lo | while read -r card; do echo "@@ $card is $(cat "/sys/class/net/$card/operstate")"; done
"""
_EPILOG: t.Final = """\
#!/bin/sh
echo "@@ epilogue $1 of $INSTANCE on $(hostname)"
echo "epilogue $1 $INSTANCE" >>/var/log/ran
"""
_PAYLOAD: t.Final = """\
#!/bin/sh
{ id -un; env; } >/home/grid/payload.part && mv /home/grid/payload.part /home/grid/payload
exec sleep 1000
"""

#: A hook of the image. Its parent is the epilogue: when that has ended, all that it starts has been started.
_CLOSER: t.Final = """\
# vmcontext: always epilogue
[ "$2" = start ] || exit 0
epilogue=$PPID
(
    while kill -0 "$epilogue"; do sleep 1; done
    turn=0
    if tail -n 3 /var/log/vmcontext.log | grep -q 'payload was started'; then
        until ps -C sleep -o user= | grep -q grid || [ $turn -ge 60 ]; do
            turn=$((turn + 1))
            sleep 1
        done
    fi
    # Now that nothing else writes on the console.
    sleep 3
    ps -C sleep -o user=,args= | tr -s ' ' | sed 's/^/@@ runs: /'
    sed -n 's/^MODE=/@@ runs: root shutdown, /p' /run/systemd/shutdown/scheduled
    sync
    echo "@@ the guest is done"
    [ "$STAYS" = yes ] || poweroff
) >/dev/console 2>/dev/null &
"""

_HEADER: t.Final = """\
#!/bin/sh
### BEGIN INIT INFO
# Provides:          {name}
# Required-Start:    $local_fs
# Required-Stop:     $local_fs
# Default-Start:     2 3 4 5
# Default-Stop:      0 1 6
# Short-Description: Stands in for {name}
### END INIT INFO
echo "@@ {name}: $1"
"""
_UNIT: t.Final = """\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/echo "@@ {name}: start"
StandardOutput=journal+console
"""


class RunPlaybook(t.Protocol):
    """What the fixture `run_playbook` is."""

    def __call__(self, playbook: str | Path, *options: str | Path, timeout: float = ...) -> t.Any: ...


@contextlib.contextmanager
def tree(image: Path, mount: Path, *, writable: bool = False) -> Iterator[Path]:
    """The image's files under `mount`, for as long as the block lasts."""
    mount_image(str(image), str(mount), writable=writable, check=False)
    try:
        yield mount
    finally:
        unmount_image(str(mount), check=False)


def made(kind: str, work: Path, run_playbook: RunPlaybook) -> Path:
    """An image of one's own, after the role multi_hypervisor. What it is copied from may be in use by others."""
    image = images.copy(getattr(images, kind)(), work / "disk.img")
    given = {
        "multi_hypervisor_image": str(image),
        "multi_hypervisor_mount": str(work / "mnt"),
        "multi_hypervisor_modes": list(MODES),
        "hepix_vmimages_become": False,
    }
    done = run_playbook("hepix.vmimages.build_image", "-e", json.dumps(given), timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return image


def install(image: Path, work: Path, run_playbook: RunPlaybook, **options: t.Any) -> None:
    """Apply the role to the image, which gets a user for the payload, a batch client and an AFS as well.

    What the image is for stays: the name that its login shows, unless a context disk says another. `options` are
    variables of the role.
    """
    closer = work / "90-closer.sh"
    closer.write_text(_CLOSER)
    playbook = work / "vmcontext.json"
    playbook.write_text(
        json.dumps([{"hosts": "localhost", "gather_facts": False, "roles": ["hepix.vmimages.vmcontext"]}])
    )
    with tree(image, work / "mnt", writable=True) as root:
        _user(root)
        _services(root)
        given = {
            "vmcontext_root": str(root),
            "vmcontext_hooks": [str(closer)],
            "vmcontext_services": ["batch"],
            **options,
        }
        if not (root / "etc/inittab").exists():
            given["vmcontext_services"] = []
        done = run_playbook(playbook, "-e", json.dumps(given), timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr


def _user(root: Path) -> None:
    for name, line in {
        "passwd": f"{USER}:x:{_NUMBER}:{_NUMBER}::/home/{USER}:/bin/sh\n",
        "group": f"{USER}:x:{_NUMBER}:\n",
        "shadow": f"{USER}:*:19000:0:99999:7:::\n",
    }.items():
        with (root / "etc" / name).open("a") as file:
            file.write(line)
    home = root / "home" / USER
    home.mkdir()
    os.chown(home, _NUMBER, _NUMBER)


def _services(root: Path) -> None:
    if (root / "etc/inittab").exists():
        for name in ("batch", "openafs-client"):
            script = root / "etc/init.d" / name
            script.write_text(_HEADER.format(name=name))
            script.chmod(0o755)
        for level in "2345":
            (root / f"etc/rc{level}.d/S20openafs-client").symlink_to("../init.d/openafs-client")
        return
    units = root / "etc/systemd/system"
    for name, target in (("batch", "hepix-context"), ("openafs-client", "multi-user")):
        place = root / f"usr/lib/systemd/system/{name}.service"
        place.write_text(_UNIT.format(name=name))
        wants = units / f"{target}.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / place.name).symlink_to(f"/usr/lib/systemd/system/{place.name}")


def disk(dest: Path, *, instance: str, spoils: bool = False, stays: bool = False, **options: t.Any) -> Path:
    """A context disk by context_iso, of `disk_options`."""
    return plain_disk(dest, **disk_options(instance=instance, spoils=spoils, stays=stays, **options))


def disk_options(*, instance: str, spoils: bool = False, stays: bool = False, **options: t.Any) -> dict[str, t.Any]:
    """What context_iso is given: variables, a file, prologue, epilogue, a payload; AFS is off.

    With `spoils` its prologue changes a protected file; with `stays` the guest is not switched off, and keeps its name.
    `options` are further ones of the module.
    """
    prolog = _PROLOG + (f"echo >>{PROTECTED}\n" if spoils else "")
    return {
        "instance_id": instance,
        **({} if stays else {"hostname": f"{instance}.example.org"}),
        "variables": {
            "INSTANCE": instance,
            "AFS": "off",
            "SITE": "$(touch /executed)",
            "STAYS": "yes" if stays else "no",
        },
        "files": [{"name": "site.conf", "content": f"of {instance}\n", "target": "/etc/site/site.conf"}],
        "scripts": {"prolog": {"content": prolog}, "epilog": {"content": _EPILOG}, "payload": {"content": _PAYLOAD}},
        "payload_user": USER,
        "ttl_hours": 2,
        **options,
    }


def plain_disk(dest: Path, **options: t.Any) -> Path:
    """A context disk of context_iso with these options."""
    wanted = disks.wanted_disks({"dest": str(dest), **options})
    disks.make_disks(wanted, check=False, fetch=lambda url: b"")
    return dest


def start(attached: Sequence[Disk], *, log: Path, timeout: float = _START) -> str:
    """Boot until the guest has switched itself off; the console. `timeout` as for `qemu.boot`. Raises `BootFailed`."""
    with machine(attached, log=log, network=True) as console:
        console.wait(DONE, timeout=patience(timeout))
        console.ended(timeout=patience(timeout))
        return console.text


def shortfall(console: str, *, device: str, instance: str, host: str | None = None) -> list[str]:
    """What the console of an instance's first start lacks, or should not have; `host` is its name then."""
    in_order = [
        f"vmcontext: The context disk is {device}.",
        f"@@ prologue start of {instance}",
        "vmcontext: The prologue (prolog.sh) DONE",
        f"@@ epilogue start of {instance} on {host or ''}",
        "vmcontext: The epilogue (epilog.sh) DONE",
        f"vmcontext: The payload was started as {USER}.",
    ]
    wanted = [
        *in_order,
        "/etc/site/site.conf was placed.",
        "vmcontext: This machine shuts down in 120 minutes (TTL).",
        f"@@ runs: {USER} sleep 1000",
        "@@ batch: start",
    ]
    unwanted = [
        *(r"vmcontext: .* FAILED", "LIMITS", "@@ a disk is mounted", "@@ openafs-client: start", "ordering cycle"),
        # The prologue is before the network.
        r"@@ eth\d is up",
    ]
    places = [console.find(text) for text in in_order]
    timer = re.search(r"@@ runs: root (sleep 7200|shutdown, poweroff)$", console, re.MULTILINE)
    return [
        *(f"lacks: {text}" for text in wanted if text not in console),
        *(f"has: {pattern}" for pattern in unwanted if re.search(pattern, console)),
        *([] if timer else ["lacks: the timer"]),
        *(["not in order"] if places != sorted(places) else []),
    ]


def peek(image: Path, path: str) -> str:
    """A file of the image's last partition, of the type ext, while a guest that has synced uses it."""
    told = subprocess.run(["sfdisk", "--json", str(image)], check=True, capture_output=True, timeout=30)
    start = json.loads(told.stdout)["partitiontable"]["partitions"][-1]["start"] * 512
    shown = subprocess.run(
        ["debugfs", "-c", "-R", f"cat {path}", f"{image}?offset={start}"], check=True, capture_output=True, timeout=30
    )
    return shown.stdout.decode("utf-8", "replace")


@dataclass(frozen=True)
class Left:
    """What starts left in an image: `log` is the role's, `ran` what the scripts noted, None for a missing file."""

    ran: list[str]
    log: str
    site: str | None
    payload: str | None
    copied: list[str]
    executed: bool


def left(image: Path, mount: Path) -> Left:
    """Read it from the image, which is mounted read-only meanwhile."""

    def text(path: Path) -> str | None:
        return path.read_text(errors="replace") if path.exists() else None

    with tree(image, mount) as root:
        copy = root / "var/lib/hepix/context"
        return Left(
            ran=(text(root / "var/log/ran") or "").splitlines(),
            log=text(root / "var/log/vmcontext.log") or "",
            site=text(root / "etc/site/site.conf"),
            payload=text(root / f"home/{USER}/payload"),
            copied=sorted(path.name for path in copy.iterdir()) if copy.exists() else [],
            executed=(root / "executed").exists(),
        )
