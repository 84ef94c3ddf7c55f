# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Debian as an endorser would make it: nothing is found in it, and then one planted violation of every row."""

from __future__ import annotations

import json
import shutil
import subprocess
import typing as t
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.auditing import Wanted, audit
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.inputs import read_inputs
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.table import TABLE
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

PACKAGES: t.Final = "systemd-sysv,openssh-server,rsyslog,chrony,auditd,sudo,nftables"
HASH: t.Final = "$6$saltsalt$V3rySecretHashV3rySecretHashV3rySecretHash"
KEY: t.Final = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAsecret\n-----END OPENSSH PRIVATE KEY-----\n"
IDENTITY: t.Final = dict.fromkeys(("uuid", "title", "version", "created", "endorser"), "x")

#: What a script that is in the image would do at its first start, and what an endorser writes.
BUILT: t.Final = {
    "etc/ssh/sshd_config.d/hepix.conf": "PermitRootLogin prohibit-password\nPasswordAuthentication no\n",
    "etc/systemd/system/ssh-keygen.service": "[Service]\nExecStart=/usr/bin/ssh-keygen -A\n",
    "etc/systemd/system/sysinit.target.wants/hepix-context-prologue.service": "[Unit]\n",
    "etc/fstab": "LABEL=root / ext4 errors=remount-ro 0 1\n",
    "etc/hepix-image.json": json.dumps(IDENTITY),
    "boot/vmlinuz-6.1.0-1-amd64": "",
    "boot/grub/grub.cfg": "menuentry 'one' {\n linux /boot/vmlinuz-6.1.0-1-amd64 root=LABEL=root\n}\n",
}

#: The file of the finding, and what is planted in it: added at its end, if it is there already.
PLANTED: t.Final = {
    "P01": ("etc/shadow", f"vo:{HASH}:1::::::\n"),
    "P03": ("etc/passwd", "anna:x:1000:1000::/srv/anna:/bin/bash\n"),
    "P04": ("etc/passwd", "toor:x:0:0::/root:/bin/sh\n"),
    "P05": ("etc/gshadow-", f"vo:{HASH}::\n"),
    "P06": ("srv/anna/.ssh/authorized_keys", "ssh-rsa AAAA x\n"),
    "P07": ("etc/ssh/ssh_host_rsa_key", "x"),
    "P09": ("root/.ssh/deploy", KEY),
    "P10": ("etc/grid-security/hostcert.pem", "x"),
    "P11": ("etc/ssl/private/server.key", "x"),
    "P12": ("tmp/x509up_u500", "x"),
    "P13": ("etc/krb5.keytab", "x"),
    "P14": ("srv/anna/.aws/credentials", "x"),
    "P15": ("opt/vo/service.pem", KEY),
    "P16": ("srv/anna/.bash_history", "mysql -psecret\n"),
    "P17": ("etc/salt/pki/minion/minion.pem", "x"),
    "P18": ("etc/udev/rules.d/70-persistent-net.rules", 'SUBSYSTEM=="net", NAME="eth0"\n'),
    "P19": ("etc/wpa_supplicant/a.conf", ' psk="secret"\n'),
    "P20": ("var/lib/cloud/instances/i/data", "x"),
    "P21": ("root/anaconda-ks.cfg", "x"),
    "P22": ("var/log/messages", "x"),
    "P23": ("etc/hosts.bak", "x"),
    "P26": ("etc/ssh/sshd_config.d/a.conf", "PasswordAuthentication yes\n"),
    "P27": ("etc/sudoers.d/vo", "vo ALL=(ALL) NOPASSWD: ALL\n"),
    "P28": ("etc/rsyslog.conf", "auth.*\t~\n"),
    "P36": ("etc/apt/apt.conf.d/99vo", 'APT::Get::AllowUnauthenticated "true";\n'),
    "P38": ("usr/bin/perl", "another program"),
    "P40": ("root/.rhosts", "+ +\n"),
    "P41": ("etc/systemd/system/multi-user.target.wants/cups.service", "[Unit]\n"),
    "P46": ("srv/anna/notes", "\nunpublished\n"),
}
#: The same by a command in the tree; the finding is at the second.
BY_COMMAND: t.Final = {
    "P02": ("sed -i 's,^root:[^:]*:,root:$1$salt$secretsecret:,' etc/shadow", "/etc/shadow"),
    "P08": ("rm etc/systemd/system/ssh-keygen.service", "/usr/sbin/sshd"),
    "P29": ("sed -i 's,errors=remount-ro,ro,' etc/fstab", "/etc/fstab"),
    "P30": ("rm -f etc/security/access.conf etc/hosts.deny usr/sbin/nft usr/sbin/iptables*", "/etc"),
    "P31": ("rm etc/systemd/system/*.wants/chrony.service", "/etc"),
    "P32": ("rm etc/systemd/system/*.wants/auditd.service", "/etc"),
    "P39": ("mkdir -p opt/vo; cp bin/ls opt/vo/ls; chmod 4755 opt/vo/ls", "/opt/vo/ls"),
    "P49": ("rm etc/hepix-image.json", "/etc/hepix-image.json"),
    "P51": ("touch boot/vmlinuz-6.1.0-10-amd64", "/boot/grub/grub.cfg"),
    "P52": ("rm etc/systemd/system/sysinit.target.wants/hepix-context-prologue.service", "/etc"),
}
#: These are about the image's file, or about what the endorser gives; the tests of each plant them.
ELSEWHERE: t.Final = {"P24", "P25", "P33", "P34", "P35", "P42", "P43", "P44", "P45", "P47"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Path]:
    """The system, repaired: the directory."""
    tree = tmp_path_factory.mktemp("audit") / "debian"
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", "--dpkgopt=force-unsafe-io"]
    subprocess.run([*command, "bookworm", str(tree)], check=True, timeout=600, stdin=subprocess.DEVNULL)
    lay(tree, BUILT)
    look(tree, fix=True)
    for path in [*(tree / "var/log").rglob("*"), *(tree / "var/cache/apt/archives").glob("*.deb")]:
        if path.is_file():
            path.unlink()
    yield tree
    shutil.rmtree(tree)


