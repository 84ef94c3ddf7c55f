# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role hypervisor, applied to a root tree as it is when the image of a node is built.

The cache is the role image_cache's, which has tests of its own: its tasks are left out here, by their tag.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import typing as t
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ansible_collections.hepix.vmimages.plugins.module_utils import _core as core
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.gate import settings

pytestmark = pytest.mark.needs("root", "/usr/bin/python3")

ROLES = Path(__file__).resolve().parents[2] / "roles"
ROLE = ROLES / "hypervisor"
HOOK = "etc/libvirt/hooks/qemu.d/50-hepix-vmimages"
UNITS = "etc/systemd/system"
RECAP = re.compile(r"localhost +: +ok=\d+ +changed=(\d+) +unreachable=0 +failed=0")


@dataclass
class Tree:
    """A root tree with the environment that the cache has made, and the role for it."""

    root: Path
    run_playbook: t.Any

    def run(self, *options: str, **variables: t.Any) -> subprocess.CompletedProcess[str]:
        given = {
            "hypervisor_root": str(self.root),
            "hypervisor_relay": {"uri": "https://cache.example.org/relay.list", "identifier": "0"},
            "hypervisor_proxy": "http://squid.example.org:3128",
            "hypervisor_names": ["infra-*"],
            "hypervisor_max_age": "12h",
            # One of each says as much as all, and a task takes its time for each of them.
            "hypervisor_hooks": [f"/{HOOK}"],
            "hypervisor_services": ["libvirtd"],
            **variables,
        }
        playbook = self.root.parent / "play.yml"
        play = {"name": "Apply", "hosts": "localhost", "gather_facts": False, "roles": ["hepix.vmimages.hypervisor"]}
        playbook.write_text(yaml.safe_dump([play]))
        done = self.run_playbook(
            playbook, "--skip-tags", "hypervisor_cache", *options, "-e", json.dumps(given),
            ANSIBLE_PIPELINING="true",
        )  # fmt: skip
        assert "[WARNING]" not in done.stdout + done.stderr
        return t.cast("subprocess.CompletedProcess[str]", done)

    def changes(self, *options: str, **variables: t.Any) -> int:
        """How many tasks of a run that must succeed have changed something."""
        done = self.run(*options, **variables)
        recap = RECAP.search(done.stdout)
        assert done.returncode == 0 and recap is not None, done.stdout + done.stderr
        return int(recap.group(1))

    def listing(self) -> dict[str, tuple[int, int]]:
        return {
            str(path.relative_to(self.root)): (path.lstat().st_mode, path.lstat().st_mtime_ns)
            for path in self.root.rglob("*")
        }

    def lines(self, name: str) -> list[str]:
        return (self.root / name).read_text().splitlines()


@pytest.fixture(scope="module")
def tree(run_playbook: t.Any) -> Iterator[Tree]:
    """After: check, run."""
    with tempfile.TemporaryDirectory(prefix="vmimages-node-") as directory:
        root = Path(directory) / "root"
        (root / "etc/hepix-vmimages").mkdir(parents=True)
        (root / "usr/bin").mkdir(parents=True)
        environment = root / "opt/hepix-vmimages"
        subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", environment], check=True, timeout=60)
        (packages,) = environment.glob("lib/python3*/site-packages")
        (packages / "vmimages").symlink_to(Path(core.__path__[0]))
        tree = Tree(root, run_playbook)
        before = tree.listing()
        assert tree.changes("--check") > 0
        assert {name: found for name, found in tree.listing().items() if "__pycache__" not in name} == before
        assert tree.changes() > 0
        yield tree


def test_the_second_time_nothing_changes(tree: Tree) -> None:
    assert tree.changes() == 0


