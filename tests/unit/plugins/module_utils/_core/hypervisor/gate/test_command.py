# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`vmimages gate`: its configuration, what it says and to whom, how it ends, and what it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core import main as command
from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.gate import settings

from .conftest import APPROVED, BLACKLISTED, ISO, UUID, Site, disk_xml, domain_xml

pytestmark = pytest.mark.needs("qemu-img")

MODULE_UTILS = Path(command.__file__).resolve().parents[1]
Write = Callable[..., str]


@pytest.fixture
def config(site: Site, configuration: Write) -> str:
    """The configuration of the site's gate."""
    return configuration(state_dir=str(site.world.state), records_dir=str(site.settings.records_dir))


def start(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """The command as a hook starts it, cold."""
    return subprocess.run(
        [sys.executable, "-m", "_core.main", "gate", *arguments],
        input=text,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(MODULE_UTILS)},
        check=False,
        timeout=60,
    )


def test_a_hook_gets_its_answer_from_the_exit_status(site: Site, config: str) -> None:
    good, bad = (domain_xml(disk_xml(site.overlay(site.files[name], name=name))) for name in (APPROVED, BLACKLISTED))
    done = start("--config", config, "--quiet", text=good)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = start("--config", config, "--quiet", text=bad)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("vmimages: worker-17 may not start: blacklisted: Disk vda: ")
    assert done.stderr.count("\n") == 1


def test_it_loads_little_and_needs_no_library(site: Site, config: str) -> None:
    file = site.directory / "domain.xml"
    file.write_text(domain_xml(disk_xml(site.overlay(site.files[APPROVED]))))
    code = (
        "import sys; from _core.main import main; main(sys.argv[1:]);"
        "print({'cryptography', 'requests', 'urllib3', 'socket', 'libvirt'} & set(sys.modules), len(sys.modules) < 300)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "gate", "--config", config, "--domain", str(file), "--quiet"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(MODULE_UTILS)},
        check=True,
        timeout=60,
    )
    assert done.stdout == "set() True\n"


def test_any_manager_may_ask_about_disks(site: Site, config: str, capfd: pytest.CaptureFixture[str]) -> None:
    overlay, iso = site.overlay(site.files[APPROVED]), site.directory / "context.iso"
    iso.write_bytes(ISO)
    site.record(overlay, kind="overlay", contexts=(str(iso),))

    def ask(*arguments: str) -> tuple[int, str]:
        code = command.main(["gate", "--config", config, *arguments])
        out, err = capfd.readouterr()
        return code, out + err

    assert ask("--disk", f"qcow2:{overlay}", "--iso", str(iso), "--uuid", UUID) == (0, "the machine may start\n")
    code, said = ask("--disk", str(overlay), "--name", "one-42")
    assert code == 1 and said.startswith("vmimages: one-42 may not start: disk_foreign: ")
    code, said = ask("--disk", f"qcow2:{overlay}", "--json", "--name", "one-42")
    assert (code, json.loads(said)["disks"][0]["image"]["identifier"]) == (0, APPROVED)


def test_a_warning_policy_ends_with_zero_and_says_it(site: Site, configuration: Write) -> None:
    config = configuration(policy="warn", state_dir=str(site.world.state))
    done = start("--config", config, text=domain_xml(disk_xml("/nowhere", "raw")))
    assert done.returncode == 0
    assert done.stderr.startswith("vmimages: warning: worker-17 may not start: not_found: ")


@pytest.mark.parametrize("text", ["", "<domain/>", "no XML", "<!DOCTYPE x><domain><name>x</name></domain>"])
def test_what_is_no_domain_is_refused(config: str, text: str) -> None:
    done = start("--config", config, text=text)
    assert done.returncode == 1
    assert done.stderr.startswith("vmimages: domain_unreadable: ") and done.stderr.count("\n") == 1


def test_a_name_cannot_write_lines(site: Site, config: str) -> None:
    done = start("--config", config, text=domain_xml(disk_xml("/nowhere", "raw"), name="x&#10;&#x9b;y"))
    assert done.stderr.startswith("vmimages: x\ufffd\ufffdy may not start: ") and done.stderr.count("\n") == 1


