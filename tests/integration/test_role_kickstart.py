# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kickstart files of the role multi_hypervisor: valid for each release by its own rules, and without a hash."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

RELEASES = (5, 6, 7, 8, 9, 10)
PLAY = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - name: Prepare an installation
      ansible.builtin.include_role:
        name: hepix.vmimages.multi_hypervisor
      vars:
        multi_hypervisor_kickstart:
          dest: "{{ directory }}/el{{ item }}.ks"
          release: "{{ item | int }}"
          name: "build{{ item }}"
          image: /srv/images/el.img
          url: https://mirror.example.org/el/
      loop: [5, 6, 7, 8, 9, 10]
    - name: Tell the command
      ansible.builtin.debug:
        msg: "COMMAND {{ multi_hypervisor_result.command | join('|') }}"
"""


@pytest.fixture(scope="module")
def written(run_playbook: t.Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The directory with a file for each release, and what was said."""
    directory = tmp_path_factory.mktemp("kickstart")
    playbook = directory / "play.yml"
    playbook.write_text(PLAY)
    done = run_playbook(str(playbook), "-e", f"directory={directory}")
    assert done.returncode == 0, done.stdout + done.stderr
    return directory, done.stdout


@pytest.mark.parametrize("release", RELEASES)
def test_the_installer_of_the_release_takes_the_answers(written: tuple[Path, str], release: int) -> None:
    path = written[0] / f"el{release}.ks"
    validator = Path(sys.executable).with_name("ksvalidator")
    done = subprocess.run(
        [sys.executable, str(validator), "-v", f"RHEL{release}", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "TMPDIR": str(written[0])},
    )
    said = [row for row in (done.stdout + done.stderr).splitlines() if row and not row.startswith("Checking")]
    assert (done.returncode, said) == (0, [])
    text = path.read_text()
    assert not re.search(r"\$[0-9a-z]{1,3}\$", text) and "volgroup" not in text
    parts = [row.split()[1] for row in text.splitlines() if row.startswith("part ")]
    assert parts == ["/boot", "swap", "/"] and "--initlabel" in text
    assert ("kernel-xen" in text) is (release == 5)


def test_the_command_installs_on_a_raw_disk(written: tuple[Path, str]) -> None:
    command = re.findall(r"COMMAND ([^\"]+)", written[1])[-1].split("|")
    assert command[0] == "virt-install"
    assert "--disk=path=/srv/images/el.img,size=10,format=raw,bus=virtio" in command
    assert f"--initrd-inject={written[0]}/el10.ks" in command
    assert "--extra-args=inst.ks=file:/el10.ks console=ttyS0,115200" in command


@pytest.mark.needs("shellcheck")
def test_the_script_that_makes_a_debian_reads_no_argument_as_its_own() -> None:
    script = Path(__file__).parents[2] / "roles/multi_hypervisor/files/debian.sh"
    done = subprocess.run(
        ["shellcheck", "-s", "sh", str(script)], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")