def test_the_gate_understands_what_the_role_was_told(tree: Tree) -> None:
    found = settings.load(str(tree.root / "etc/hepix-vmimages/gate.json"))
    assert (found.policy, found.names, found.overlays) == ("enforce", ("infra-*",), "chain")
    assert found.max_age is not None and found.max_age.total_seconds() == 43200
    assert (str(found.state_dir), str(found.records_dir)) == ("/var/lib/hepix-vmimages", "/var/lib/hepix-instances")
    assert (tree.root / "var/lib/hepix-instances").stat().st_mode & 0o777 == 0o755


def test_the_hook_is_there_and_asks_the_gate(tree: Tree) -> None:
    hook = tree.root / HOOK
    assert hook.stat().st_mode & 0o777 == 0o755
    subprocess.run(["sh", "-n", hook], check=True)
    assert "exec /opt/hepix-vmimages/bin/python3 -I -m vmimages.main gate" in hook.read_text()


def test_libvirt_sees_the_cache_read_only_and_a_timer_ends_machines(tree: Tree) -> None:
    drop_in = tree.lines(f"{UNITS}/libvirtd.service.d/hepix-vmimages.conf")
    assert drop_in[-2:] == ["[Service]", "ReadOnlyPaths=-/var/lib/hepix-vmimages"]
    service, timer = (tree.lines(f"{UNITS}/hepix-vmimages-expire.{kind}") for kind in ("service", "timer"))
    (start,) = [line for line in service if line.startswith("ExecStart=")]
    assert " stop --expired --grace 1h --connect qemu:///system --config /etc/hepix-vmimages/gate.json" in start
    assert "OnCalendar=*:0/10" in timer
    wanted = tree.root / UNITS / "timers.target.wants/hepix-vmimages-expire.timer"
    assert wanted.readlink() == Path("/etc/systemd/system/hepix-vmimages-expire.timer")
    assert str(tree.root) not in "\n".join(service + timer)


@pytest.mark.needs("systemd-analyze")
def test_systemd_accepts_the_units(tree: Tree) -> None:
    # It looks for the interpreter, which the environment's own links to.
    (tree.root / "usr/bin/python3").touch(0o755)
    names = [f"hepix-vmimages-expire.{kind}" for kind in ("service", "timer")]
    command = ["systemd-analyze", "--no-pager", f"--root={tree.root}", "verify", "--man=no", "--recursive-errors=no"]
    done = subprocess.run([*command, *names], check=False, text=True, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_hook_is_not_replaced(tree: Tree) -> None:
    hook = tree.root / "etc/libvirt/hooks/qemu"
    hook.write_text("#!/bin/sh\nexit 0\n")
    done = tree.run("--check", hypervisor_hooks=["/etc/libvirt/hooks/qemu"])
    assert done.returncode != 0 and "is another hook" in done.stdout + done.stderr


def test_what_cannot_be_is_refused_in_words(tree: Tree) -> None:
    done = tree.run("--check", hypervisor_records_dir="/var/lib/hepix-vmimages/records")
    assert done.returncode != 0 and "outside of the state" in done.stdout + done.stderr
    done = tree.run("--check", hypervisor_grace="1h30m")
    assert done.returncode != 0 and "hypervisor_grace: 1h30m is not a duration" in done.stdout + done.stderr


def test_taken_away_nothing_stays_but_the_data(tree: Tree) -> None:
    assert tree.changes(hypervisor_state="absent") > 0
    left = {str(path.relative_to(tree.root)) for path in tree.root.rglob("*hepix*") if "opt/" not in str(path)}
    assert left == {"etc/hepix-vmimages", "var/lib/hepix-instances"}
    assert list((tree.root / "etc/hepix-vmimages").iterdir()) == []


@pytest.mark.parametrize("name", ["present", "absent"])
def test_what_is_handed_to_the_role_image_cache_is_known_there(name: str) -> None:
    known = yaml.safe_load((ROLES / "image_cache/meta/argument_specs.yml").read_text())["argument_specs"]["main"]
    tasks = yaml.safe_load((ROLE / f"tasks/{name}.yml").read_text())
    (given,) = [task["vars"] for task in tasks if "ansible.builtin.include_role" in task]
    assert set(given) - set(known["options"]) == set()