WRONG: t.Final = [
    "{",
    "[]",
    '{"policy": "off"}',
    '{"policy": "warn", "policy": "warn"}',
    '{"state_dir": "relative"}',
    '{"names": "infra-*"}',
    '{"names": [7]}',
    '{"allow": ["everything"]}',
    '{"max_age": 3}',
    '{"max_age": "soon"}',
    '{"overlays": null}',
    '{"exempt": []}',
]


@pytest.mark.parametrize("text", WRONG)
def test_a_configuration_that_is_not_understood_refuses(configuration: Write, text: str) -> None:
    with pytest.raises(VmimagesError) as caught:
        settings.load(configuration(text))
    assert caught.value.code == "gate_invalid"


def test_a_configuration_that_others_may_write_refuses_even_if_it_would_warn(
    site: Site, configuration: Write, tmp_path: Path
) -> None:
    xml = domain_xml(disk_xml(site.overlay(site.files[APPROVED])))
    loose = configuration(policy="warn", state_dir=str(site.world.state), mode=0o664)
    done = start("--config", loose, text=xml)
    assert done.returncode == 1 and done.stderr.startswith("vmimages: gate_unsafe: ")
    safe = configuration(state_dir=str(site.world.state))
    assert start("--config", safe, text=xml).returncode == 0
    tmp_path.chmod(0o777)
    assert start("--config", safe, text=xml).returncode == 1
    tmp_path.chmod(0o755)
    assert start("--config", str(tmp_path / "nowhere.json"), text=xml).stderr.startswith("vmimages: not_found: ")


def test_every_key_of_the_configuration_is_read(configuration: Write) -> None:
    found = settings.load(
        configuration(
            policy="warn",
            state_dir="/srv/state",
            records_dir="/srv/records",
            max_age="12h",
            names=["infra-*"],
            uuids=[UUID],
            iso_directories=["/srv/isos"],
            allow=["network_disks"],
            overlays="record",
        )
    )
    assert (found.policy, found.overlays, found.names, found.uuids) == ("warn", "record", ("infra-*",), (UUID,))
    assert (str(found.state_dir), str(found.records_dir)) == ("/srv/state", "/srv/records")
    assert found.max_age is not None and found.max_age.total_seconds() == 43200
    assert [str(one) for one in found.iso_directories] == ["/srv/isos"]
    assert found.allow == {"network_disks"}


#: A /dev of its own, in which somebody listens where syslog's daemon would.
_LISTEN: t.Final = """
import socket, subprocess, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("/dev/log")
listener.settimeout(20)
subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(listener.recv(4096).decode())
"""


@pytest.mark.needs("root", "unshare", "mount")
def test_every_answer_is_told_to_the_hosts_log(site: Site, config: str) -> None:
    def logged(xml: str) -> str:
        file = site.directory / "domain.xml"
        file.write_text(xml)
        gate = [sys.executable, "-m", "_core.main", "gate", "--config", config, "--operation", "prepare", "--domain"]
        private = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 666 /dev/urandom c 1 9 && "$@"'
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", private, "sh", sys.executable, "-c", _LISTEN, *gate, str(file)],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(MODULE_UTILS)},
            check=True,
            timeout=60,
        )
        return done.stdout

    told = logged(domain_xml(disk_xml(site.overlay(site.files[APPROVED]))))
    assert "vmimages-gate[" in told and f"allowed operation=prepare domain=worker-17 uuid={UUID}" in told
    assert f"vda={APPROVED}" in told
    told = logged(domain_xml(disk_xml("/nowhere", "raw")))
    assert "refused operation=prepare domain=worker-17" in told and "not_found: Disk vda:" in told
    assert "refused operation=prepare: domain_unreadable" in logged("nothing")
    # A name of somebody's own choice adds no field, and ends none.
    name = 'worker" uuid=1 user=0 vda=2'
    told = logged(domain_xml(disk_xml("/nowhere", "raw")).replace("<name>worker-17<", f"<name>{name}<"))
    assert f'domain="worker\\" uuid=1 user=0 vda=2" uuid={UUID} ' in told
