# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which running machines end, as far as that needs no libvirt: the integration tests have it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.gate import ending

from .conftest import APPROVED, BLACKLISTED, UUID, Site, disk_xml, domain_xml

pytestmark = pytest.mark.needs("qemu-img")

TEMPLATE = Path(__file__).parents[7] / "roles" / "hypervisor" / "templates" / "hepix-vmimages-expire.service.j2"


@dataclass(frozen=True)
class OneMachine:
    """What a libvirt with one machine tells."""

    text: str

    def running(self) -> list[str]:
        return [UUID]

    def xml(self, _uuid: str) -> str:
        return self.text


def plan(site: Site, xml: str) -> ending.Machine:
    chosen, virsh = ending.Chosen(expired=True), t.cast("t.Any", OneMachine(xml))
    notes = site.directory / "ending"
    (machine,) = ending.Ender(virsh, site.settings, chosen, timedelta(hours=1), notes).end(site.world.now, dry=True)
    return machine


def test_a_recorded_machine_ends_with_its_image_though_its_disk_was_put_out_of_sight(site: Site) -> None:
    overlay = site.overlay(site.files[BLACKLISTED])
    site.record(overlay, BLACKLISTED, kind="overlay")
    xml = domain_xml(disk_xml(overlay))
    assert (plan(site, xml).code, plan(site, xml).action) == ("blacklisted", "shutdown")
    overlay.unlink()
    assert (plan(site, xml).code, plan(site, xml).action) == ("blacklisted", "shutdown")


def test_a_machine_of_a_good_image_goes_on_though_its_disk_was_put_out_of_sight(site: Site) -> None:
    overlay = site.overlay(site.files[APPROVED])
    site.record(overlay, APPROVED, kind="overlay")
    overlay.unlink()
    machine = plan(site, domain_xml(disk_xml(overlay)))
    assert (machine.code, machine.action) == ("not_found", None)


def test_the_unit_sees_disks_wherever_they_lie() -> None:
    unit = TEMPLATE.read_text()
    assert "ProtectHome=read-only" in unit and "PrivateTmp" not in unit
