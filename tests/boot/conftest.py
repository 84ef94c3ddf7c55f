# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are booted: `make test-boot`. Every test below this directory needs what NEEDS lists, and says so.

A test asks for an image (`el5_like`, `modern`: taken through the role multi_hypervisor, with the facts before and after
it), boots it with `qemu.boot` or `xen.dom0` until patterns appear on its console, and notes the time in the table that
is printed at the end:

    from .. import qemu                                       # in tests/boot/context/test_x.py

    def test_prolog(el5_like, logs, note):
        disks = [qemu.Disk(el5_like.image), qemu.Disk(iso, bus="ide", cdrom=True)]
        booted = qemu.boot(disks, "prolog ran", "login:", log=logs / "el5-cdrom.log")
        note("el5_like", "QEMU virtio, context as CD-ROM", booted.seconds)

What a guest writes is lost, so that tests share an image. A test that reads the disk afterwards gives
`qemu.Disk(images.copy(el5_like.image, tmp_path / "disk.img"), writable=True)`, and syncs or shuts down the guest first.
One that wants another system starts from `images.el5_like()` or `images.modern()`, and changes a copy of that.
Consoles are kept in .venv/boot-logs. Modules: console (terminals, patterns), qemu, xen, images, prediction.
"""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest

from ..integration import conftest as integration
from . import images
from .prepared import Prepared, prepare

NEEDS: t.Final = ("root", "mmdebstrap", "qemu-system-x86_64", "sfdisk", "mke2fs", "setpriv", "/dev/loop-control")
# Fixtures, under the names by which tests ask for them.
ansible_environment = integration.ansible_environment
run_playbook = integration.run_playbook

CHECKOUT: t.Final = Path(__file__).resolve().parents[2]


class Note(t.Protocol):
    """Notes a boot for the table: which image, how, and in how many seconds it came to what."""

    def __call__(self, image: str, how: str, seconds: float, *, predicted: str = "", came: str = "login") -> None: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.needs(*NEEDS))


@pytest.fixture
def note(record_property: t.Callable[[str, object], None]) -> Note:
    def note(image: str, how: str, seconds: float, *, predicted: str = "", came: str = "login") -> None:
        record_property("boot", json.dumps([image, how, predicted, came, round(seconds)]))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of the boots, and what building the images took."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    rows = [
        json.loads(t.cast(str, value)) for report in reports for name, value in report.user_properties if name == "boot"
    ]
    if not rows:
        return
    terminalreporter.section("boots")
    for name, seconds in images.kept():
        terminalreporter.write_line(f"{name:<10} {'built, and kept':<64} {seconds:>5} s")
    for image, how, predicted, came, seconds in sorted(rows):
        told = f"{how}: {came}" + (f" (predicted: {predicted})" if predicted else "")
        terminalreporter.write_line(f"{image:<10} {told:<64} {seconds:>5} s")


@pytest.fixture(scope="session")
def logs() -> Path:
    """Where the consoles' logs are kept until the next run."""
    directory = CHECKOUT / ".venv" / "boot-logs"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def el5_like(run_playbook: t.Any, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The image in the layout of EL5, after the role."""
    return prepare(images.el5_like(), tmp_path_factory.mktemp("el5_like"), run_playbook)


@pytest.fixture(scope="session")
def modern(run_playbook: t.Any, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The image of Debian 12, after the role."""
    return prepare(images.modern(), tmp_path_factory.mktemp("modern"), run_playbook)


@pytest.fixture(scope="session")
def dom0_files() -> Path:
    """What `xen.dom0` starts."""
    return images.dom0()
