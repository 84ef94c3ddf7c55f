# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The readers themselves take the disks of their flavour; and what is told about foreign disks is what they do."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context import disks
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.iso.image import read_image

CHECKOUT = Path(__file__).resolve().parents[7]
#: Unpacked by tests/prepare, since it would configure the machine where it is installed.
CLOUD_INIT = CHECKOUT / ".venv/cloud-init/usr/lib/python3/dist-packages"
IDENTIFY = CHECKOUT / ".venv/cloud-init/usr/lib/cloud-init/ds-identify"
KEY = "ssh-ed25519 AAAA somebody"
HOSTILE = 'it\'s\n$(touch executed) `touch executed` \\ "x"\nPATH=/nowhere'

#: What cloud-init's own readers make of a directory, as JSON.
NOCLOUD = """
import json, sys
from cloudinit import util
needed, further = ["user-data", "meta-data"], ["vendor-data", "network-config"]
found = util.pathprefix2dict(sys.argv[1], required=needed, optional=further)
print(json.dumps({name: util.load_yaml(text) for name, text in found.items()}))
"""
CONFIGDRIVE = """
import json, sys
from cloudinit.sources.DataSourceConfigDrive import read_config_drive
found = read_config_drive(sys.argv[1])
shown = {name: found.get(name) for name in ("version", "metadata", "vendordata")}
print(json.dumps({**shown, "userdata": found["userdata"].decode()}))
"""
OPENNEBULA = """
import json, sys
from cloudinit.sources.DataSourceOpenNebula import read_context_disk_dir
found = read_context_disk_dir(sys.argv[1], distro=None)
print(json.dumps({"metadata": found["metadata"], "userdata": found["userdata"]}))
"""


def unpacked(image: str, tmp_path: Path) -> Path:
    """The files as a guest sees them that mounts the disk; the kernel here may know no iso9660."""
    tree = tmp_path / "mounted"
    tree.mkdir(exist_ok=True)
    subprocess.run(["bsdtar", "-xf", image, "-C", str(tree)], check=True, timeout=30)
    return tree


def ask(program: str, tree: Path) -> dict[str, t.Any]:
    environment = {**os.environ, "PYTHONPATH": str(CLOUD_INIT)}
    command = [sys.executable, "-c", program, str(tree)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, env=environment, cwd=tree)
    return t.cast("dict[str, t.Any]", json.loads(done.stdout))


def verdicts(path: str | Path) -> dict[str, bool]:
    return {name: reading["accepts"] for name, reading in disks.look_at(str(path))["readers"].items()}


OPTIONS: dict[str, t.Any] = {
    "instance_id": "vm-7",
    "hostname": "wn.example.org",
    "ssh_authorized_keys": [KEY],
    "user_data": {"packages": ["nfs-common"]},
    "variables": {"HOSTILE": HOSTILE},
    "scripts": {"prolog": {"content": "#!/bin/sh\n"}},
}


@pytest.mark.needs("bsdtar", str(CLOUD_INIT))
def test_cloud_init_reads_nocloud(workshop: t.Any, tmp_path: Path) -> None:
    options = {**OPTIONS, "variables": None, "scripts": None, "flavours": ["nocloud"]}
    found = workshop.report(**options, vendor_data={"a": 1}, network_config={"version": 2}, meta_data={"role": "wn"})
    assert found["label"] == "cidata" and found["readers"]["cloud_init_nocloud"]["accepts"]
    read = ask(NOCLOUD, unpacked(found["dest"], tmp_path))
    assert read == {
        "meta-data": {"instance-id": "vm-7", "local-hostname": "wn.example.org", "public-keys": [KEY], "role": "wn"},
        "user-data": {"packages": ["nfs-common"]},
        "vendor-data": {"a": 1},
        "network-config": {"version": 2},
    }


@pytest.mark.needs("bsdtar", str(CLOUD_INIT))
def test_cloud_init_reads_configdrive(workshop: t.Any, tmp_path: Path) -> None:
    options = {**OPTIONS, "variables": None, "scripts": None, "flavours": ["configdrive"]}
    found = workshop.report(**options, vendor_data="#cloud-config\n{}\n")
    assert found["label"] == "config-2" and found["readers"]["cloud_init_configdrive"]["accepts"]
    read = ask(CONFIGDRIVE, unpacked(found["dest"], tmp_path))
    assert read["version"] == 2
    assert read["metadata"]["uuid"] == "vm-7" and read["metadata"]["hostname"] == "wn.example.org"
    assert read["metadata"]["public_keys"] == {"key-0": KEY}
    assert read["userdata"].startswith("#cloud-config\n") and "nfs-common" in read["userdata"]
    assert read["vendordata"] == {"cloud-init": "#cloud-config\n{}\n"}


