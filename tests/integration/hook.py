# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate's hook in a libvirtd, as the role hypervisor installs it."""

from __future__ import annotations

import json
import subprocess
import typing as t
from pathlib import Path

import jinja2

from ansible_collections.hepix.vmimages.plugins.module_utils import _core as core

from .libvirtd import PYTHON, Libvirtd

_TEMPLATE: t.Final = Path(__file__).resolve().parents[2] / "roles" / "hypervisor" / "templates" / "libvirt-hook.sh.j2"


def rendered(environment: Path, configuration: Path) -> str:
    """The hook as the role installs it."""
    template = jinja2.Template(_TEMPLATE.read_text(), keep_trailing_newline=True)
    return str(template.render(hypervisor_environment=environment, hypervisor_config_dir=configuration))


def install(libvirtd: Libvirtd, place: Path, state: Path, records: Path) -> Path:
    """Install it in a libvirtd, which finds it at its next start, with gate.json in `place`; the gate's environment."""
    environment = place / "environment"
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", environment], check=True, timeout=60)
    (packages,) = environment.glob("lib/python3*/site-packages")
    (packages / "vmimages").symlink_to(Path(core.__path__[0]))
    (place / "gate.json").write_text(json.dumps({"state_dir": str(state), "records_dir": str(records)}))
    installed = libvirtd.hooks / "qemu.d" / "50-hepix-vmimages"
    installed.parent.mkdir()
    installed.write_text(rendered(environment, place))
    installed.chmod(0o755)
    return environment
