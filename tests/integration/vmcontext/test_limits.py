# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site's limits, time, variables, files and secrets (X11, X13, X14, X15)."""

from __future__ import annotations

import hashlib
import typing as t

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import ContextError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.lint import Lint
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.payload import targets

from .guest import BOTH, CONTEXT, KEPT, Guest

pytestmark = pytest.mark.needs("root", "unshare", "losetup", "mke2fs", "chroot", "dash", "bash", "busybox")


class TestX11Limits:
    # It appears whole: the test goes on as soon as it is there.
    PAYLOAD: t.ClassVar = {
        "payload.sh": "#!/bin/sh\ncd /home/grid && { id -un && env; } >payload.part && mv payload.part payload\n"
    }

    def context(self, user: str) -> dict[str, str]:
        return {**BOTH, **self.PAYLOAD, "context.sh": f"{CONTEXT}PAYLOAD_USER='{user}'\nTOKEN='hunter2'\n"}

    @pytest.mark.parametrize("tool", ["runuser", "su"])
    def test_the_payload_runs_as_its_user_without_the_variables(self, vm: Guest, tool: str) -> None:
        vm.user("grid", 1000)
        if tool == "su":
            vm.without("usr/sbin/runuser")
        vm.attach("vdb", self.context("grid"))
        done = vm.boot(until="home/grid/payload")
        assert done.status["epilogue-start"] == 0 and "The payload was started as grid." in done.console
        assert vm.read("home/grid/payload").startswith("grid\n")
        assert "hunter2" not in vm.read("home/grid/payload") and KEPT not in vm.read("home/grid/payload")

    @pytest.mark.parametrize(
        ("user", "number", "groups", "why"),
        [
            ("root", None, (), "one of the system"),
            ("nobody-there", None, (), "does not exist"),
            ("low", 999, (), "one of the system"),
            ("adm1", 1001, ("wheel",), "in the group wheel"),
            ("adm2", 1001, ("sudo", "users"), "in the group sudo"),
            ("; id", None, (), "no name"),
        ],
    )
    def test_the_payloads_user_is_no_administrator(
        self, vm: Guest, user: str, number: int | None, groups: tuple[str, ...], why: str
    ) -> None:
        if number is not None:
            vm.user(user, number, *groups)
        vm.attach("vdb", self.context(user))
        done = vm.boot(VMCONTEXT_SERVICES="batch")
        assert done.status == {"prologue-start": 0, "epilogue-start": 1}
        assert "LIMITS: the payload must not run: " in done.console and why in done.console
        assert "payload and batch clients are not started" in done.console
        assert "was started" not in done.console and "batch" not in done.console.replace("batch clients", "")

    @pytest.mark.parametrize(
        "change",
        [
            "echo more >>/opt/protected/gcc",
            "rm /opt/protected/gcc",
            "touch /opt/protected/new",
            "ln -sf /x /opt/protected/cc",
        ],
    )
    def test_a_changed_protected_file_stops_the_payload(self, vm: Guest, change: str) -> None:
        vm.user("grid", 1000)
        vm.write("opt/protected/gcc", "compiler")
        (vm.work / "upper/opt/protected/cc").symlink_to("gcc")
        self.manifest(vm)
        context = self.context("grid")
        vm.attach("vdb", {**context, "prolog.sh": f"#!/bin/sh\n{change}\n"})
        done = vm.boot()
        assert done.status["epilogue-start"] == 1
        assert "LIMITS: protected files are not those of the image: /opt/protected/" in done.console
        assert not vm.has("home/grid/payload") and not vm.has("var/lib/vmcontext/epilogue.done")
        warned = vm.boot(VMCONTEXT_ENFORCE="no", until="home/grid/payload")
        assert "the image is told not to enforce them" in warned.console and vm.has("home/grid/payload")

    def manifest(self, vm: Guest) -> None:
        digest = hashlib.sha256((vm.work / "upper/opt/protected/gcc").read_bytes()).hexdigest()
        vm.boot("manifest-", same_boot=True)
        assert (
            vm.read("usr/lib/vmcontext/protected.list") == f"{digest} /opt/protected/gcc\nlink:gcc /opt/protected/cc\n"
        )

    def test_a_full_file_system_does_not_hide_the_change(self, vm: Guest) -> None:
        vm.user("grid", 1000)
        vm.write("opt/protected/gcc", "compiler")
        (vm.work / "upper/opt/protected/cc").symlink_to("gcc")
        self.manifest(vm)
        fill = "mount -t tmpfs -o size=64k none /var/lib/vmcontext\ndd if=/dev/zero of=/var/lib/vmcontext/full bs=4k\n"
        prolog = f"#!/bin/sh\necho >>/opt/protected/gcc\n{fill}"
        vm.attach("vdb", {**self.context("grid"), "prolog.sh": prolog})
        done = vm.boot()
        assert done.status["epilogue-start"] == 1 and "LIMITS: protected files are not those" in done.console

    def test_a_payload_in_another_language_is_executed(self, vm: Guest) -> None:
        vm.user("grid", 1000)
        payload = '#!/usr/bin/env -S awk -f\nBEGIN { print "by awk" > "/home/grid/payload" }\n'
        vm.attach("vdb", {**self.context("grid"), "payload.sh": payload})
        vm.boot(until="home/grid/payload")
        assert vm.read("home/grid/payload") == "by awk\n"

    def test_unchanged_protected_files_stop_nothing(self, vm: Guest) -> None:
        vm.user("grid", 1000)
        vm.write("opt/protected/gcc", "compiler")
        (vm.work / "upper/opt/protected/cc").symlink_to("gcc")
        self.manifest(vm)
        vm.attach("vdb", self.context("grid"))
        assert vm.boot(until="home/grid/payload").status["epilogue-start"] == 0
        assert vm.has("home/grid/payload")

    def test_services_start_when_all_limits_are_kept(self, vm: Guest) -> None:
        vm.write("etc/init.d/batch", '#!/bin/sh\necho "batch $1" >>/ran\n', 0o755)
        vm.attach("vdb", BOTH)
        (vm.work / "upper/run/systemd/system").mkdir(parents=True)
        vm.boot(VMCONTEXT_SERVICES="batch")
        assert vm.read("ran") == "prolog start\nepilog start\nbatch start\n"
        assert vm.read("called") == "systemctl --no-block start hepix-context.target\n"


