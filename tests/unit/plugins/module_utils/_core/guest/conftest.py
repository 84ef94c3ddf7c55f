# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real disk images, made without root: a tree becomes a file system, and sfdisk writes the table."""

from __future__ import annotations

import subprocess
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest

MIB = 1024 * 1024


@dataclass
class Volume:
    """A partition: a file system made of `files`, or swap, or raw octets."""

    kind: str = "ext4"
    label: str = "/"
    files: t.Mapping[str, str] = field(default_factory=dict)
    size: int = 8 * MIB
    links: t.Mapping[str, str] = field(default_factory=dict)
    uuid: str | None = None

    def make(self, work: Path) -> bytes:
        path = work / "volume"
        path.unlink(missing_ok=True)
        with path.open("wb") as file:
            file.truncate(self.size)
        if self.kind == "swap":
            command = ["mkswap", "-q", "-L", self.label, str(path)]
        elif self.kind == "none":
            return path.read_bytes()
        else:
            tree = work / "content"
            subprocess.run(["rm", "-rf", str(tree)], check=True)
            tree.mkdir()
            for name, text in self.files.items():
                target = tree / name.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.mkdir() if name.endswith("/") else target.write_text(text)
            for name, says in self.links.items():
                (tree / name.lstrip("/")).symlink_to(says)
            identity = ["-U", self.uuid] if self.uuid else []
            command = [f"mkfs.{self.kind}", "-q", "-F", "-L", self.label, *identity, "-d", str(tree), str(path)]
        subprocess.run(command, check=True, capture_output=True)
        return path.read_bytes()


@dataclass
class Disk:
    """Makes images: `disk(Volume(...), Volume(...), table="dos")`."""

    work: Path
    count: int = 0

    def __call__(self, *volumes: Volume, table: str | None = "dos", active: int = 1) -> Path:
        self.count += 1
        image = self.work / f"disk{self.count}.img"
        if table is None:
            image.write_bytes(volumes[0].make(self.work))
            return image
        start, lines, places = 2048, [f"label: {table}", "unit: sectors"], []
        for number, volume in enumerate(volumes, 1):
            kind = {"swap": "82" if table == "dos" else "S"}.get(volume.kind, "83" if table == "dos" else "L")
            boot = ", bootable" if table == "dos" and number == active else ""
            lines.append(f"start={start}, size={volume.size // 512}, type={kind}{boot}")
            places.append(start)
            start += volume.size // 512 + 2048
        with image.open("wb") as file:
            file.truncate((start + 2048) * 512)
        subprocess.run(["sfdisk", "-q", str(image)], input="\n".join(lines).encode(), check=True, capture_output=True)
        with image.open("r+b") as file:
            for place, volume in zip(places, volumes):
                file.seek(place * 512)
                file.write(volume.make(self.work))
        return image


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    work = tmp_path / "disks"
    work.mkdir()
    return Disk(work)


@pytest.fixture
def make_volume() -> type[Volume]:
    return Volume
