# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site with one image of each kind of verdict, and domains on overlays and copies of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import typing as t
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.gate import check, domain, settings
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.instances import records

from ...site.conftest import World

UUID = "5f2c1a9e-7d1b-4c55-9d3e-0a1b2c3d4e5f"
APPROVED = "488dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
BLACKLISTED = "588dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
WITHDRAWN = "688dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
QCOW2 = "788dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
REPLACED = "888dcdc4-9ab1-4fc8-a7ba-b7a5428ecb3d"
ISO = b"\0" * 32769 + b"CD001" + b"\0" * 4096


def qemu_img(*arguments: str | Path) -> bytes:
    return subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True, timeout=60).stdout


def disk_xml(
    path: Path | str, kind: str = "qcow2", *, device: str = "disk", target: str = "vda", more: str = ""
) -> str:
    """A disk of a domain, with further elements in it."""
    return (
        f"<disk type='file' device='{device}'><driver name='qemu' type='{kind}'/><source file='{path}'/>"
        f"<target dev='{target}' bus='virtio'/>{more}</disk>"
    )


def domain_xml(*disks: str, head: str = "", devices: str = "", name: str = "worker-17", attributes: str = "") -> str:
    """A domain with these disks."""
    return (
        f"<domain type='qemu'{attributes}><name>{name}</name><uuid>{UUID}</uuid>{head}"
        f"<devices>{''.join(disks)}{devices}</devices></domain>"
    )


@dataclass(frozen=True)
class Site:
    """A site, the files of its images, and a directory of instances."""

    world: World
    files: t.Mapping[str, Path]
    directory: Path

    @property
    def settings(self) -> settings.Settings:
        return settings.Settings(state_dir=self.world.state, records_dir=self.directory / "records")

    def overlay(self, on: Path | str, kind: str = "raw", name: str = "overlay.qcow2") -> Path:
        """A new overlay on a file."""
        path = self.directory / name
        qemu_img("create", "-q", "-f", "qcow2", "-u", "-b", on, "-F", kind, path, "1M")
        return path

    def copy(self, image: str = APPROVED, name: str = "copy.img") -> Path:
        """A copy of an image."""
        return Path(shutil.copy(self.files[image], self.directory / name))

    def record(self, path: Path, name: str = APPROVED, *, kind: str = "copy", **more: t.Any) -> records.Record:
        """Write the record of an instance with this disk."""
        of = next(iter(self.find(name)))
        record = records.Record(
            uuid=UUID,
            name="worker-17",
            connection="qemu:///system",
            mode="qemu",
            created=self.world.now,
            until=None,
            author="root",
            disk=records.DiskRecord(
                path=str(path),
                kind=kind,
                format="raw" if kind == "copy" else "qcow2",
                backing=None,
                device=path.stat().st_dev,
                inode=path.stat().st_ino,
            ),
            image=records.ImageRecord(
                uuid=name,
                version=of["version"],
                sha512=of["sha512"],
                size=1,
                list=of["list"],
                list_version="1",
                endorser_dn="/CN=E",
                endorser_ca="/CN=CA",
                expires=self.world.now + timedelta(days=1),
                path=str(self.files[name]),
                mtime_ns=1,
            ),
        )
        record = replace(record, **more)
        records.write(self.settings.records_dir, record)
        return record

    def find(self, image: str) -> t.Any:
        from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.judgement import snapshot
        from ansible_collections.hepix.vmimages.plugins.module_utils._core.site.store.state import StateDirectory

        return snapshot.load(StateDirectory.at(self.world.state)).find("identifier", image)

    def ask(self, xml: str, *, now: datetime | None = None, **changes: t.Any) -> check.Answer:
        """The gate's answer."""
        settings = replace(self.settings, **changes)
        return check.check(domain.read(xml), settings, check.verdicts_of(settings, now or self.world.now))

    def codes(self, xml: str, **changes: t.Any) -> list[str]:
        """Why the domain may not start; nothing if it may."""
        return [error.code for error in self.ask(xml, **changes).errors]


@pytest.fixture(scope="module")
def _site(
    demo_ca: t.Any,
    demo_server: t.Any,
    _pki_template: Path,
    now: datetime,
    tmp_path_factory: pytest.TempPathFactory,
) -> t.Iterator[tuple[World, dict[str, Path]]]:
    place = tmp_path_factory.mktemp("gate")
    shutil.copytree(_pki_template, place / "pki", symlinks=True)
    (place / "web").mkdir()
    qemu_img("create", "-q", "-f", "qcow2", place / "disk.qcow2", "1M")
    with demo_server.serve(place / "web") as server:
        world = World(demo_ca.DemoCA(place / "pki", now), place / "web", server.uri, place / "state", now)
        images = {name: world.image(name) for name in (APPROVED, BLACKLISTED, WITHDRAWN, REPLACED)}
        images[QCOW2] = {**world.image(QCOW2, octets=(place / "disk.qcow2").read_bytes()), "hv:format": "qcow2"}
        images[APPROVED]["hv:format"] = "raw"
        world.publish("1", list(images.values()))
        world.subscribe(new_images="cache")
        world.sync()
        files = {name: Path(world.verdict(name)["path"]) for name in images}
        world.publish(
            "2", [images[APPROVED], images[BLACKLISTED], images[QCOW2], world.image(REPLACED, version="2", title="new")]
        )
        world.refresh()
        world.decide("blacklist", BLACKLISTED)
        world.sync()
        yield world, files


@pytest.fixture
def site(_site: tuple[World, dict[str, Path]], tmp_path: Path) -> Site:
    directory = tmp_path / "instances"
    directory.mkdir(mode=0o755)
    return Site(*_site, directory)


@pytest.fixture
def configuration(tmp_path: Path) -> t.Callable[..., str]:
    """`configuration(policy="warn")` writes a file; its path."""

    def write(text: str | None = None, mode: int = 0o644, **keys: t.Any) -> str:
        path = tmp_path / "gate.json"
        path.write_text(json.dumps(keys) if text is None else text)
        path.chmod(mode)
        return str(path)

    return write
