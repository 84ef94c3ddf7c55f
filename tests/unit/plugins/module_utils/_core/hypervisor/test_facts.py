# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a system's files to its templates: the boot facts are those that image_boot_info returns."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import HypervisorError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.report import report
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.survey import survey
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.devices import attachments
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.libvirt import domain_xml
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.machine import MODES, Machine
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.xl import xl_config

from .conftest import OPTIONS

pytestmark = pytest.mark.needs("zstd", "lz4")
KERNEL: t.Final = "6.1.0-18-amd64"


def look(directory: Path) -> dict[str, t.Any]:
    with Root(directory) as root:
        return report(survey(root))


@pytest.fixture
def debian(systems: t.Any, tmp_path: Path) -> Path:
    """Debian 12 with the drivers of every mode in its initrd."""
    directory = t.cast(Path, systems.unpack("debian12", tmp_path))
    drivers = ["virtio_pci", "virtio_blk", "xen-blkfront", "ext4"]
    octets = systems.initrd("zstd", KERNEL, "initramfs-tools", drivers)
    (directory / "boot" / f"initrd.img-{KERNEL}").write_bytes(octets)
    return directory


def test_a_system_that_boots_everywhere_has_a_domain_for_every_mode(debian: Path) -> None:
    found = look(debian)
    for mode in MODES:
        machine = Machine.from_options({**OPTIONS, "mode": mode}, found)
        assert ("--entry=0" in domain_xml(machine)) is (mode in ("xen_para", "xen_pvh"))


def test_pygrub_is_given_the_entry_that_the_matrix_found(debian: Path) -> None:
    config = debian / "boot" / "grub" / "grub.cfg"
    other = "menuentry 'Memory test' {\n  linux /boot/memtest\n}\n"
    config.write_text(other + config.read_text())
    found = look(debian)
    assert found["matrix"]["xen_para"]["ok"]
    entry = found["matrix"]["xen_para"]["entry"]
    assert entry > 0
    assert f'"--entry={entry}"' in xl_config(Machine.from_options({**OPTIONS, "mode": "xen_para"}, found))


def test_noprobe_keeps_the_context_off_ide(debian: Path) -> None:
    config = debian / "boot" / "grub" / "grub.cfg"
    config.write_text(config.read_text().replace(" root=", " ide0=noprobe ide1=noprobe root="))
    machine = Machine.from_options({**OPTIONS, "mode": "xen_hvm"}, look(debian))
    assert [one.target for one in attachments(machine)] == ["xvda", "xvde"]


def test_a_system_without_xens_drivers_is_refused_with_the_matrixs_words(systems: t.Any, tmp_path: Path) -> None:
    found = look(systems.unpack("debian12", tmp_path))
    with pytest.raises(HypervisorError) as refused:
        Machine.from_options({**OPTIONS, "mode": "xen_para"}, found)
    assert refused.value.code == "mode_not_bootable"
    assert f"A12: /boot/initrd.img-{KERNEL} lacks xen_blkfront." in refused.value.detail
