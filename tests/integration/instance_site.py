# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node with libvirtd, whose images come from an endorser of its own: for tests of what image_instance makes there."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import typing as t
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pycdlib

from .libvirtd import PYTHON, Libvirtd

NAME: t.Final = "worker"
IMAGE: t.Final = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
LIST: t.Final = "5d4ce0b3-4fb5-4bd0-9b0f-6c1ea2a57ee3"

Task = dict[str, t.Any]


def environment(place: Path) -> Path:
    """The system's Python with its binding, and pycdlib: as a hypervisor's own environment is made."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", "--system-site-packages", place], check=True)
    (packages,) = place.glob("lib/python3*/site-packages")
    source = Path(pycdlib.__file__).parent
    shutil.copytree(source, packages / "pycdlib")
    (stated,) = source.parent.glob("pycdlib-*.dist-info")
    shutil.copytree(stated, packages / stated.name)
    return place / "bin" / "python3"


@dataclass
class Site:
    """The node; `work` is a directory that its guests can reach, and `python` has what its modules need.

    `offered` are the options of imagelist_publish without images, `images` the files by UUID.
    """

    work: Path
    libvirtd: Libvirtd
    run_playbook: t.Any
    python: Path
    offered: Mapping[str, t.Any]
    subscribed: Mapping[str, t.Any]
    images: Mapping[str, Path]

    @property
    def console(self) -> Path:
        return self.work / "console.log"

    @property
    def state(self) -> Path:
        return self.work / "state"

    def instance(self, **more: t.Any) -> Task:
        """A task of image_instance; None for what is not given."""
        options = {
            "name": NAME,
            "image": IMAGE,
            "connection": self.libvirtd.uri,
            "mode": "qemu",
            "console_log": str(self.console),
            "stop_timeout": "0s",
            "directory": str(self.work / "disks"),
            "records_dir": str(self.work / "records"),
            "state_dir": str(self.state),
            **more,
        }
        given = {key: value for key, value in options.items() if value is not None}
        return {"hepix.vmimages.image_instance": given}

    def info(self) -> Task:
        """A task of image_instance_info."""
        options = {"records_dir": str(self.work / "records"), "state_dir": str(self.state)}
        return {"hepix.vmimages.image_instance_info": {"connections": [self.libvirtd.uri], **options}}

    def publish(self, *identifiers: str) -> Task:
        """The task of the endorser whose list has these images."""
        server = self.offered["uri"].rpartition("/")[0]
        images = [
            {
                "identifier": one,
                "path": str(self.images[one]),
                "uri": f"{server}/{one}.img",
                "title": self.images[one].stem,
                "format": "raw",
            }
            for one in identifiers
        ]
        return {"hepix.vmimages.imagelist_publish": {**self.offered, "images": images}}

    def subscribe(self, **more: t.Any) -> Task:
        return {"hepix.vmimages.imagelist_subscribe": {**self.subscribed, **more}}

    def decide(self, decision: str, image: str = IMAGE) -> Task:
        options = {"decision": decision, "images": [image], "state_dir": str(self.state)}
        return {"hepix.vmimages.image_decision": options}

    def cache(self) -> Task:
        return {"hepix.vmimages.image_cache": {"state_dir": str(self.state)}}

    def play(self, *tasks: Task, timeout: float = 300) -> list[dict[str, t.Any]]:
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
        done = self.run_playbook(self.work / "play.yml", timeout=timeout, HEPIX_VMIMAGES_PYTHON=self.python)
        assert done.returncode == 0, done.stdout + done.stderr
        return t.cast("list[dict[str, t.Any]]", json.loads(told.read_text()))


@contextlib.contextmanager
def served(
    libvirtd: Libvirtd,
    images: Mapping[str, Path],
    *,
    place: Path,
    pki: t.Any,
    demo_server: t.Any,
    run_playbook: t.Any,
    python: Path,
) -> Iterator[Site]:
    """A node without any image yet, and an endorser who has these; what runs at the end is ended."""
    work, www = libvirtd.directory / place.name, place / "www"
    work.mkdir()
    www.mkdir()
    with demo_server.serve(www, pki.tls / "server.pem", pki.tls / "server.key") as server:
        about = {"uri": f"{server.uri}/images.list", "identifier": LIST, "anchors": str(pki.certificates)}
        offered = {
            **about,
            "certificate": str(pki.endorser.certificate_path),
            "private_key": str(pki.endorser.key_path),
            "history_dir": str(place / "history"),
            "uploads": [{"uri_match": f"{server.uri}/", "uri_replace": f"{www}/"}],
        }
        subscribed = {
            **about,
            "endorsers": [{"dn": pki.endorser.dn, "ca": pki.endorser.ca}],
            "ca_path": str(pki.tls / "ca.pem"),
            "allow_private": True,
            "state_dir": str(work / "state"),
        }
        yield Site(work, libvirtd, run_playbook, python, offered, subscribed, images)
        for name in libvirtd.virsh("list", "--name").split():
            libvirtd.virsh("destroy", name)


def actions(result: Mapping[str, t.Any]) -> list[str]:
    """What a call of image_instance did, by its names."""
    assert not result.get("failed"), result
    return [action["action"] for action in result["actions"]]
