# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lets somebody in, or tells a secret, is found where nobody expects it; what only looks like it is not."""

from __future__ import annotations

import os
import stat
import typing as t
from datetime import datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.auditing import Wanted, audit
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
BASE64 = "b3BlbnNzaC1rZXktdjEA"
KEY = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BASE64}\n-----END OPENSSH PRIVATE KEY-----\n"
HASH = "$y$j9T$saltsaltsalt$V3rySecretHashV3rySecretHashV3rySecretHash"

CLEAN: t.Final = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/nonexistent:/bin/sh\n",
    "etc/shadow": "root:*:1::::::\n",
    "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nKbdInteractiveAuthentication no\nUsePAM yes\n"
    "PasswordAuthentication no\nMatch User backup\n PasswordAuthentication yes\n",
    "etc/sudoers": "Defaults env_reset # Defaults !authenticate\n# bob ALL=(ALL) ALL\n"
    "Cmnd_Alias LS = /bin/ls, /bin/df\n%sudo ALL=(ALL:ALL) ALL\n"
    "bob ALL=(root) LS, /bin/cat : B=(root) /bin/ls # ALL\n@includedir /etc/sudoers.d\n",
    "etc/program.py": 'MARK = "-----BEGIN PRIVATE KEY-----\\n" + text\n',
    "etc/environment": "PATH=/bin\nhttp_proxy=http://proxy.example.org:3128\n",
    "etc/apt/sources.list.d/a.list": "deb https://deb.debian.org/debian trixie main\n# https://a:b@c/\n",
    "etc/netplan/50.yaml": "network:\n  wifis:\n    w:\n      auth: {key-management: psk, client-key: /a}\n",
    "etc/systemd/network/lan.network": "[Match]\nName=e*\n",
    "etc/NetworkManager/system-connections/lan": "[802-1x]\nprivate-key=/etc/x.pem\nprivate-key-password-flags=1\n",
    "etc/udev/rules.d/60-disk.rules": 'SUBSYSTEM=="block", ATTR{address}=="", MODE="0660"\n',
    "usr/sbin/sshd": "",
    "var/lib/dpkg/status": "Package: openssh-server\nStatus: install ok installed\nVersion: 1:10.0p1-7\n",
}

