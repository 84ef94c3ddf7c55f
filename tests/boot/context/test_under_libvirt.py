# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site's machine from the endorser to its end, on a real libvirtd with the gate's hook: the guest reads its context.

What the hook says of machines that are defined by hand is in tests/integration/test_gate.py.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ...integration import hook, instance_site, libvirtd
from ...integration.instance_site import IMAGE, LIST, NAME, Site, actions
from ...integration.speaking import image as speaking
from .. import images
from ..conftest import Note
from ..console import patience
from . import guests

pytestmark = pytest.mark.needs(*libvirtd.NEEDS, "qemu-img", libvirtd.PYTHON)

OTHER: t.Final = "3c0e5d3d-4a4a-4e1b-9a1e-1e2c5a7be9d2"
#: Seconds for what takes 40 on a quiet machine.
_BOOT: t.Final = 200.0


@pytest.fixture
def system(tmp_path: Path, run_playbook: t.Any) -> Path:
    """Debian 12 as somebody made it for KVM, which writes to the serial line, with the role vmcontext."""
    image = images.copy(images.modern(), tmp_path / "modern.img")
    with guests.tree(image, tmp_path / "mnt", writable=True) as root:
        menu = root / "boot/grub/grub.cfg"
        text = menu.read_text()
        assert "root=/dev/vda1" in text
        menu.write_text(text.replace("root=/dev/vda1", "root=/dev/vda1 console=ttyS0"))
    guests.install(image, tmp_path, run_playbook)
    return image


@pytest.fixture
def site(system: Path, run_playbook: t.Any, pki: t.Any, demo_server: t.Any, tmp_path: Path) -> Iterator[Site]:
    small = tmp_path / "small.img"
    small.write_bytes(speaking())
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(libvirtd.serve())
        made = instance_site.served(
            server,
            {IMAGE: system, OTHER: small},
            place=tmp_path,
            pki=pki,
            demo_server=demo_server,
            run_playbook=run_playbook,
            python=instance_site.environment(tmp_path / "venv"),
        )
        server.stop()
        hook.install(
            server, tmp_path, server.directory / tmp_path.name / "state", server.directory / tmp_path.name / "records"
        )
        server.start()
        yield stack.enter_context(made)


def test_a_machine_lives_by_its_verdict_and_is_gone_without_a_trace(
    site: Site, tmp_path: Path, logs: Path, note: Note, run_playbook: t.Any
) -> None:
    context = {"iso": guests.disk_options(instance=NAME, stays=True)}
    wanted = site.instance(memory="512 MiB", contexts=[context], ttl_hours=2)
    other = site.instance(name="other", image=OTHER, boot_info={})
    offered = (site.publish(IMAGE, OTHER), site.subscribe(new_images="report"), site.decide("approve"), site.cache())
    began = time.monotonic()
    *_ready, unapproved, made = site.play(*offered, other, wanted, timeout=patience(200))
    assert unapproved["code"] == "not_approved"
    assert actions(made) == ["make_disk", "record", "create_context", "define", "start"]
    started = time.monotonic()
    console = site.libvirtd.console(site.console, guests.DONE, timeout=patience(_BOOT))
    note("modern", "libvirt, image_instance: cached and approved", started - began, came="started")
    note("modern", "libvirt, image_instance: booted with its context", time.monotonic() - started, came="done")
    (logs / "modern-libvirt.log").write_text(console)
    assert guests.shortfall(console.replace("\r", ""), device="/dev/vdb", instance=NAME) == []

    again, info, _decided, judged = site.play(wanted, site.info(), site.decide("blacklist"), site.info())
    assert actions(again) == []
    (one,) = info["instances"]
    endorser = site.subscribed["endorsers"][0]
    assert (one["state"], one["source"], one["differences"]) == ("running", "record", [])
    assert (one["image"], one["list"], one["endorser_dn"], one["endorser_ca"]) == (
        *(IMAGE, LIST),
        *(endorser["dn"], endorser["ca"]),
    )
    assert one["verdict"]["allowed"] is True and judged["instances"][0]["verdict"]["code"] == "blacklisted"

    told = _expire(site, tmp_path, run_playbook)
    assert f"{NAME} ({one['uuid']}): blacklisted: shutdown" in told
    assert site.libvirtd.virsh("list", "--name").split() == []
    # It was asked, and switched itself off.
    assert "reboot: Power down" in site.console.read_text(errors="replace")
    _read(site, tmp_path)

    with pytest.raises(subprocess.CalledProcessError) as refused:
        site.libvirtd.virsh("start", NAME)
    assert f"{NAME} may not start: blacklisted" in refused.value.stderr
    gone = site.instance(state="absent")
    spoil = f"printf x | dd conv=notrunc status=none of=$(echo {site.state}/cache/current/*{OTHER}*)"
    listed = (site.publish(OTHER), site.subscribe(new_images="cache", refresh="always"), site.cache())
    blacklisted, *removed = site.play(wanted, gone, gone, timeout=patience(100))
    assert blacklisted["code"] == "blacklisted"
    assert [actions(one) for one in removed] == [["undefine", "remove", "remove", "remove_record"], []]
    assert site.libvirtd.virsh("list", "--all", "--name").split() == []
    assert list((site.work / "disks").iterdir()) == list((site.work / "records").iterdir()) == []
    *_ready, withdrawn, _spoiled, modified = site.play(
        site.decide("clear"), *listed, wanted, {"ansible.builtin.shell": spoil}, other, timeout=patience(100)
    )
    assert (withdrawn["code"], modified["code"]) == ("withdrawn", "file_changed")
    assert list((site.work / "disks").iterdir()) == list((site.work / "records").iterdir()) == []


def _expire(site: Site, place: Path, run_playbook: t.Any) -> str:
    given = {
        "hepix_vmimages_hosts": "localhost",
        "hepix_vmimages_become": False,
        "hepix_vmimages_connection": site.libvirtd.uri,
        "hepix_vmimages_gate": str(place / "gate.json"),
        "hepix_vmimages_command": [str(place / "environment/bin/python3"), "-I", "-m", "vmimages.main"],
        "hepix_vmimages_grace": "5m",
    }
    done = run_playbook("hepix.vmimages.expire_instances", "-e", json.dumps(given), timeout=patience(200))
    assert done.returncode == 0, done.stdout + done.stderr
    return t.cast("str", done.stdout)


def _read(site: Site, place: Path) -> None:
    """What the guest left on its own disk, and that the file in the cache is what it was."""
    (cached,) = (site.state / "cache/current").glob(f"*{IMAGE}*")
    disk = place / "read.img"
    overlay = site.work / f"disks/{NAME}.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "raw", overlay, disk], check=True, timeout=300)
    left = guests.left(disk, place / "mnt")
    assert left.ran == [f"prologue start {NAME}", f"epilogue start {NAME}"]
    assert left.site == f"of {NAME}\n" and not left.executed
    assert (left.payload or "").splitlines()[0] == guests.USER
    assert guests.left(cached, place / "mnt").ran == []
