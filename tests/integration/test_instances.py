# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance on a real libvirtd: up, left alone, restarted, gone; and refused where it must be."""

from __future__ import annotations

import json
import shutil
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pycdlib
import pytest

from .libvirtd import GUEST_USER, NEEDS, PYTHON, Libvirtd
from .speaking import UP, image

pytestmark = pytest.mark.needs(*NEEDS, "qemu-img", PYTHON)

NAME: t.Final = "worker"
IMAGE: t.Final = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
LIST: t.Final = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"
_KVM: t.Final = {"ok": True, "entry": 0, "root_by": "label", "ide_noprobe": False, "console": "ttyS0", "disk": "vda"}


@dataclass
class Site:
    """A node with a libvirtd; `work` is a directory that its guests can reach."""

    work: Path
    libvirtd: Libvirtd
    run_playbook: t.Any
    python: Path
    publishing: tuple[dict[str, t.Any], ...]

    @property
    def console(self) -> Path:
        return self.work / "console.log"

    def instance(self, **more: t.Any) -> dict[str, t.Any]:
        """A task of image_instance."""
        options = {
            "name": NAME,
            "image": IMAGE,
            "connection": self.libvirtd.uri,
            "mode": "qemu",
            "memory": "64 MiB",
            "boot_info": {"matrix": {"kvm": _KVM}},
            "console_log": str(self.console),
            "stop_timeout": "0s",
            "directory": str(self.work / "disks"),
            "records_dir": str(self.work / "records"),
            "state_dir": str(self.work / "state"),
        }
        return {"hepix.vmimages.image_instance": {**options, **more}}

    def play(self, *tasks: dict[str, t.Any]) -> list[dict[str, t.Any]]:
        """The results of the tasks, failed ones included. The binding is found where the system has it."""
        told = self.work / "results.json"
        registered = [
            {"name": f"Task {number}", **task, "register": f"result_{number}", "ignore_errors": True}
            for number, task in enumerate(tasks)
        ]
        names = ", ".join(f"result_{number}" for number in range(len(tasks)))
        keep = {"content": f"{{{{ [{names}] | to_json }}}}", "dest": str(told), "mode": "0600"}
        play = {
            "name": "Instances",
            "hosts": "localhost",
            "gather_facts": False,
            "tasks": [*registered, {"name": "Keep the results", "ansible.builtin.copy": keep}],
        }
        (self.work / "play.yml").write_text(json.dumps([play]))
        done = self.run_playbook(self.work / "play.yml", HEPIX_VMIMAGES_PYTHON=self.python)
        assert done.returncode == 0, done.stdout + done.stderr
        return t.cast("list[dict[str, t.Any]]", json.loads(told.read_text()))


@pytest.fixture(scope="session")
def libvirt_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The system's Python with its binding, and pycdlib: as a hypervisor's own environment is made."""
    home = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", "--system-site-packages", home], check=True)
    (packages,) = home.glob("lib/python3*/site-packages")
    source = Path(pycdlib.__file__).parent
    shutil.copytree(source, packages / "pycdlib")
    (stated,) = source.parent.glob("pycdlib-*.dist-info")
    shutil.copytree(stated, packages / stated.name)
    return home / "bin" / "python3"


@pytest.fixture
def site(
    libvirtd: Libvirtd, libvirt_python: Path, run_playbook: t.Any, pki: t.Any, demo_server: t.Any, tmp_path: Path
) -> t.Iterator[Site]:
    """A node without any image yet, and `publishing`, the tasks that let it have one."""
    work, www = libvirtd.directory / tmp_path.name, tmp_path / "www"
    work.mkdir()
    www.mkdir()
    (tmp_path / "guest.img").write_bytes(image())
    with demo_server.serve(www, pki.tls / "server.pem", pki.tls / "server.key") as server:
        published = {
            "identifier": LIST,
            "uri": f"{server.uri}/images.list",
            "certificate": str(pki.endorser.certificate_path),
            "private_key": str(pki.endorser.key_path),
            "anchors": str(pki.certificates),
            "history_dir": str(tmp_path / "history"),
            "images": [
                {
                    "identifier": IMAGE,
                    "path": str(tmp_path / "guest.img"),
                    "uri": f"{server.uri}/guest.img",
                    "title": "guest",
                    "format": "raw",
                }
            ],
            "uploads": [{"uri_match": f"{server.uri}/", "uri_replace": f"{www}/"}],
        }
        subscribed = {
            "uri": f"{server.uri}/images.list",
            "identifier": LIST,
            "endorsers": [{"dn": pki.endorser.dn, "ca": pki.endorser.ca}],
            "anchors": str(pki.certificates),
            "ca_path": str(pki.tls / "ca.pem"),
            "allow_private": True,
            "new_images": "cache",
            "state_dir": str(work / "state"),
        }
        tasks = (
            {"hepix.vmimages.imagelist_publish": published},
            {"hepix.vmimages.imagelist_subscribe": subscribed},
            {"hepix.vmimages.image_cache": {"state_dir": str(work / "state")}},
        )
        yield Site(work, libvirtd, run_playbook, libvirt_python, tasks)
        for name in libvirtd.virsh("list", "--name").split():
            libvirtd.virsh("destroy", name)


def _actions(result: t.Mapping[str, t.Any]) -> list[str]:
    assert not result.get("failed"), result
    return [action["action"] for action in result["actions"]]


def test_an_instance_lives_and_goes_without_a_trace_and_comes_again_only_if_it_may(site: Site) -> None:
    contexts = [{"iso": {"variables": {"AFS": "off"}}}]
    wanted = site.instance(contexts=contexts)
    told = {
        "hepix.vmimages.image_instance_info": {
            "connections": [site.libvirtd.uri],
            "records_dir": str(site.work / "records"),
            "state_dir": str(site.work / "state"),
        }
    }
    planned, made, again, info = site.play(*site.publishing, {**wanted, "check_mode": True}, wanted, wanted, told)[3:]
    assert _actions(made) == _actions(planned) == ["make_disk", "record", "create_context", "define", "start"]
    assert _actions(again) == []
    site.libvirtd.console(site.console, UP)
    (one,) = info["instances"]
    assert (one["state"], one["differences"], one["verdict"]["allowed"]) == ("running", [], True)
    # Its own disks are the guest's user's while it runs, and the file of the cache is nobody else's.
    (cached,) = (site.work / "state/cache/current").glob(f"*{IMAGE}*")
    owners = [path.stat().st_uid for path in (cached, site.work / "disks/worker.qcow2", Path(one["contexts"][0]))]
    assert owners == [0, GUEST_USER, GUEST_USER]
    (changed,) = site.play(site.instance(contexts=contexts, memory="96 MiB", restart_when_changed=True))
    assert _actions(changed) == ["redefine", "restart"]
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
    blacklist = {"decision": "blacklist", "images": [IMAGE], "state_dir": str(site.work / "state")}
    modified, _decided, blacklisted = site.play(
        site.instance(), {"hepix.vmimages.image_decision": blacklist}, site.instance()
    )
    assert (modified["code"], blacklisted["code"]) == ("file_changed", "blacklisted")
    assert site.libvirtd.virsh("list", "--all", "--name").split() == []