def lay(tree: Path, given: t.Mapping[str, str]) -> None:
    for name, text in given.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as file:
            file.write(text)


def look(tree: Path, *, fix: bool = False) -> dict[str, t.Any]:
    beside = tree.parent
    (beside / "flaws.json").write_text('{"base-files": "1"}')
    (beside / "patterns").write_text("^unpublished$\n")
    asked, given = read_inputs(vulnerabilities=str(beside / "flaws.json"), patterns=str(beside / "patterns"))
    with Root(tree) as root:
        wanted = Wanted(asked=asked, given=given, fix=fix)
        return t.cast(
            "dict[str, t.Any]", audit(root, wanted, check=False, now=datetime.now(timezone.utc)).data["report"]
        )


def test_nothing_is_found_in_a_clean_system_and_then_what_was_planted(tree: Path) -> None:
    report = look(tree)
    found = {check["id"]: check for check in report["checks"] if check["findings"] or check["why"]}
    assert report["result"] == "pass" and {check["result"] for check in found.values()} <= {"note"}, found
    assert set(PLANTED) | set(BY_COMMAND) | ELSEWHERE == {check.id for check in TABLE}
    for command, _path in BY_COMMAND.values():
        subprocess.run(["sh", "-ec", command], cwd=tree, check=True)
    lay(tree, {name: text for name, text in PLANTED.values() if name != "etc/passwd"})
    lay(tree, {"etc/passwd": PLANTED["P03"][1] + PLANTED["P04"][1]})
    report = look(tree)
    paths = {check["id"]: [item["path"] for item in check["findings"]] for check in report["checks"]}
    wanted = {
        **{name: f"/{path}" for name, (path, _text) in PLANTED.items()},
        **{k: p for k, (_c, p) in BY_COMMAND.items()},
    }
    assert {name: path for name, path in wanted.items() if path not in paths[name]} == {}
    assert "V3rySecret" not in json.dumps(report) and "secretsecret" not in json.dumps(report)