class TestX13Ttl:
    def test_the_machine_ends_after_its_time(self, vm: Guest) -> None:
        (vm.work / "upper/run/systemd/system").mkdir(parents=True)
        vm.write("usr/local/sbin/systemctl", "#!/bin/sh\n", 0o755)
        vm.attach("vdb", {"context.sh": f"{CONTEXT}TTL='48'\n"})
        vm.boot(until="called")
        assert vm.read("called") == "shutdown -h +2880\n"
        since = int(vm.read("var/lib/vmcontext/ttl").split()[0])
        vm.write("var/lib/vmcontext/ttl", f"{since - 47 * 3600} vm-1\n")
        vm.write("called", "")
        (vm.work / "upper/called").unlink()
        vm.boot(until="called")
        assert vm.read("called") in ("shutdown -h +60\n", "shutdown -h +59\n")
        vm.write("var/lib/vmcontext/ttl", f"{since - 50 * 3600} vm-1\n")
        (vm.work / "upper/called").unlink()
        vm.boot(until="called")
        assert vm.read("called") == "shutdown -h +0\n"

    @pytest.mark.parametrize(
        ("systemd", "fails", "called"),
        [
            (True, True, ["shutdown -h +60", "sleep 3600", "shutdown -h now", "poweroff "]),
            (False, True, ["sleep 3600", "shutdown -h now", "poweroff "]),
            (False, False, ["sleep 3600", "shutdown -h now"]),
        ],
    )
    def test_where_systemd_cannot_do_it_the_role_waits(
        self, vm: Guest, systemd: bool, fails: bool, called: list[str]
    ) -> None:
        """sysvinit's shutdown would refuse the site's own meanwhile."""
        for name, status in (("shutdown", int(fails)), ("sleep", 0), ("poweroff", 0), ("systemctl", 0)):
            note = "" if name == "systemctl" else f'echo "{name} $*" >>/called\n'
            over = "echo >/over\n" if name == ("poweroff" if fails else "shutdown") else ""
            vm.write(f"usr/local/sbin/{name}", f"#!/bin/sh\n{note}{over}exit {status}\n", 0o755)
        if systemd:
            (vm.work / "upper/run/systemd/system").mkdir(parents=True)
        vm.attach("vdb", {"context.sh": f"{CONTEXT}TTL='1'\n"})
        vm.boot("epilogue-start", until="over", VMCONTEXT_TIME_LIMIT="0")
        assert vm.read("called").splitlines() == called

    @pytest.mark.parametrize(("ttl", "minutes"), [("08", 480), ("000", 0)])
    def test_a_number_with_zeros_before_it_is_one(self, vm: Guest, ttl: str, minutes: int) -> None:
        (vm.work / "upper/run/systemd/system").mkdir(parents=True)
        vm.write("usr/local/sbin/systemctl", "#!/bin/sh\n", 0o755)
        vm.attach("vdb", {"context.sh": f"{CONTEXT}TTL='{ttl}'\n"})
        # What another start left is damaged.
        vm.write("var/lib/vmcontext/ttl", "x vm-1\n")
        vm.boot("epilogue-start", until="called")
        assert vm.read("called") == f"shutdown -h +{minutes}\n"

    @pytest.mark.parametrize("ttl", ["2; touch /executed", "x", "99999999", "-1"])
    def test_what_is_no_number_is_told(self, vm: Guest, ttl: str) -> None:
        vm.attach("vdb", {"context.sh": f"TTL='{ttl}'\n"})
        done = vm.boot()
        assert "TTL is no number of hours." in done.console and done.status["epilogue-start"] == 0
        assert not vm.has("called") and not vm.has("executed")

    def test_the_image_may_leave_it_to_the_site(self, vm: Guest) -> None:
        vm.attach("vdb", {"context.sh": "TTL='1'\n"})
        vm.boot(VMCONTEXT_TTL="no")
        assert not vm.has("called")


