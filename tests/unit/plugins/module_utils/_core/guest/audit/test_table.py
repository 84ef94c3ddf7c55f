# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every row of the table finds its violation in a clean system, and nothing where there is none."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import typing as t
from datetime import date, datetime, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.auditing import Wanted, audit
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.inputs import read_inputs
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.audit.table import TABLE
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
HASH = "$6$saltsalt$V3rySecretHashV3rySecretHashV3rySecretHash"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAAsecret\n-----END OPENSSH PRIVATE KEY-----\n"

IDENTITY = {
    "uuid": "6ad3cb44-9b8e-4b3c-8a4f-0c4d9c2f8d11",
    "title": "worker",
    "version": "1.4",
    "created": "2026-11-20T12:00:00Z",
    "endorser": "/DC=org/CN=A",
}
SSHD = "the program\n"
CONFIG = ("VIRTIO_PCI", "VIRTIO_BLK", "VIRTIO_NET", "EXT4_FS", "SERIAL_8250_CONSOLE")
ENTRY = "menuentry 'one' {\n linux /boot/vmlinuz-6.1.0-9-amd64 root=LABEL=root ro console=ttyS0\n}\n"

CLEAN: t.Final = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "etc/passwd": "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"
    "grid:x:120:120::/srv/g:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\ngrid:!:19000::::::\nnobody:!!:19000::::::\n",
    "etc/gshadow": "root:*::\ngrid:!::\n",
    "etc/group": "root:x:0:\ngrid:x:120:\n",
    "etc/login.defs": "UID_MIN\t\t\t 1000\nUID_MAX\t\t\t60000\n",
    "etc/fstab": "LABEL=root / ext4 errors=remount-ro 0 1\n",
    "etc/machine-id": "",
    "etc/security/opasswd": "",
    "etc/ssh/sshd_config": "Include /etc/ssh/sshd_config.d/*.conf\nPermitRootLogin prohibit-password\n"
    "PasswordAuthentication no\nMatch User backup\n  PasswordAuthentication yes\n",
    "etc/sudoers": "Defaults env_reset\nroot\tALL=(ALL:ALL) ALL\n%sudo\tALL=(ALL:ALL) ALL\n",
    "etc/rsyslog.conf": "$IncludeConfig /etc/rsyslog.d/*.conf\nauth,authpriv.*\t/var/log/auth.log\n",
    "etc/rsyslog.d/README": "here\n",
    "etc/hosts.deny": "# nobody\n",
    "etc/ssl/certs/ca.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "etc/grid-security/certificates/abc.0": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    "etc/network/interfaces": "auto lo\niface lo inet loopback\nauto eth0\niface eth0 inet dhcp\n",
    "etc/systemd/system/sysinit.target.wants/systemd-timesyncd.service": "[Unit]\n",
    "usr/lib/systemd/systemd": "",
    "usr/lib/systemd/systemd-journald": "",
    "usr/lib/systemd/system/regenerate.service": "[Service]\nExecStart=/usr/bin/ssh-keygen -A\n",
    "usr/sbin/sshd": SSHD,
    "root/.bashrc": "alias ll='ls -l'\n",
    "root/.ssh/authorized_keys": "# none\n",
    "srv/g/data": "x\n",
    "var/log/wtmp": "",
    "tmp/.keep": "",
    "var/lib/dpkg/status": "Package: base-files\nStatus: install ok installed\nVersion: 12.4\n",
    "var/lib/dpkg/info/base-files.list": "/.\n/usr\n/usr/sbin\n/usr/sbin/sshd\n",
    "var/lib/dpkg/info/base-files.md5sums": f"{hashlib.md5(SSHD.encode()).hexdigest()}  usr/sbin/sshd\n",
    "usr/share/doc/base-files/copyright": "Format: https://x\n\nFiles: *\nLicense: GPL-2\n",
    "etc/apt/sources.list": "deb https://deb.debian.org/debian bookworm main\n",
    "etc/hepix-image.json": json.dumps(IDENTITY),
    "etc/systemd/system/multi-user.target.wants/auditd.service": "[Unit]\n",
    "etc/systemd/system/sysinit.target.wants/hepix-context-prologue.service": "[Unit]\n",
    "boot/vmlinuz-6.1.0-9-amd64": "",
    "boot/config-6.1.0-9-amd64": "".join(f"CONFIG_{name}=y\n" for name in CONFIG),
    "lib/modules/6.1.0-9-amd64/modules.builtin": "".join(
        f"kernel/{name}.ko\n" for name in ("virtio_pci", "virtio_blk", "virtio_net", "ext4")
    ),
    "boot/grub/grub.cfg": ENTRY,
}

