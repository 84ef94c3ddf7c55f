# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible as a user runs it: commands of this environment, the collection by its name, nothing of the user's own."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix import vmimages

from .libvirtd import Libvirtd, serve


class RunPlaybook(t.Protocol):
    """Runs a playbook (a name such as hepix.vmimages.demo, or a file) against localhost, with this environment."""

    def __call__(
        self, playbook: str | Path, *options: str | Path, timeout: float = 300, **environment: str | Path
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture(scope="session")
def ansible_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment for Ansible's commands; make's collection as installed, else the checkout itself."""
    home = tmp_path_factory.mktemp("ansible")
    # Ansible looks a thousand times a second whether a task has ended: that takes time from the task.
    (home / "ansible.cfg").write_text("[defaults]\ninternal_poll_interval = 0.01\n")
    collections = Path(next(iter(vmimages.__path__))).parent.parent.parent
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "HEPIX_"))}
    return {
        **inherited,
        "ANSIBLE_CALLBACKS_ENABLED": "packed",
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).parent / "callback"),
        "ANSIBLE_COLLECTIONS_PATH": os.environ.get("ANSIBLE_COLLECTIONS_PATH", str(collections)),
        "ANSIBLE_CONFIG": str(home / "ansible.cfg"),
        "ANSIBLE_HOME": str(home / "home"),
        # Ansible's own localhost is meant: no inventory, no connection.
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false",
        "ANSIBLE_LOAD_CALLBACK_PLUGINS": "true",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_REMOTE_TEMP": str(home / "tmp"),
        "VMIMAGES_TEST_PACKED": str(tmp_path_factory.mktemp("packed")),
    }


@pytest.fixture(scope="session")
def run_playbook(ansible_environment: dict[str, str]) -> RunPlaybook:
    """Run a playbook and return what came out of it, whatever its exit status."""

    def run(
        playbook: str | Path, *options: str | Path, timeout: float = 300, **environment: str | Path
    ) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("ansible-playbook")), str(playbook)]
        return subprocess.run(
            [*command, *map(str, options)],
            check=False,
            text=True,
            capture_output=True,
            timeout=timeout,
            env={**ansible_environment, **{name: str(value) for name, value in environment.items()}},
            stdin=subprocess.DEVNULL,
        )

    return run


@pytest.fixture(scope="session")
def libvirtd() -> t.Iterator[Libvirtd]:
    """A libvirtd for all tests of this process, for tests that are marked with what it needs."""
    with serve() as server:
        yield server