class TestX14Variables:
    def test_hostname_keys_and_syslog(self, vm: Guest) -> None:
        keys = "SSH_PUB_KEY='ssh-ed25519 AAAA a\nssh-ed25519 BBBB b'\n"
        context = f"HOSTNAME='wn.example.org'\n{keys}SYSLOG_SERVER='log.example.org'\n"
        vm.attach("vdb", {"context.sh": context, "prolog.sh": "#!/bin/sh\nhostname >/named\n"})
        (vm.work / "upper/root").mkdir()
        assert vm.boot().status["prologue-start"] == 0
        assert vm.read("named") == "wn.example.org\n" and vm.read("etc/hostname") == "wn.example.org\n"
        assert vm.read("root/.ssh/authorized_keys") == "ssh-ed25519 AAAA a\nssh-ed25519 BBBB b\n"
        assert (vm.work / "upper/root/.ssh/authorized_keys").stat().st_mode & 0o7777 == 0o600
        assert vm.read("etc/rsyslog.d/90-vmcontext.conf") == "*.* @log.example.org\n"

    @pytest.mark.parametrize("link", [".ssh", ".ssh/authorized_keys"])
    def test_a_users_link_does_not_lead_keys_elsewhere(self, vm: Guest, link: str) -> None:
        vm.user("grid", 1000)
        place = vm.work / "upper/home/grid" / link
        place.parent.mkdir(exist_ok=True)
        place.symlink_to("/opt")
        vm.attach("vdb", {"context.sh": "SSH_PUBLIC_KEY='ssh-ed25519 AAAA a'\nSSH_USER='grid'\n"})
        done = vm.boot("prologue-start")
        assert done.status == {"prologue-start": 1} and "is, or lies in, a link." in done.console
        assert (vm.work / "upper/opt").stat().st_uid == 0 and not vm.has("opt/authorized_keys")

    def test_without_a_variable_nothing_is_changed(self, vm: Guest) -> None:
        vm.attach("vdb", {"context.sh": CONTEXT})
        vm.boot()
        assert vm.read("etc/hostname") == "before\n"
        assert not vm.has("etc/rsyslog.d/90-vmcontext.conf")

    @pytest.mark.parametrize("context", ["HOSTNAME='a b'", "HOSTNAME='$(id)'", "SYSLOG_SERVER='x\n*.* /etc/passwd'"])
    def test_what_is_no_value_is_refused(self, vm: Guest, context: str) -> None:
        vm.attach("vdb", {"context.sh": f"{context}\n"})
        assert vm.boot().status["prologue-start"] == 1
        assert vm.read("etc/hostname") == "before\n" and not vm.has("etc/rsyslog.d/90-vmcontext.conf")