@pytest.mark.needs("bsdtar", "bash", str(CLOUD_INIT))
def test_cloud_init_reads_opennebula_and_executes_nothing(workshop: t.Any, tmp_path: Path) -> None:
    found = workshop.report(**OPTIONS)
    assert found["label"] == "CONTEXT" and found["readers"]["cloud_init_opennebula"]["accepts"]
    tree = unpacked(found["dest"], tmp_path)
    before = sorted(tree.iterdir())
    read = ask(OPENNEBULA, tree)
    assert read["metadata"]["HOSTILE"] == HOSTILE
    assert read["metadata"]["public-keys"] == [KEY]
    assert read["metadata"]["local-hostname"] == "wn.example.org"
    assert read["userdata"] == '#cloud-config\n{\n  "packages": [\n    "nfs-common"\n  ]\n}\n'
    assert sorted(tree.iterdir()) == before


@pytest.mark.needs("blkid", "dash", str(CLOUD_INIT))
@pytest.mark.parametrize(
    ("flavour", "source"), [("opennebula", "OpenNebula"), ("nocloud", "NoCloud"), ("configdrive", "ConfigDrive")]
)
def test_cloud_init_would_be_started_for_the_label(workshop: t.Any, tmp_path: Path, flavour: str, source: str) -> None:
    """ds-identify decides that at boot, from what blkid says of all disks."""
    found = workshop.report(flavours=[flavour], variables={"A": 1} if flavour == "opennebula" else None)
    blkid = subprocess.run(["blkid", "-p", "-o", "export", found["dest"]], check=True, capture_output=True, text=True)
    lines = [line for line in blkid.stdout.splitlines() if not line.startswith("DEVNAME=")]
    exported = "DEVNAME=/dev/vdb\n" + "\n".join(lines) + "\n"
    (tmp_path / "root/run/cloud-init").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "export").write_text(exported)
    for name, text in (("blkid", 'cat "$EXPORT"'), ("systemd-detect-virt", "echo kvm")):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "EXPORT": str(tmp_path / "export"),
        "PATH_ROOT": str(tmp_path / "root"),
        "DEBUG_LEVEL": "0",
        "DI_LOG": "stderr",
    }
    (tmp_path / "root/proc/1").mkdir(parents=True)
    (tmp_path / "root/proc/cmdline").write_text("root=/dev/vda1\n")
    (tmp_path / "root/proc/1/cmdline").write_text("init\0")
    (tmp_path / "root/proc/uptime").write_text("1 1\n")
    done = subprocess.run(
        ["dash", str(IDENTIFY), "--force"], check=False, capture_output=True, text=True, env=environment
    )
    listed = (tmp_path / "root/run/cloud-init/cloud.cfg").read_text()
    assert source in listed, done.stderr


def test_both_disks_hold_the_same_user_data(workshop: t.Any, tmp_path: Path) -> None:
    """cloud-init takes one of them, and nobody should have to know which."""
    second = str(tmp_path / "cidata.iso")
    outcome = workshop.make(**OPTIONS, also=[{"dest": second, "flavours": ["nocloud"]}])
    first, other = (read_image(Path(one["dest"]).read_bytes(), "it") for one in outcome.data["isos"])
    variables = outcome.data["isos"][0]["variables"]
    assert base64.b64decode(variables["USER_DATA"]) == other.entries["user-data"].octets
    assert sorted(other.entries) == ["meta-data", "user-data"]
    assert "user-data" not in first.entries and outcome.warnings == ()
    assert outcome.data["isos"][1]["label"] == "cidata"


def test_amiconfig_gets_the_user_data_as_its_own_variable(workshop: t.Any) -> None:
    found = workshop.report(**{**OPTIONS, "flavours": ["amiconfig"]})
    assert base64.b64decode(found["variables"]["EC2_USER_DATA"]).startswith(b"#cloud-config")
    assert found["readers"]["amiconfig"]["accepts"] and found["readers"]["ucernvm"]["accepts"]


@pytest.mark.needs("bsdtar")
def test_the_disk_of_the_book_is_the_books(workshop: t.Any, tmp_path: Path) -> None:
    """Its chapter 9: variables, files flat beside the scripts, init.sh."""
    found = workshop.report(
        flavours=["hepix"],
        variables={"vmid": 76225, "TTL": 2, "AFS": "off"},
        scripts={"init": {"content": "#!/bin/bash\n"}},
        files=[{"content": "x", "name": name} for name in ("etchosts", "id_rsa.pub", "lsfcontext.conf")],
    )
    tree = unpacked(found["dest"], tmp_path)
    assert sorted(path.name for path in tree.iterdir()) == [
        *("context.sh", "etchosts", "id_rsa.pub", "init.sh", "lsfcontext.conf")
    ]
    assert found["readers"]["book"]["accepts"]
    assert found["found_as"] == {
        "kvm_virtio_disk": "/dev/vdb",
        "kvm_cdrom": None,
        "xen_para_disk": "/dev/xvdb",
        "xen_hvm_cdrom": None,
    }