#: The check that finds each, and what makes sshd or sudo look there.
PLANTED: t.Final[list[tuple[str, str, str]]] = [
    ("P01", "var/lib/extrausers/shadow", f"eve:{HASH}:1::::::\n"),
    ("P05", "var/backups/shadow.bak", f"eve:{HASH}:1::::::\n"),
    ("P05", "etc/cloud/cloud.cfg.d/99-installer.cfg", f"users:\n- passwd: {HASH}\n"),
    ("P05", "etc/apache2/.htpasswd", f"eve:{HASH}\n"),
    ("P06", "etc/keys/root", "ssh-ed25519 AAAA eve\n"),
    ("P06", "etc/authority.pub", "ssh-ed25519 AAAA eve\n"),
    ("P06", "etc/dropbear/initramfs/authorized_keys", "ssh-ed25519 AAAA eve\n"),
    ("P07", "usr/local/etc/ssh/ssh_host_rsa_key", KEY),
    ("P07", "usr/share/server", KEY),
    ("P12", "root/.oidc-agent/token", "x"),
    ("P13", "etc/http.keytab", "x"),
    ("P14", "etc/apt/auth.conf.d/vo.conf", "machine a login b password c\n"),
    ("P14", "etc/apt/sources.list.d/vo.list", "deb https://eve:secret@apt.example.org/ x main\n"),
    ("P14", "etc/yum.repos.d/vo.repo", "[vo]\npassword = secret\n"),
    ("P14", "etc/profile.d/proxy.sh", "export http_proxy=http://eve:secret@proxy:3128\n"),
    ("P14", "etc/fstab", "//server/share /mnt cifs username=eve,password=secret 0 0\n"),
    ("P14", "etc/kubernetes/admin.conf", "client-key-data: x\n"),
    ("P14", "etc/munge/munge.key", "x"),
    ("P14", "root/.config/containers/auth.json", "{}\n"),
    ("P15", "data/key.pem", KEY),
    ("P15", "boot/key.pem", KEY),
    ("P15", "usr/local/share/key.pem", KEY),
    ("P15", "opt/account.json", f'{{"private_key": "-----BEGIN PRIVATE KEY-----\\n{BASE64}\\n"}}\n'),
    ("P15", "etc/secret.yaml", f"key: |\n  -----BEGIN RSA PRIVATE KEY-----\n  {BASE64}\n"),
    ("P15", "srv/key.ppk", "PuTTY-User-Key-File-3: ssh-ed25519\n"),
    ("P16", ".bash_history", "ls\n"),
    ("P16", "root/.ash_history", "ls\n"),
    ("P16", "root/.local/share/fish/fish_history", "ls\n"),
    ("P17", "var/lib/tailscale/tailscaled.state", "x"),
    ("P18", "var/lib/dhcpcd/eth0.lease", "x"),
    ("P18", "boot/efi/loader/random-seed", "x"),
    ("P18", "etc/udev/rules.d/10-net.rules", 'SUBSYSTEM=="net", ATTR{address}=="00:16:3e:00:00:01", NAME="a"\n'),
    ("P18", "etc/netplan/60.yaml", "network: {ethernets: {a: {match: {macaddress: '00:16:3e:00:00:01'}}}}\n"),
    ("P18", "etc/systemd/network/a.network", "[Match]\nPermanentMACAddress=00:16:3e:00:00:01\n"),
    ("P19", "etc/NetworkManager/system-connections/w", "[wireguard]\nprivate-key=AAAA=\n"),
    ("P19", "usr/lib/NetworkManager/system-connections/w", "[wifi-security]\npsk=secret\n"),
    ("P19", "etc/netplan/70.yaml", "network: {wifis: {w: {access-points: {a: {password: 'secret'}}}}}\n"),
    ("P19", "etc/network/interfaces.d/w", "iface w inet dhcp\n  wpa-psk secret\n"),
    ("P19", "etc/systemd/network/w.netdev", "[WireGuard]\nPrivateKey=AAAA\n"),
    ("P19", "var/lib/iwd/home.psk", "[Security]\nPassphrase=secret\n"),
    ("P20", "var/lib/cloud/seed/nocloud/user-data", "#cloud-config\n"),
    ("P21", "var/log/installer/cdebconf/passwords.dat", "Value: secret\n"),
    ("P22", "var/spool/at/a0001", "rm x\n"),
    ("P22", "var/spool/postfix/deferred/A/ABC", "x\n"),
    ("P22", "root/Maildir/new/1", "x\n"),
    ("P26", "etc/ssh/sshd_config.d/z.conf", "Match all\n PermitRootLogin yes\n"),
    ("P27", "etc/sudoers.d/a", "eve ALL=(ALL) \\\n  NOPASSWD: /bin/ls\n"),
    ("P27", "etc/sudoers.d/b", "#1000 ALL=(ALL) ALL\n"),
    ("P27", "etc/sudoers.d/c", "Defaults:eve !authenticate\n"),
    ("P27", "etc/sudoers.d/d", "eve ALL=(ALL) SETENV: ALL, !/bin/su\n"),
    ("P27", "etc/sudoers.d/e", "Cmnd_Alias ONE = ALL : TWO = ONE\neve, adam ALL = TWO\n"),
    ("P27", "etc/more.d/f", "eve A=(root) /bin/ls : B=(ALL) ALL\n"),
    ("P27", "etc/doas.conf", "permit nopass eve\n"),
    ("P39", "etc/ld.so.preload", "/lib/evil.so\n"),
]
POINTERS: t.Final = {
    "etc/ssh/sshd_config.d/a.conf": "AuthorizedKeysFile /etc/keys/%u\nTrustedUserCAKeys /etc/authority.pub\n"
    "HostKey /usr/share/server\nHostKey /etc/passwd\n",
    "etc/sudoers.d/include": "#includedir /etc/more.d\n",
}


def lay(tree: Path, given: t.Iterable[tuple[str, str]]) -> Path:
    old = os.umask(0o022)
    try:
        for name, text in given:
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    finally:
        os.umask(old)
    return tree