TARGETS = [
    *(
        "/etc/lsf.conf",
        "/etc/new/deep/x.conf",
        "/opt/bin/submit",
        "/usr/local/bin/pbs_mom",
        "/var/spool/x",
        "/srv/perl",
    ),
    *("/etc/ld.so.preload", "/etc/alternatives/cc", "/etc/vmcontext.conf", "/etc/vmcontext.d/9.sh", "/boot/vmlinuz"),
    *("/usr/bin/x", "/usr/local/bin/python3.11", "/usr/local/bin/gcc-12", "/opt/bin/x86_64-linux-gnu-gcc-12"),
    *("/opt/sbin/perl", "/usr/local/lib/python3.9/x.py", "/etc/systemd/system/hepix-context.target", "/lib/x"),
    *("/var/lib/hepix/x", "/var/lib/dpkg/status", "/proc/x", "/opt/bin/g++", "/opt/bin/cc1", "/etc/python3/x"),
    *(
        "/etc/init.d/vmcontext.prologue",
        "/etc/modprobe.d/x.conf",
        "/usr/local/include/stdio.h",
        "/home/grid/bin/ld.gold",
    ),
]


class TestX15Files:
    def test_guest_and_builder_refuse_the_same_places(self, vm: Guest) -> None:
        lines = "".join(f"f{number} 0644 root root {target}\n" for number, target in enumerate(TARGETS))
        vm.attach(
            "vdb", {**{f"f{number}": "x" for number in range(len(TARGETS))}, "files.map": lines, "context.sh": CONTEXT}
        )
        done = vm.boot("prologue-start")
        placed = {target for target in TARGETS if f"{target} was placed." in done.console}
        allowed = set()
        for target in TARGETS:
            lint = Lint()
            targets.check_target(target, "it", lint)
            try:
                lint.settle()
                allowed.add(target)
            except ContextError:
                pass
        assert placed == allowed and len(allowed) == 6
        assert all(vm.has(target.lstrip("/")) == (target in allowed) for target in TARGETS if "vmcontext" not in target)

    def test_mode_and_owner_are_those_of_the_map(self, vm: Guest) -> None:
        vm.user("grid", 1000)
        vm.write("usr/local/sbin/restorecon", '#!/bin/sh\necho "$*" >>/labelled\n', 0o755)
        # The last line need not end.
        vm.attach("vdb", {"files.map": "# source\nx 0640 grid root /etc/x.conf", "x": "content", "context.sh": CONTEXT})
        assert vm.boot("prologue-start").status == {"prologue-start": 0}
        assert vm.read("labelled") == "/etc/x.conf\n"
        status = (vm.work / "upper/etc/x.conf").stat()
        assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 1000, 0)
        assert vm.read("etc/x.conf") == "content"

    @pytest.mark.parametrize(
        "line",
        [
            "../etc/passwd 0644 root root /etc/x.conf",
            "x 0644 root root /etc/../boot/x",
            "x 0644 root root /etc/x y",
            "none 0644 root root /etc/x.conf",
            "x 0644 nobody-there root /etc/x.conf",
            "x rwx root root /etc/x.conf",
            "x 4755 root root /etc/x.conf",
            "x 0644 --reference=/etc/passwd root /etc/x.conf",
            "x 0644 root root /opt/linked/x.conf",
            "x 0644 root root /etc",
        ],
    )
    def test_what_is_odd_is_refused(self, vm: Guest, line: str) -> None:
        (vm.work / "upper/opt/linked").symlink_to("/etc/alternatives")
        vm.attach("vdb", {"files.map": f"{line}\n", "x": "x", "context.sh": CONTEXT})
        done = vm.boot("prologue-start")
        assert done.status == {"prologue-start": 1} and "was refused" in done.console
        assert not vm.has("etc/x.conf") and not vm.has("etc/alternatives/x.conf")


