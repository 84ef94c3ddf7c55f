# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance on a real libvirtd: up, left alone, restarted, gone; and refused where it must be."""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

import pytest

from . import instance_site
from .instance_site import IMAGE, NAME, actions
from .libvirtd import GUEST_USER, NEEDS, PYTHON, Libvirtd
from .speaking import UP, image

pytestmark = pytest.mark.needs(*NEEDS, "qemu-img", PYTHON)

_KVM: t.Final = {"ok": True, "entry": 0, "root_by": "label", "ide_noprobe": False, "console": "ttyS0", "disk": "vda"}
#: A megabyte that starts in 64, and need not be looked at.
_SMALL: t.Final = {"memory": "64 MiB", "boot_info": {"matrix": {"kvm": _KVM}}}


@pytest.fixture
def site(
    libvirtd: Libvirtd, run_playbook: t.Any, pki: t.Any, demo_server: t.Any, tmp_path: Path
) -> t.Iterator[instance_site.Site]:
    guest = tmp_path / "guest.img"
    guest.write_bytes(image())
    python = instance_site.environment(tmp_path / "venv")
    with instance_site.served(
        libvirtd,
        {IMAGE: guest},
        place=tmp_path,
        pki=pki,
        demo_server=demo_server,
        run_playbook=run_playbook,
        python=python,
    ) as site:
        yield site


def test_an_instance_lives_and_goes_without_a_trace_and_comes_again_only_if_it_may(site: instance_site.Site) -> None:
    contexts = [{"iso": {"variables": {"AFS": "off"}}}]
    wanted = site.instance(**_SMALL, contexts=contexts)
    prepared = (site.publish(IMAGE), site.subscribe(new_images="cache"), site.cache())
    planned, made, again, info = site.play(*prepared, {**wanted, "check_mode": True}, wanted, wanted, site.info())[3:]
    assert actions(made) == actions(planned) == ["make_disk", "record", "create_context", "define", "start"]
    assert actions(again) == []
    site.libvirtd.console(site.console, UP)
    (one,) = info["instances"]
    assert (one["state"], one["differences"], one["verdict"]["allowed"]) == ("running", [], True)
    # Its own disks are the guest's user's while it runs, and the file of the cache is nobody else's.
    (cached,) = (site.state / "cache/current").glob(f"*{IMAGE}*")
    overlay = site.work / "disks/worker.qcow2"
    owners = [path.stat().st_uid for path in (cached, overlay, Path(one["contexts"][0]))]
    assert owners == [0, GUEST_USER, GUEST_USER]
    # It grows where it is attached now, and not where it is to be.
    other = {**_SMALL, "memory": "96 MiB", "disk": {"target": "hda", "size": "8 MiB"}}
    (changed,) = site.play(site.instance(**other, contexts=contexts, restart_when_changed=True))
    assert actions(changed) == ["grow_disk", "redefine", "restart"]
    told = subprocess.run(["qemu-img", "info", "-U", "--output=json", overlay], check=True, capture_output=True)
    assert json.loads(told.stdout)["virtual-size"] == 8 * 1024 * 1024
    # By the playbook, and the system's Python: nothing but libvirt's binding is needed now.
    options = site.instance()["hepix.vmimages.image_instance"]
    variables = {
        "hepix_vmimages_hosts": "localhost",
        "hepix_vmimages_become": False,
        "hepix_vmimages_instance": options,
        "hepix_vmimages_instances": [{"name": NAME}],
        "hepix_vmimages_state": "absent",
    }
    options.pop("name")
    for count in (1, 0):
        gone = site.run_playbook("hepix.vmimages.instantiate", "-e", json.dumps(variables))
        assert f"changed={count}" in gone.stdout and f"{NAME}: absent" in gone.stdout, gone.stdout + gone.stderr
        assert "WARNING" not in gone.stdout + gone.stderr
    assert site.libvirtd.virsh("list", "--all", "--name").split() == []
    assert list((site.work / "disks").iterdir()) == list((site.work / "records").iterdir()) == []
    with cached.open("r+b") as stream:
        stream.write(b"\0")
    small = site.instance(**_SMALL)
    modified, _decided, blacklisted = site.play(small, site.decide("blacklist"), small)
    assert (modified["code"], blacklisted["code"]) == ("file_changed", "blacklisted")
    assert site.libvirtd.virsh("list", "--all", "--name").split() == []