@pytest.fixture
def opennebulas(tmp_path: Path) -> Path:
    """The files that OpenNebula puts on its context disk."""
    tree = tmp_path / "one"
    tree.mkdir()
    (tree / "context.sh").write_text(
        "# Context variables generated by OpenNebula\nDISK_ID='1'\nETH0_MAC='02:00:c0:a8:64:0b'\n"
        "ROOT_PASSWORD='hunter2'\nSSH_PUBLIC_KEY='ssh-rsa AAAA me'\nSTART_SCRIPT='yum -y update; echo '\\''x'\\'''\n"
    )
    (tree / "init.sh").write_text("#!/bin/bash\n")
    return tree


@pytest.mark.needs("genisoimage", "xorriso")
@pytest.mark.parametrize(
    "command",
    [
        ["genisoimage", "-quiet", "-V", "CONTEXT", "-J", "-R", "-o"],
        ["genisoimage", "-quiet", "-V", "CONTEXT", "-J", "-o"],
        ["genisoimage", "-quiet", "-V", "CONTEXT", "-o"],
        ["xorriso", "-as", "mkisofs", "-quiet", "-V", "CONTEXT", "-J", "-R", "-o"],
        ["xorriso", "-as", "mkisofs", "-quiet", "-V", "CONTEXT", "-o"],
    ],
)
def test_disks_of_other_makers_are_read(opennebulas: Path, tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "one.iso"
    subprocess.run([*command, str(path), str(opennebulas)], check=True, capture_output=True, timeout=60)
    found = disks.look_at(str(path))
    assert found["label"] == "CONTEXT"
    assert [file["path"] for file in found["files"]] == ["context.sh", "init.sh"]
    accepting = {name for name, accepts in verdicts(path).items() if accepts}
    assert accepting == {"book", "vmcontext", "amiconfig", "one_context", "cloud_init_opennebula", "stratuslab"}
    variables = found["variables"]
    assert variables["ETH0_MAC"] == "02:00:c0:a8:64:0b" and variables["SSH_PUBLIC_KEY"] == "ssh-rsa AAAA me"
    assert variables["ROOT_PASSWORD"] is None and variables["START_SCRIPT"] is None
    assert "hunter2" not in json.dumps(found)


@pytest.mark.needs("genisoimage")
@pytest.mark.parametrize(
    ("label", "files", "accepting"),
    [
        ("cidata", {"user-data": "#cloud-config\n", "meta-data": "{}"}, {"cloud_init_nocloud"}),
        ("cidata", {"user-data": "#cloud-config\n"}, set()),
        ("OTHER", {"user-data": "#cloud-config\n", "meta-data": "{}"}, set()),
        (
            "cidata",
            {"user-data": '{"ignition": {"version": "3.4.0"}}', "meta-data": ""},
            {"cloud_init_nocloud", "ignition"},
        ),
        ("config-2", {"openstack/latest/meta_data.json": '{"uuid": "1"}'}, {"cloud_init_configdrive"}),
        ("config-2", {"openstack/latest/meta_data.json": "{}"}, set()),
        ("config-2", {"openstack/latest/meta_data.json": "[]"}, set()),
        ("config-2", {"openstack/latest/user_data": "x"}, {"ucernvm"}),
        ("OTHER", {"ec2/latest/user-data": "x"}, {"amiconfig"}),
        ("OTHER", {"ovf-env.xml": "<Environment/>"}, {"ovf"}),
        ("OTHER", {"user-data.txt": "x"}, {"ucernvm"}),
        ("OTHER", {"epilog.sh": "x"}, {"vmcontext", "amiconfig"}),
        ("OTHER", {"readme": "x"}, set()),
    ],
)
def test_a_reader_takes_a_disk_by_its_label_and_its_files(
    tmp_path: Path, label: str, files: dict[str, str], accepting: set[str]
) -> None:
    tree = tmp_path / "tree"
    for name, text in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    path = tmp_path / "disk.iso"
    subprocess.run(["genisoimage", "-quiet", "-V", label, "-J", "-R", "-o", path, tree], check=True, timeout=60)
    found = disks.look_at(str(path))["readers"]
    assert {name for name, reading in found.items() if reading["accepts"]} == accepting
    assert all(reading["why"].endswith(".") for reading in found.values())


@pytest.mark.needs("genisoimage")
def test_a_context_script_that_executes_is_not_executed_to_be_told(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "context.sh").write_text(f"A=$(touch {tmp_path}/executed)\n")
    subprocess.run(["genisoimage", "-quiet", "-V", "CONTEXT", "-o", tmp_path / "x.iso", tree], check=True, timeout=60)
    assert disks.look_at(str(tmp_path / "x.iso"))["variables"] == {}
    assert not (tmp_path / "executed").exists()
