# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A place for context disks, and what makes and refuses them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import (
    ContextError,
    TransferError,
    VmimagesError,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context import disks
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome

PROLOG = "#!/bin/sh\necho prolog\n"


def everything(directory: Path) -> dict[str, tuple[int, int, int, int]]:
    """What tells of a change to any file, without reading those of gigabytes."""
    found = {str(path): path.stat() for path in sorted(directory.rglob("*")) if path.is_file()}
    return {path: (one.st_ino, one.st_size, one.st_mode, one.st_mtime_ns) for path, one in found.items()}


@dataclass
class Workshop:
    """Makes disks in a directory; `fetched` are the addresses that were asked for, answered from `web`."""

    directory: Path
    web: dict[str, bytes] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)

    @property
    def dest(self) -> Path:
        return self.directory / "context.iso"

    def make(self, *items: t.Mapping[str, t.Any], check: bool = False, **options: t.Any) -> Outcome:
        """Make one disk of these options, or those of all items."""
        asked = items or (options,)
        wanted = [disk for one in asked for disk in disks.wanted_disks({"dest": str(self.dest), **options, **one})]
        return disks.make_disks(wanted, check=check, fetch=self.fetch)

    def report(self, **options: t.Any) -> dict[str, t.Any]:
        """The first disk of the result."""
        return t.cast("dict[str, t.Any]", self.make(**options).data["isos"][0])

    def fetch(self, url: str) -> bytes:
        self.fetched.append(url)
        return self.web[url]

    def refused(self, **options: t.Any) -> VmimagesError:
        """Why the disk is refused; nothing is written then."""
        before = everything(self.directory)
        with pytest.raises((ContextError, TransferError)) as refusal:
            self.make(**options)
        assert everything(self.directory) == before
        return refusal.value

    def file(self, name: str, octets: bytes) -> str:
        path = self.directory / "sources" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(octets)
        return str(path)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)
