# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine's options, and the matrix of an image that boots everywhere."""

from __future__ import annotations

import copy
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.machine import Machine

Make = t.Callable[..., Machine]

OPTIONS: t.Final[dict[str, t.Any]] = {
    "name": "worker-17",
    "uuid": "5f2c1a9e-7d1b-4c55-9d3e-0a1b2c3d4e5f",
    "memory": "2 GiB",
    "cpus": 2,
    "disk": {"path": "/srv/instances/worker-17.img"},
    "contexts": [{"path": "/srv/instances/worker-17, context.iso"}],
    "networks": [{"source": "br0"}],
    "vnc": {},
    "image": {
        "uuid": "2ba5c1f7-30d4-4d5e-8b1a-b6b0c8a2a001",
        "version": "5.4-1.7",
        "sha512": "ab" * 64,
        "list": "0d1c1e0e-5d22-4b65-a5b1-9b1a8a3f9f10",
        "list_version": "1.42",
        "endorser": {"dn": '/DC=org/CN=Zoë <zoe@example.org> & "co"', "ca": "/DC=org/CN=Test CA"},
        "expires": "2026-12-24T00:00:00Z",
    },
}


def matrix(**rows: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """A matrix that allows every mode; `rows` changes facts of modes."""
    common = {"ok": True, "root_by": "label", "ide_noprobe": False, "console": "hvc0", "disk": "xvda", "reasons": []}
    modes = {
        "kvm": {**common, "entry": 0, "console": "ttyS0", "disk": "vda"},
        "xen_hvm": {**common, "entry": 0, "console": "ttyS0"},
        "xen_para": {**common, "entry": 1},
        "xen_pvh": {**common, "entry": 1},
    }
    return {"matrix": {mode: {**facts, **rows.get(mode, {})} for mode, facts in modes.items()}}


@pytest.fixture
def make() -> Make:
    """The machine in a mode, with other options; `facts` changes what the matrix says of modes. None leaves out."""

    def build(mode: str, facts: t.Optional[dict[str, t.Any]] = None, **options: t.Any) -> Machine:
        wanted = {**copy.deepcopy(OPTIONS), "mode": mode, **options}
        return Machine.from_options(wanted, matrix(**(facts or {})))

    return build