#: What the endorser gives: files are written beside the tree.
GIVEN: t.Final = {
    "modes": ["kvm"],
    "identity": {"title": "worker", "version": "1.4"},
    "vulnerabilities": '{"base-files": "12.4", "absent": "2"}',
    "manifest": json.dumps(
        {
            "packages": [
                {"name": "Debian"},
                {
                    "name": "base-files",
                    "versionInfo": "12.4",
                    "externalRefs": [{"referenceLocator": "pkg:deb/debian/base-files@12.4"}],
                },
            ]
        }
    ),
    "patterns": "# of the experiment\nunpublished [Rr]esult\n",
}

Plant = t.Union[dict[str, str], t.Callable[[Path], None]]


def add(text: str, path: str) -> t.Callable[[Path], None]:
    """Append to a file of the clean system."""

    def plant(tree: Path) -> None:
        target = tree / path
        target.write_text(target.read_text() + text)

    return plant


def instead(path: str, old: str, new: str) -> t.Callable[[Path], None]:
    """Change a file of the clean system."""

    def plant(tree: Path) -> None:
        text = (tree / path).read_text()
        assert old in text
        (tree / path).write_text(text.replace(old, new))

    return plant


def without(*paths: str) -> t.Callable[[Path], None]:
    """Remove files of the clean system."""

    def plant(tree: Path) -> None:
        for path in paths:
            (tree / path).unlink()

    return plant


def setuid(tree: Path) -> None:
    program = tree / "opt/vo/bin/helper"
    program.parent.mkdir(parents=True)
    program.write_text("x")
    program.chmod(0o4755)


def disk(tree: Path) -> None:
    """A disk without a partition table, with a file system that was not unmounted."""
    image = tree.parent / "disk.img"
    command = ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", str(image), "256K"]
    subprocess.run(command, check=True, capture_output=True)
    octets = bytearray(image.read_bytes())
    octets[1024 + 0x60] |= 0x04
    image.write_bytes(octets)


def partitioned(tree: Path, *, swap: bytes = b"", behind: bytes = b"") -> None:
    """A disk with one partition of swap, which holds some octets, and others behind it."""
    octets = bytearray(64 * 1024)
    octets[510:512] = b"\x55\xaa"
    octets[446:462] = struct.pack("<B3xB3xII", 0, 0x82, 8, 64)
    octets[8 * 512 + 4086 : 8 * 512 + 4096] = b"SWAPSPACE2"
    octets[8 * 512 + 8192 : 8 * 512 + 8192 + len(swap)] = swap
    octets[72 * 512 : 72 * 512 + len(behind)] = behind
    (tree.parent / "disk.img").write_bytes(octets)


