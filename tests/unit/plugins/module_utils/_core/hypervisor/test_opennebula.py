# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The templates are read back by the grammar that OpenNebula documents: its own parser is in no package at hand."""

from __future__ import annotations

import re
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import HypervisorError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.opennebula import opennebula_template

from .conftest import OPTIONS, Make

_TEXT: t.Final = r'"((?:[^"\\]|\\")*)"'
_ATTRIBUTE: t.Final = re.compile(rf"([A-Z0-9_]+) = (?:{_TEXT}|\[((?:[^\"\]]|{_TEXT})*)\])\n")


def read(text: str) -> dict[str, t.Any]:
    """Attributes by name; a vector is a mapping. Every octet must belong to one."""
    found: dict[str, t.Any] = {}
    at = 0
    while at < len(text):
        match = _ATTRIBUTE.match(text, at)
        assert match is not None, text[at:]
        name, simple, vector = match[1], match[2], match[3]
        pairs = re.findall(rf"([A-Z0-9_]+) = {_TEXT}", vector or "")
        value = simple.replace('\\"', '"') if vector is None else {key: one.replace('\\"', '"') for key, one in pairs}
        assert name not in found
        found[name] = value
        at = match.end()
    return found


OURS: t.Final = {"contexts": None, "networks": [{"type": "network", "source": "grid"}]}


def template(make: Make, mode: str, **more: t.Any) -> dict[str, t.Any]:
    arguments = {"image": "worker 5.4", **more}
    return read(opennebula_template(make(mode, **OURS), **arguments))


def test_a_template_for_kvm(make: Make) -> None:
    found = template(make, "kvm", context={"TTL": "24", "AFS": 'o"n]'}, context_files=["prolog.sh", "init"])
    assert (found["NAME"], found["MEMORY"], found["VCPU"]) == ("worker-17", "2048", "2")
    assert found["DISK"] == {"IMAGE": "worker 5.4", "TARGET": "vda", "DEV_PREFIX": "vd"}
    assert found["NIC"] == {"NETWORK": "grid", "MODEL": "virtio"}
    assert found["GRAPHICS"] == {"TYPE": "vnc", "LISTEN": "127.0.0.1"}
    assert found["CONTEXT"] == {
        "VMID": "$VMID",
        "AFS": 'o"n]',
        "TTL": "24",
        "FILES_DS": '$FILE[IMAGE="prolog.sh"] $FILE[IMAGE="init"]',
    }
    assert found["SCHED_REQUIREMENTS"] == 'HYPERVISOR = "kvm"'
    assert (found["HEPIX_SHA512"], found["HEPIX_ENDORSER_DN"]) == ("ab" * 64, OPTIONS["image"]["endorser"]["dn"])


def test_paravirtualised_xen_has_pygrub_and_its_entry(make: Make) -> None:
    found = template(make, "xen_para")
    assert found["OS"]["BOOTLOADER"] == "/usr/bin/pygrub"
    assert found["RAW"] == {"TYPE": "xen", "DATA": 'bootloader_args = ["--entry=1"]'}
    assert found["DISK"]["TARGET"] == "xvda"
    assert found["SCHED_REQUIREMENTS"] == 'HYPERVISOR = "xen"'


def test_full_virtualisation_has_no_pygrub(make: Make) -> None:
    found = template(make, "xen_hvm")
    assert "BOOTLOADER" not in found["OS"]
    assert "RAW" not in found


@pytest.mark.parametrize(
    ("mode", "options"),
    [("xen_pvh", OURS), ("kvm", {**OURS, "contexts": [{"path": "/c.iso"}]}), ("kvm", {"contexts": None})],
)
def test_what_opennebula_does_not_know_is_refused(make: Make, mode: str, options: dict[str, t.Any]) -> None:
    with pytest.raises(HypervisorError) as refused:
        opennebula_template(make(mode, **options), image="worker")
    assert refused.value.code == "output_unsupported"


@pytest.mark.parametrize(
    "arguments",
    [
        {"image": 'a" ]'},
        {"image": "a", "context": {"a b": "c"}},
        {"image": "a", "context": {"VMID": "7"}},
        {"image": "a", "context": {"PASSWORD": "$UNAME"}},
        {"image": "a", "context": {"X": "a\\"}},
        {"image": "a", "context": {"X": "a\x00"}},
        {"image": "a", "context_files": ['x"]']},
    ],
)
def test_what_would_break_out_is_refused(make: Make, arguments: dict[str, t.Any]) -> None:
    with pytest.raises(HypervisorError) as refused:
        opennebula_template(make("kvm", **OURS), **arguments)
    assert refused.value.code == "machine_invalid"