class TestWiping:
    FILES: t.ClassVar = {**BOTH, "key": "-----BEGIN RSA PRIVATE KEY-----\n", "site.conf": "x", "token": "hunter2"}

    def kept(self, vm: Guest) -> list[str]:
        return sorted(path.name for path in (vm.work / f"upper{KEPT}").iterdir())

    @pytest.mark.parametrize(
        ("wipe", "kept"),
        [
            ("secrets", ["epilog.sh", "prolog.sh", "secrets.list", "site.conf"]),
            ("all", ["epilog.sh", "prolog.sh"]),
            ("none", ["epilog.sh", "key", "prolog.sh", "secrets.list", "site.conf", "token"]),
        ],
    )
    def test_what_the_image_says_is_wiped_after_the_epilogue(self, vm: Guest, wipe: str, kept: list[str]) -> None:
        vm.attach("vdb", {**self.FILES, "secrets.list": "file token\nfile ../../../../etc/passwd\n"})
        vm.boot("prologue-start", VMCONTEXT_WIPE=wipe)
        assert "key" in self.kept(vm)
        vm.boot("epilogue-start", VMCONTEXT_WIPE=wipe, same_boot=True)
        assert self.kept(vm) == kept
        assert vm.has("etc/passwd")

    def test_what_is_wiped_is_so_on_the_disk(self, vm: Guest) -> None:
        vm.write("usr/local/sbin/dd", '#!/bin/sh\necho "$2 $5" >>/wiped\nexec /usr/bin/dd "$@"\n', 0o755)
        vm.attach("vdb", self.FILES)
        vm.boot()
        assert vm.read("wiped") == f"of={KEPT}/key conv=notrunc,fsync\n"

    def test_a_failed_epilogue_leaves_no_secret_either(self, vm: Guest) -> None:
        vm.attach("vdb", {**self.FILES, "epilog.sh": "#!/bin/sh\nexit 1\n"})
        assert vm.boot().status["epilogue-start"] == 1
        assert "key" not in self.kept(vm)


def test_packages_are_installed_between_prologue_and_epilogue(vm: Guest) -> None:
    for tool in ("dpkg", "rpm"):
        vm.write(f"usr/local/sbin/{tool}", f'#!/bin/sh\necho "{tool} $*" >>/ran\n', 0o755)
    vm.attach("vdb", {**BOTH, "packages/a_1_all.deb": "x", "packages/b-1-1.noarch.rpm": "y"})
    assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
    assert vm.read("ran").splitlines() == [
        "prolog start",
        f"rpm -U --replacepkgs {KEPT}/packages/b-1-1.noarch.rpm",
        f"dpkg -i {KEPT}/packages/a_1_all.deb",
        "epilog start",
    ]
