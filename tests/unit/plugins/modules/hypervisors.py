# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""libvirt's own test driver in this process, and a site whose image its instances are made of.

pip would have to compile the binding; the system's one serves where this Python is of the same version.
"""

from __future__ import annotations

import importlib
import json
import sys
import typing as t
from dataclasses import dataclass
from pathlib import Path

PACKAGES: t.Final = Path("/usr/lib/python3/dist-packages")
#: What a test with domains must be marked with.
BINDING: t.Final = f"{PACKAGES}/libvirtmod.cpython-{sys.version_info.major}{sys.version_info.minor}-x86_64-linux-gnu.so"
#: A hypervisor that lives as long as a connection to it.
DRIVER: t.Final = "test:///default"
IMAGE: t.Final = "2b9e4f2c-3f3f-4d0a-8f0d-0d1b4f6ad8c1"
_BOOTS: t.Final = {"ok": True, "entry": 0, "root_by": "label", "ide_noprobe": False, "console": "ttyS0", "disk": "vda"}
BOOT_INFO: t.Final = {"matrix": dict.fromkeys(("kvm", "xen_hvm", "xen_para", "xen_pvh"), _BOOTS)}


def binding(directory: Path) -> t.Any:
    """The module libvirt, and none of the system's other packages."""
    if "libvirt" not in sys.modules:
        directory.mkdir()
        for path in PACKAGES.glob("libvirt*"):
            (directory / path.name).symlink_to(path)
        sys.path.append(str(directory))
    return importlib.import_module("libvirt")


@dataclass
class Node:
    """Runs image_instance by the verdicts of a site; `driver` is a connection that keeps the test driver's domains."""

    bench: t.Any
    driver: t.Any
    state_dir: Path

    @property
    def records(self) -> Path:
        return t.cast(Path, self.bench.work / "records")

    @property
    def disks(self) -> Path:
        return t.cast(Path, self.bench.work / "disks")

    def image(self) -> dict[str, t.Any]:
        """What the site says of the image."""
        answer = self.bench.done("image_info", {"state_dir": str(self.state_dir), "images": [IMAGE]})
        return t.cast("dict[str, t.Any]", answer["images"][0])

    def options(self, **more: t.Any) -> dict[str, t.Any]:
        usual: dict[str, t.Any] = {
            "name": "worker",
            "image": IMAGE,
            "mode": "qemu",
            "memory": "64 MiB",
            "connection": DRIVER,
            "boot_info": BOOT_INFO,
            "stop_timeout": "0s",
            "directory": str(self.disks),
            "records_dir": str(self.records),
            "state_dir": str(self.state_dir),
        }
        chosen = {**usual, **more}
        return {key: value for key, value in chosen.items() if value is not None}

    def run(self, *, check: bool = False, **more: t.Any) -> t.Any:
        return self.bench.run("image_instance", self.options(**more), check=check)

    def done(self, *, check: bool = False, **more: t.Any) -> t.Any:
        result = self.run(check=check, **more)
        assert not result.failed, result["msg"]
        return result

    def tell(self, **more: t.Any) -> t.Any:
        usual = {"connections": [DRIVER], "records_dir": str(self.records), "state_dir": str(self.state_dir)}
        return self.bench.done("image_instance_info", {**usual, **more})

    def domain(self, name: str = "worker") -> t.Any:
        """The domain; libvirtError where there is none."""
        return self.driver.lookupByName(name)

    def names(self) -> set[str]:
        """Domains, without the one that the driver is born with."""
        return {str(domain.name()) for domain in self.driver.listAllDomains(0)} - {"test"}


def record(node: Node) -> dict[str, t.Any]:
    """The only record that there is."""
    (path,) = node.records.iterdir()
    return t.cast("dict[str, t.Any]", json.loads(path.read_text()))


def cached(node: Node) -> Path:
    """The image's file in the cache."""
    return Path(node.image()["verdict"]["path"])


def actions(result: t.Any) -> list[str]:
    """What was done, by its names."""
    return [action["action"] for action in result["actions"]]