# id, what is planted, the path and line of the finding, fail, warn or note
PLANTED: t.Final[list[tuple[str, Plant, str, int | None, str]]] = [
    ("P01", instead("etc/shadow", "grid:!:", f"grid:{HASH}:"), "/etc/shadow", 3, "fail"),
    ("P01", instead("etc/shadow", "grid:!:", f"grid:!{HASH}:"), "/etc/shadow", 3, "fail"),
    ("P01", instead("etc/shadow", "grid:!:", "grid::"), "/etc/shadow", 3, "fail"),
    ("P01", instead("etc/passwd", "grid:x:", "grid:ab01FAX.bQRSU:"), "/etc/passwd", 3, "fail"),
    ("P02", instead("etc/shadow", "root:*:", f"root:{HASH}:"), "/etc/shadow", 1, "fail"),
    ("P03", add("anna:x:1000:1000::/home/anna:/bin/bash\n", "etc/passwd"), "/etc/passwd", 5, "fail"),
    ("P04", add("toor:x:0:0::/root:/bin/sh\n", "etc/passwd"), "/etc/passwd", 5, "fail"),
    ("P04", add("+::::::\n", "etc/passwd"), "/etc/passwd", 5, "fail"),
    ("P05", {"etc/shadow-": f"root:{HASH}:1::::::\n"}, "/etc/shadow-", None, "fail"),
    ("P05", {"etc/group-": "root:x:0:\n"}, "/etc/group-", None, "warn"),
    ("P05", {"etc/security/opasswd": f"root:0:1:{HASH}\n"}, "/etc/security/opasswd", None, "fail"),
    (
        "P06",
        {"srv/g/.ssh/authorized_keys": "\nssh-rsa AAAA x\n"},
        "/srv/g/.ssh/authorized_keys",
        2,
        "fail",
    ),
    ("P07", {"etc/ssh/ssh_host_rsa_key": "x"}, "/etc/ssh/ssh_host_rsa_key", None, "fail"),
    ("P08", without("usr/lib/systemd/system/regenerate.service"), "/usr/sbin/sshd", None, "warn"),
    ("P09", {"root/.ssh/deploy": KEY}, "/root/.ssh/deploy", None, "fail"),
    ("P10", {"etc/grid-security/hostcert.pem": "x"}, "/etc/grid-security/hostcert.pem", None, "fail"),
    ("P11", {"etc/ssl/private/ssl-cert-snakeoil.key": "x"}, "/etc/ssl/private/ssl-cert-snakeoil.key", None, "fail"),
    ("P12", {"tmp/x509up_u500": "x"}, "/tmp/x509up_u500", None, "fail"),
    ("P13", {"etc/krb5.keytab": "x"}, "/etc/krb5.keytab", None, "fail"),
    ("P14", {"root/.aws/credentials": "x"}, "/root/.aws/credentials", None, "fail"),
    ("P15", {"opt/vo/etc/service.pem": KEY}, "/opt/vo/etc/service.pem", None, "fail"),
    ("P16", {"srv/g/.bash_history": "mysql -psecret\n"}, "/srv/g/.bash_history", None, "fail"),
    ("P17", {"etc/salt/pki/minion/minion.pem": "x"}, "/etc/salt/pki/minion/minion.pem", None, "fail"),
    ("P18", {"etc/machine-id": "0123456789abcdef0123456789abcdef\n"}, "/etc/machine-id", None, "warn"),
    (
        "P18",
        {"etc/udev/rules.d/70-persistent-net.rules": 'SUBSYSTEM=="net", NAME="eth0"\n'},
        "/etc/udev/rules.d/70-persistent-net.rules",
        None,
        "fail",
    ),
    (
        "P18",
        add("  hwaddress 52:54:00:12:34:56\n", "etc/network/interfaces"),
        "/etc/network/interfaces",
        None,
        "fail",
    ),
    (
        "P19",
        {"etc/wpa_supplicant/a.conf": 'network={\n psk="secret"\n}\n'},
        "/etc/wpa_supplicant/a.conf",
        2,
        "fail",
    ),
    (
        "P20",
        {"var/lib/cloud/instances/i/data": "x"},
        "/var/lib/cloud/instances/i/data",
        None,
        "fail",
    ),
    ("P21", {"root/anaconda-ks.cfg": f"rootpw --iscrypted {HASH}\n"}, "/root/anaconda-ks.cfg", None, "fail"),
    ("P22", {"var/log/messages": "x\n"}, "/var/log/messages", None, "warn"),
    ("P23", {"etc/hosts.bak": "x\n"}, "/etc/hosts.bak", None, "warn"),
    ("P24", lambda tree: partitioned(tree, swap=KEY.encode()), "/", None, "warn"),
    ("P24", lambda tree: partitioned(tree, swap=f"root:{HASH}:1::".encode()), "/", None, "warn"),
    ("P25", disk, "/", None, "warn"),
    (
        "P26",
        {"etc/ssh/sshd_config.d/a.conf": "PasswordAuthentication yes\n"},
        "/etc/ssh/sshd_config.d/a.conf",
        1,
        "warn",
    ),
    ("P27", {"etc/sudoers.d/vo": "grid ALL=(ALL) NOPASSWD: ALL\n"}, "/etc/sudoers.d/vo", 1, "warn"),
    ("P28", {"etc/systemd/journald.conf": "[Journal]\nStorage=none\n"}, "/etc", None, "fail"),
    ("P28", add("auth.*\t~\n", "etc/rsyslog.conf"), "/etc/rsyslog.conf", 3, "fail"),
    ("P29", instead("etc/fstab", "errors=remount-ro", "ro"), "/etc/fstab", 1, "fail"),
    ("P52", without("etc/systemd/system/sysinit.target.wants/hepix-context-prologue.service"), "/etc", None, "warn"),
    ("P30", without("etc/hosts.deny"), "/etc", None, "warn"),
    ("P31", without("etc/systemd/system/sysinit.target.wants/systemd-timesyncd.service"), "/etc", None, "warn"),
    ("P32", without("etc/systemd/system/multi-user.target.wants/auditd.service"), "/etc", None, "note"),
    ("P33", instead("../vulnerabilities", '"12.4"', '"12.4+deb12u1"'), "/var/lib/dpkg/status", None, "fail"),
    ("P34", {"var/lib/dpkg/status": ""}, "/", None, "fail"),
    (
        "P35",
        add("\nPackage: other\nStatus: install ok installed\nVersion: 1\n", "var/lib/dpkg/status"),
        "/var/lib/dpkg/status",
        None,
        "fail",
    ),
    (
        "P36",
        add("deb [trusted=yes] http://vo.example/ ./\n", "etc/apt/sources.list"),
        "/etc/apt/sources.list",
        2,
        "warn",
    ),
    ("P38", {"usr/sbin/sshd": "another program\n"}, "/usr/sbin/sshd", None, "fail"),
    ("P39", setuid, "/opt/vo/bin/helper", None, "warn"),
    ("P40", {"root/.rhosts": "+ +\n"}, "/root/.rhosts", None, "fail"),
    (
        "P41",
        {"etc/systemd/system/multi-user.target.wants/cups.service": ""},
        "/etc/systemd/system/multi-user.target.wants/cups.service",
        None,
        "warn",
    ),
    ("P42", disk, "/", None, "warn"),
    ("P43", instead("boot/grub/grub.cfg", "6.1.0-9-amd64 root", "6.1.0 root"), "/boot", None, "fail"),
    ("P44", without("usr/share/doc/base-files/copyright"), "/var/lib/dpkg/status", None, "note"),
    ("P45", instead("../scanner", "true", "grep -l alias {root}/root/.bashrc && exit 1"), "/", None, "fail"),
    ("P46", {"srv/g/notes": "\nan unpublished result\n"}, "/srv/g/notes", 2, "warn"),
    ("P47", lambda tree: partitioned(tree, behind=b"x"), "/", None, "warn"),
    ("P49", without("etc/hepix-image.json"), "/etc/hepix-image.json", None, "note"),
    ("P49", instead("etc/hepix-image.json", "1.4", "1.3"), "/etc/hepix-image.json", None, "warn"),
    ("P51", {"boot/vmlinuz-6.1.0-10-amd64": ""}, "/boot/grub/grub.cfg", None, "warn"),
]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The clean system."""
    made = tmp_path / "system"
    lay(made, CLEAN)
    for name, text in GIVEN.items():
        if isinstance(text, str):
            (tmp_path / name).write_text(text)
    (tmp_path / "scanner").write_text("true\n")
    return made


def lay(tree: Path, given: t.Mapping[str, str]) -> None:
    old = os.umask(0o022)
    try:
        for name, text in given.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    finally:
        os.umask(old)


def plant(tree: Path, what: Plant) -> None:
    if callable(what):
        what(tree)
    else:
        lay(tree, what)


def run(tree: Path, *, check: bool = False, ask: t.Mapping[str, t.Any] | None = None, **wanted: t.Any) -> t.Any:
    files = {name: str(tree.parent / name) for name in ("vulnerabilities", "manifest", "patterns")}
    scanner = ["sh", "-c", (tree.parent / "scanner").read_text().replace("{root}", "$1"), "sh", "{root}"]
    asked, given = read_inputs(**{**GIVEN, **files, "scanner": scanner, **(ask or {})})
    with Root(tree) as root:
        return audit(root, Wanted(asked=asked, given=given, **wanted), check=check, now=NOW)


def checks(outcome: t.Any) -> dict[str, t.Any]:
    return {check["id"]: check for check in outcome.data["report"]["checks"]}


def image_of(tree: Path) -> str | None:
    image = tree.parent / "disk.img"
    return str(image) if image.exists() else None


def test_a_clean_system_passes_every_check(tree: Path) -> None:
    outcome = run(tree)
    results = {name: check["result"] for name, check in checks(outcome).items()}
    assert {name: result for name, result in results.items() if result != "pass"} == {
        "P24": "not_applicable",
        "P25": "not_applicable",
        "P42": "not_applicable",
        "P47": "not_applicable",
    }
    assert outcome.data["report"]["result"] == "pass" and not outcome.changed


def test_every_row_has_a_planted_violation() -> None:
    assert {check.id for check in TABLE} == {row[0] for row in PLANTED}


@pytest.mark.parametrize(("name", "what", "path", "line", "result"), PLANTED)
def test_a_planted_violation_is_found(
    tree: Path, name: str, what: Plant, path: str, line: int | None, result: str
) -> None:
    plant(tree, what)
    image = image_of(tree)
    outcome = run(tree, image=image, ask={"modes": None} if image else {})
    check = checks(outcome)[name]
    assert (check["result"], [(item["path"], item["line"]) for item in check["findings"]]) == (result, [(path, line)])
    assert outcome.data["report"]["result"] == ("fail" if result == "fail" else "pass")
    told = json.dumps(outcome.data["report"])
    assert not any(secret in told for secret in ("V3rySecret", "AAAAsecret", "psecret", "ab01FAX"))


@pytest.mark.parametrize(
    ("name", "what", "path"), [row[:3] for row in PLANTED if row[0] in {check.id for check in TABLE if check.fix}]
)
def test_a_repair_mends_what_is_safe_to_mend(tree: Path, name: str, what: Plant, path: str) -> None:
    plant(tree, what)
    safe = path not in ("/etc/krb5.keytab", "/etc/network/interfaces")
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    told = run(tree, fix=True, check=True)
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before
    done = run(tree, fix=True)
    assert told.actions == done.actions
    assert checks(done)[name]["result"] == ("pass" if safe else "fail")
    assert done.changed is safe
    assert not run(tree, fix=True).changed


def test_a_repair_keeps_the_other_fields(tree: Path) -> None:
    plant(tree, instead("etc/shadow", "grid:!:", f"grid:{HASH}:"))
    run(tree, fix=True)
    assert (tree / "etc/shadow").read_text() == CLEAN["etc/shadow"].replace("grid:!:", "grid:!!:")


def test_root_and_others_are_locked_at_once(tree: Path) -> None:
    plant(tree, instead("etc/shadow", "grid:!:", f"grid:{HASH}:"))
    plant(tree, instead("etc/shadow", "root:*:", f"root:{HASH}:"))
    assert run(tree, fix=True).data["report"]["result"] == "pass"
    assert not run(tree, fix=True).changed


def waiver(**more: t.Any) -> dict[str, t.Any]:
    return {"check": "P16", "path": None, "reason": "it is empty of secrets", "until": "2026-11-20", **more}


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (waiver(), "waived"),
        (waiver(path="/root/*"), "waived"),
        (waiver(path="/home/*"), "fail"),
        (waiver(until="2026-11-19"), "fail"),
        (waiver(check="P15"), "fail"),
    ],
)
def test_a_waiver_covers_what_it_names_until_its_end(tree: Path, given: dict[str, t.Any], result: str) -> None:
    plant(tree, {"root/.bash_history": "ls\n"})
    outcome = run(tree, waivers=[given])
    assert checks(outcome)["P16"]["result"] == outcome.data["report"]["result"] == result
    assert outcome.data["report"]["waivers"][0]["expired"] is (date.fromisoformat(given["until"]) < NOW.date())


def test_what_is_waived_is_not_repaired(tree: Path) -> None:
    plant(tree, {"root/.bash_history": "ls\n"})
    assert not run(tree, fix=True, waivers=[waiver()]).changed
    assert (tree / "root/.bash_history").exists()


@pytest.mark.parametrize(
    "given", [waiver(check="P99"), waiver(reason=" "), waiver(until="soon"), waiver(until="2026-02-30")]
)
def test_a_waiver_that_says_too_little_is_refused(tree: Path, given: dict[str, t.Any]) -> None:
    with pytest.raises(GuestError) as refused:
        run(tree, waivers=[given])
    assert refused.value.code == "waiver_invalid"


def test_what_cannot_be_read_is_unknown_and_blocks(tree: Path) -> None:
    (tree / "etc/sudoers").unlink()
    (tree / "etc/sudoers").symlink_to("/etc/sudoers")
    outcome = run(tree)
    assert checks(outcome)["P27"]["result"] == outcome.data["report"]["result"] == "unknown"
    assert run(tree, waivers=[waiver(check="P27")]).data["report"]["result"] == "waived"


def test_a_hostile_system_is_contained(tree: Path) -> None:
    (tree / "root/.bash_history").symlink_to("/../../../etc/passwd")
    os.mkfifo(tree / "root/.ssh/id_rsa")
    with (tree / "etc/rsyslog.d/big.conf").open("wb") as big:
        big.truncate(50 * 1024 * 1024)
    (tree / "var/log/a\nb").write_text("x")
    outcome = run(tree)
    found = checks(outcome)
    assert [item["path"] for item in found["P16"]["findings"]] == ["/root/.bash_history"]
    assert found["P09"]["result"] == "pass" and found["P28"]["result"] == "unknown"
    assert [item["path"] for item in found["P22"]["findings"]] == ["/var/log/a\\nb"]


def test_accounts_that_no_system_has_are_contained(tree: Path) -> None:
    plant(tree, add(f"a:x:{'9' * 5000}:1::/ho\0me/a:/bin/sh\nb:x:70000:1::/../../../root:/bin/sh\nc:x\n", "etc/passwd"))
    plant(tree, {"etc/ssh/sshd_config.d/a.conf": "AuthorizedKeysFile /\0 %h/[a .ssh/*/../keys\n"})
    told = checks(run(tree))
    assert {name for name, check in told.items() if check["result"] == "fail"} == {"P03", "P04"}


def test_accounts_that_belong_there_are_left(tree: Path) -> None:
    plant(tree, add("anna:x:1000:1000::/home/anna:/bin/bash\n", "etc/passwd"))
    assert run(tree, ask={"accounts": ["anna"]}).data["report"]["result"] == "pass"


def test_a_report_of_very_many_lists_the_gravest(tree: Path) -> None:
    for number in range(300):
        plant(tree, {f"etc/old{number}.bak": "x\n"})
    plant(tree, {"etc/zz.bak": f"root:{HASH}:1::::::\n"})
    found = checks(run(tree))["P23"]
    assert found["result"] == "fail" and len(found["findings"]) == 101
    assert found["findings"][0]["path"] == "/etc/zz.bak" and found["findings"][-1]["text"] == "There are 201 more."


def test_the_text_says_what_blocks_and_what_was_compared_with(tree: Path, tmp_path: Path) -> None:
    plant(tree, {"root/.bash_history": "ls\n"})
    run(tree, ask={"vulnerabilities": None}, text_report=str(tmp_path / "report.txt"))
    text = (tmp_path / "report.txt").read_text()
    assert "Result: fail (fail P16; unknown P33)\n" in text and "could not be told: No data of known flaws" in text
    digest = hashlib.sha256((tmp_path / "manifest").read_bytes()).hexdigest()
    assert f"  given, manifest: {digest}\n" in text and "  rules: sha256 " in text and "  python: 3." in text


def test_a_service_that_starts_is_found_and_not_what_stops_it(tree: Path) -> None:
    (tree / "etc/rc3.d").mkdir(parents=True)
    (tree / "etc/rc3.d/S55cups").symlink_to("../init.d/cups")
    assert [item["path"] for item in checks(run(tree))["P41"]["findings"]] == ["/etc/rc3.d/S55cups"]


def test_links_of_sysv_do_not_start_what_has_a_unit(tree: Path) -> None:
    """Debian's packages have both: systemd goes by the unit, which nothing wants here; an alias starts nothing."""
    (tree / "etc/systemd/system/multi-user.target.wants/auditd.service").unlink()
    (tree / "etc/rc3.d").mkdir(parents=True)
    (tree / "etc/rc3.d/S01auditd").symlink_to("../init.d/auditd")
    assert checks(run(tree))["P32"]["result"] == "pass"
    plant(tree, {"usr/lib/systemd/system/auditd.service": "[Unit]\n"})
    (tree / "etc/systemd/system/acct.service").symlink_to("/usr/lib/systemd/system/auditd.service")
    assert checks(run(tree))["P32"]["result"] == "note"


@pytest.mark.needs("mke2fs", "debugfs")
def test_a_file_that_was_deleted_is_found_in_free_space_until_it_is_overwritten(tree: Path) -> None:
    image, key = tree.parent / "disk.img", tree.parent / "key"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", str(image), "4M"], check=True, capture_output=True)
    key.write_text(f"{KEY}\nroot:{HASH}:1::::::\n")

    def found() -> list[str]:
        check = checks(run(tree, image=str(image), ask={"modes": None}))["P24"]
        return [item["text"].split(",")[0] for item in check["findings"]]

    subprocess.run(["debugfs", "-w", "-R", f"write {key} key", str(image)], check=True, capture_output=True)
    assert found() == []
    subprocess.run(["debugfs", "-w", "-R", "rm key", str(image)], check=True, capture_output=True)
    what = "The free space of partition 0 holds"
    assert found() == [f"{what} a private key", f"{what} the hash of a password"]
    octets = image.read_bytes()
    image.write_bytes(octets.replace(b"PRIVATE", b"private").replace(b"$6$", b"$x$"))
    assert found() == []