def findings(tree: Path) -> dict[str, dict[str, list[str]]]:
    """The texts of the findings by check and path."""
    with Root(tree) as root:
        report = audit(root, Wanted(), check=False, now=NOW).data["report"]
    found: dict[str, dict[str, list[str]]] = {}
    for check in report["checks"]:
        for finding in check["findings"]:
            found.setdefault(check["id"], {}).setdefault(finding["path"], []).append(finding["text"])
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    tree = lay(tmp_path_factory.mktemp("planted") / "system", CLEAN.items())
    lay(tree, POINTERS.items())
    return findings(lay(tree, [row[1:] for row in PLANTED]))


@pytest.mark.parametrize(("check", "path"), [row[:2] for row in PLANTED])
def test_it_is_found_where_nobody_expects_it(found: dict[str, dict[str, list[str]]], check: str, path: str) -> None:
    assert f"/{path}" in found.get(check, {})
    assert not any(word in str(found) for word in ("secret123", "V3rySecret", BASE64))


def test_an_image_does_not_choose_what_a_repair_removes(found: dict[str, dict[str, list[str]]]) -> None:
    assert "/etc/passwd" not in found["P07"]


def test_what_only_looks_like_it_is_not_found(tmp_path: Path) -> None:
    told = findings(lay(tmp_path / "system", CLEAN.items()))
    assert not set(told) & {row[0] for row in PLANTED}


@pytest.mark.parametrize(
    ("line", "check"),
    [
        ("eve:x: 0: 0::/:/bin/sh", "P04"),
        ("eve:x:0:0:", "P04"),
        ("eve:x:-1:0::/:/bin/sh", "P04"),
        ("eve:x:70000:70000::/srv/eve:/bin/bash", "P03"),
    ],
)
def test_an_account_that_only_the_c_library_understands_is_found(tmp_path: Path, line: str, check: str) -> None:
    tree = lay(tmp_path / "system", CLEAN.items())
    lay(tree, [("etc/passwd", CLEAN["etc/passwd"] + line + "\n")])
    assert any("eve" in text for text in findings(tree).get(check, {}).get("/etc/passwd", []))


def test_passwords_by_way_of_pam_are_found(tmp_path: Path) -> None:
    tree = lay(tmp_path / "system", CLEAN.items())
    lay(tree, [("etc/ssh/sshd_config", "UsePAM yes\nPasswordAuthentication no\n")])
    assert "by way of PAM" in str(findings(tree)["P26"])


def test_the_default_of_an_old_sshd_lets_root_in(tmp_path: Path) -> None:
    tree = lay(tmp_path / "system", CLEAN.items())
    lay(tree, [("var/lib/dpkg/status", CLEAN["var/lib/dpkg/status"].replace("1:10.0p1-7", "1:6.7p1-5"))])
    assert "lets root in" in str(findings(tree)["P26"])


def test_a_device_node_outside_of_dev_is_found(tmp_path: Path) -> None:
    tree = lay(tmp_path / "system", CLEAN.items())
    os.mknod(tree / "etc/disk", stat.S_IFBLK | 0o600, os.makedev(7, 7))
    assert "/etc/disk" in findings(tree)["P39"]


def test_more_than_anybody_looks_at_blocks_and_is_repaired_in_part(tmp_path: Path) -> None:
    tree = lay(tmp_path / "system", CLEAN.items())
    lay(tree, [("root/.ssh/authorized_keys", "ssh-rsa AAAA\n" * 20_001), ("etc/kept", "x")])
    waivers = [{"check": "P06", "path": "/root/*", "reason": "they are ours", "until": "2999-12-31"}]
    with Root(tree) as root:
        told = audit(root, Wanted(waivers=waivers), check=False, now=NOW).data["report"]
        assert next(check["result"] for check in told["checks"] if check["id"] == "P06") == "fail"
        done = audit(root, Wanted(fix=True), check=False, now=NOW)
    assert [item["path"] for item in done.actions if item["action"] == "removed"] == ["/root/.ssh/authorized_keys"]
    assert (tree / "etc/kept").exists()
