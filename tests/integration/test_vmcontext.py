# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prologue and epilogue of the role vmcontext, by the requirements X01 to X16, in a guest without a boot."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import ContextError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context import disks, targets
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.iso.image import read_image
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.lint import Lint

from .vmguest import Guest, guest

pytestmark = pytest.mark.needs("root", "unshare", "losetup", "mke2fs", "chroot", "dash", "bash", "busybox")

ROLE = Path(__file__).resolve().parents[2] / "roles" / "vmcontext"
PROLOG = '#!/bin/sh\necho prolog "$1" >>/ran\n'
EPILOG = '#!/bin/sh\necho epilog "$1" >>/ran\n'
BOTH = {"prolog.sh": PROLOG, "epilog.sh": EPILOG}
CONTEXT = "HEPIX_INSTANCE_ID='vm-1'\n"
KEPT = "/var/lib/hepix/context"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the role puts into a tree; test_role_vmcontext.py shows that it does."""
    tree = tmp_path_factory.mktemp("vmcontext")
    library, hooks = tree / "usr/lib/vmcontext", tree / "etc/vmcontext.d"
    for directory in (library, hooks):
        directory.mkdir(parents=True)
    for name in ("vmcontext", "sysv", "source.sh"):
        (library / name).write_bytes(ROLE.joinpath("files", name).read_bytes())
        (library / name).chmod(0o755)
    parts = sorted(ROLE.joinpath("files/library").iterdir())
    (library / "library.sh").write_text("".join(path.read_text() for path in parts))
    for path in ROLE.joinpath("files/hooks").iterdir():
        (hooks / path.name).write_bytes(path.read_bytes())
    for name in ("etc/rsyslog.d", "var/log", "opt/protected"):
        (tree / name).mkdir(parents=True)
    return tree


@pytest.fixture(params=["dash", "bash", "busybox"])
def any_shell(request: pytest.FixtureRequest, installed: Path, tmp_path: Path) -> Iterator[Guest]:
    """A guest whose sh is one of three."""
    with guest(tmp_path, installed, shell="/usr/bin/sh") as made:
        (tmp_path / "upper/usr/bin").mkdir(parents=True, exist_ok=True)
        program = "/usr/bin/busybox" if request.param == "busybox" else f"/usr/bin/{request.param}"
        (tmp_path / "upper/usr/bin/sh").symlink_to(program)
        yield made


@pytest.fixture
def vm(installed: Path, tmp_path: Path) -> Iterator[Guest]:
    with guest(tmp_path, installed) as made:
        yield made


def test_both_phases_run_with_every_shell(any_shell: Guest) -> None:
    any_shell.attach("vdb", {**BOTH, "context.sh": f"{CONTEXT}AFS='off'\n"}, label="CONTEXT")
    done = any_shell.boot()
    assert done.status == {"prologue-start": 0, "epilogue-start": 0}
    assert any_shell.read("ran") == "prolog start\nepilog start\n"
    assert "The prologue (prolog.sh) DONE" in done.console and "The epilogue (epilog.sh) DONE" in done.console
    again = any_shell.boot()
    assert any_shell.read("ran") == "prolog start\nepilog start\n"
    assert again.status == {"prologue-start": 0, "epilogue-start": 0}
    assert "The prologue was done for the instance vm-1." in again.console


def test_secrets_and_hostile_values_with_every_shell(any_shell: Guest) -> None:
    """Written by context_iso, read in the guest: values are whole, nothing is executed, secrets do not stay."""
    hostile = 'it\'s\n$(touch /executed) `touch /executed` \\ "x"\nPATH=/nowhere\n'
    options = {
        "dest": str(any_shell.work / "x.iso"),
        "instance_id": "vm-1",
        "variables": {"HOSTILE": hostile, "EMPTY": ""},
        "secret_variables": {"TOKEN": str(any_shell.work / "token")},
        "files": [{"name": "key", "content": "very private", "secret": True, "target": "/opt/site.key"}],
        "scripts": {"prolog": {"content": f'{SHOW}printf "%s" "$TOKEN" >/token\n'}, "epilog": {"content": SHOW}},
    }
    (any_shell.work / "token").write_text("hunter2\nand more")
    disks.make_disks(disks.wanted_disks(options), check=False, fetch=lambda url: b"")
    entries = read_image((any_shell.work / "x.iso").read_bytes(), "it").entries
    any_shell.attach("vdb", {path: entry.octets for path, entry in entries.items()})
    any_shell.boot()
    assert any_shell.read("shown") == f"{hostile}|{hostile}|"
    assert any_shell.read("token") == "hunter2\nand more"
    assert any_shell.read("opt/site.key") == "very private"
    assert (any_shell.work / "upper/opt/site.key").stat().st_mode & 0o7777 == 0o600
    assert not any_shell.has("executed")
    kept = b"".join(path.read_bytes() for path in (any_shell.work / f"upper{KEPT}").rglob("*") if path.is_file())
    assert b"hunter2" not in kept and b"very private" not in kept and b"HOSTILE" in kept
    # What is left of context.sh still has the other values, for the end.
    found = subprocess.run(
        ["dash", "-c", f'. {any_shell.work}/upper{KEPT}/context.sh; printf "%s|%s" "$HOSTILE" "${{TOKEN-unset}}"'],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout == f"{hostile}|unset"


SHOW = '#!/bin/sh\nprintf "%s|" "$HOSTILE" >>/shown\n'


class TestX01SearchOrder:
    def test_the_configured_device_is_first(self, vm: Guest) -> None:
        vm.attach("vdb", {"prolog.sh": f"{PROLOG}# vdb"}, label="CONTEXT")
        vm.attach("odd", BOTH)
        assert "The context disk is /dev/odd." in vm.boot("prologue-start", VMCONTEXT_DEVICE="/dev/odd").console

    def test_the_label_is_before_the_books_list(self, vm: Guest) -> None:
        vm.attach("xvdb", BOTH)
        vm.attach("sr0", BOTH, label="CONTEXT")
        # blkid of the guest asks the kernel's list, where a test cannot rename a loop device.
        vm.write(
            "usr/local/sbin/blkid",
            '#!/bin/sh\n[ "$*" = "-c /dev/null -l -o device -t LABEL=CONTEXT" ] && echo /dev/sr0\n',
            0o755,
        )
        assert "The context disk is /dev/sr0." in vm.boot("prologue-start").console

    def test_the_label_is_really_asked_for(self, vm: Guest) -> None:
        """With the real blkid: it names the loop device itself."""
        vm.attach("odd", BOTH, label="VMC-TEST-LABEL")
        loop = vm.devices["odd"].removeprefix("/dev/")
        number = Path(vm.devices["odd"]).stat().st_rdev
        vm.node(loop, 0o60660, (os.major(number), os.minor(number)))
        done = vm.boot("prologue-start", VMCONTEXT_LABELS="OTHER VMC-TEST-LABEL", listed=[loop])
        assert f"The context disk is /dev/{loop}." in done.console

    def test_without_blkid_the_names_will_do(self, vm: Guest) -> None:
        vm.without("usr/sbin/blkid")
        vm.attach("vdb", BOTH)
        done = vm.boot("prologue-start")
        assert "The context disk is /dev/vdb." in done.console and "not found" not in done.console

    def test_busyboxs_blkid_knows_no_options(self, vm: Guest) -> None:
        vm.attach("odd", BOTH)
        lines = ('/dev/vda: LABEL="ROOT" TYPE="ext4"', '/dev/odd: LABEL="CONTEXT"')
        text = "#!/bin/sh\n[ $# -eq 0 ] || exit 1\n" + "".join(f"echo '{line}'\n" for line in lines)
        vm.write("usr/local/sbin/blkid", text, 0o755)
        assert "The context disk is /dev/odd." in vm.boot("prologue-start").console

    @pytest.mark.parametrize("device", ["xvdb", "vdb", "hdb", "sdb", "sr0", "hdc", "xvdc", "xvde", "vda", "sda"])
    def test_the_known_names_need_no_label(self, vm: Guest, device: str) -> None:
        vm.attach(device, BOTH)
        assert f"The context disk is /dev/{device}." in vm.boot("prologue-start").console

    def test_the_book_is_before_the_rest(self, vm: Guest) -> None:
        for device in ("sdb", "sr0", "vda", "xvdb"):
            vm.attach(device, BOTH)
        assert "The context disk is /dev/xvdb." in vm.boot("prologue-start").console

    def test_at_last_everything_is_tried(self, vm: Guest) -> None:
        vm.attach("nvme0n2", BOTH)
        assert "The context disk is /dev/nvme0n2." in vm.boot("prologue-start", listed=["vda", "nvme0n2"]).console


class TestX02Acceptance:
    def test_a_disk_without_a_marker_is_passed_over(self, vm: Guest) -> None:
        vm.attach("xvdb", {"readme": "x"})
        vm.attach("vdb", {"prolog.sh/x": "a directory"})
        vm.attach("sdb", BOTH)
        assert "The context disk is /dev/sdb." in vm.boot("prologue-start").console

    @pytest.mark.parametrize("marker", ["prolog.sh", "epilog.sh", "init.sh", "context.sh"])
    def test_each_marker_will_do(self, vm: Guest, marker: str) -> None:
        vm.attach("vdb", {marker: "#!/bin/sh\n"})
        assert "The context disk is /dev/vdb." in vm.boot("prologue-start").console

    def test_a_link_is_no_marker(self, vm: Guest) -> None:
        tree = vm.work / "linked"
        tree.mkdir()
        (tree / "prolog.sh").symlink_to("/etc/passwd")
        vm.attach_tree("vdb", tree, vm.work / "vdb.img")
        assert "No context disk found." in vm.boot("prologue-start").console

    def test_other_file_systems_are_passed_over(self, vm: Guest) -> None:
        vm.attach("vdb", BOTH)
        assert "No context disk found." in vm.boot("prologue-start", VMCONTEXT_FILESYSTEMS="xfs").console


class TestX03PrivateCopy:
    def test_the_copy_is_private_and_the_disk_not_mounted(self, vm: Guest) -> None:
        script = f'{PROLOG}cat /proc/mounts >/mounts\necho "$CONTEXT_DIR" >/where\numask >/umask\n'
        vm.attach("vdb", {"prolog.sh": script, "etchosts": "x", "deep/er": "y"})
        vm.boot("prologue-start")
        assert "vdb" not in vm.read("mounts") and "/mnt" not in vm.read("mounts").split()
        assert vm.read("where") == f"{KEPT}\n"
        assert vm.read("umask").strip() == "0022"
        copy = vm.work / f"upper{KEPT}"
        assert copy.stat().st_mode & 0o7777 == 0o700
        assert {path.stat().st_mode & 0o077 for path in copy.rglob("*")} == {0}
        assert (copy / "deep/er").read_text() == "y"

    def test_it_is_mounted_so_that_it_can_do_nothing(self, vm: Guest) -> None:
        text = '#!/bin/sh\necho "$*" >>/mounted\nexec /usr/bin/mount "$@"\n'
        vm.write("usr/local/sbin/mount", text, 0o755)
        vm.attach("vdb", BOTH)
        vm.boot("prologue-start")
        assert vm.read("mounted") == "-t ext2 -o ro,nosuid,nodev,noexec /dev/vdb /var/lib/vmcontext/mnt\n"

    def test_links_and_devices_are_not_kept(self, vm: Guest) -> None:
        tree = vm.work / "odd"
        tree.mkdir()
        (tree / "prolog.sh").write_text(PROLOG)
        (tree / "shadow").symlink_to("/etc/shadow")
        os.mknod(tree / "device", 0o20600, os.makedev(1, 3))
        vm.attach_tree("vdb", tree, vm.work / "vdb.img")
        vm.boot("prologue-start")
        assert sorted(path.name for path in (vm.work / f"upper{KEPT}").iterdir()) == ["prolog.sh"]


class TestX04Scripts:
    def test_init_is_run_where_there_is_no_prolog(self, vm: Guest) -> None:
        vm.attach("vdb", {"init.sh": "echo init $1 >>/ran\n"})
        assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
        assert vm.read("ran") == "init start\n"

    def test_x16_init_is_not_run_beside_a_prolog(self, vm: Guest) -> None:
        vm.attach("vdb", {**BOTH, "init.sh": "echo init >>/ran\n"})
        vm.boot()
        assert vm.read("ran") == "prolog start\nepilog start\n"

    def test_nothing_to_run_is_success(self, vm: Guest) -> None:
        vm.attach("vdb", {"context.sh": CONTEXT})
        assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}

    def test_context_is_sourced_first_and_the_path_restored(self, vm: Guest) -> None:
        context = "A='1 2'\nPATH=/nowhere\nIFS=x\nLD_PRELOAD=/nowhere.so\nCONTEXT_DIR=/mine\n"
        show = 'printf "%s|%s|%s|%s\\n" "$A" "$PATH" "$CONTEXT_DIR" "${LD_PRELOAD-}" >>/shown\nid >/dev/null\n'
        vm.attach(
            "vdb", {"context.sh": context, "prolog.sh": f"#!/bin/sh\n{show}", "epilog.sh": f"#!/bin/bash\n{show}"}
        )
        assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        assert vm.read("shown") == f"1 2|{path}|{KEPT}|\n" * 2

    @pytest.mark.parametrize(
        ("first", "shown"), [("#!/bin/bash", "bash"), ("", "bash"), ("#!/bin/sh", "other"), ("#!/bin/sh -u", "other")]
    )
    def test_a_script_has_the_shell_that_it_names(self, vm: Guest, first: str, shown: str) -> None:
        """The book's are bash's; those without a name are the book's."""
        vm.attach(
            "vdb", {"prolog.sh": f'{first}\nif [ -n "$BASH_VERSION" ]; then echo bash; else echo other; fi >/ran\n'}
        )
        vm.boot("prologue-start")
        assert vm.read("ran") == f"{shown}\n"

    def test_a_script_of_another_language_is_executed(self, vm: Guest) -> None:
        vm.attach("vdb", {"context.sh": "A=1\n", "prolog.sh": '#!/usr/bin/awk BEGIN{print ENVIRON["A"], ARGV[1]}\n'})
        vm.attach("sr0", {})
        script = '#!/usr/bin/env -S awk -f\nBEGIN { print ENVIRON["A"] > "/ran" }\n'
        vm.detach("vdb")
        vm.attach("vdb", {"context.sh": "A=1\n", "prolog.sh": script})
        assert vm.boot("prologue-start").status["prologue-start"] == 0
        assert vm.read("ran") == "1\n"


class TestX05Isolation:
    def test_an_exit_ends_only_the_script(self, vm: Guest) -> None:
        vm.attach("vdb", {"prolog.sh": f"{PROLOG}exit 0\n", "epilog.sh": EPILOG})
        assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
        assert vm.has("var/lib/vmcontext/prologue.done")

    def test_a_failure_is_told_and_the_epilogue_runs_nevertheless(self, vm: Guest) -> None:
        vm.attach("vdb", {"prolog.sh": f"{PROLOG}echo why >&2\nexit 3\n", "epilog.sh": EPILOG})
        done = vm.boot()
        assert done.status == {"prologue-start": 1, "epilogue-start": 0}
        for place in (done.console, vm.read("var/log/vmcontext.log")):
            assert "why" in place and "The prologue (prolog.sh) FAILED" in place

    def test_a_daemon_does_not_hold_up_the_boot(self, vm: Guest) -> None:
        vm.attach("vdb", {"prolog.sh": f"{PROLOG}sleep 60 &\n"})
        began = time.monotonic()
        assert vm.boot("prologue-start").status == {"prologue-start": 0}
        assert time.monotonic() - began < 30

    def test_syslog_is_told(self, vm: Guest) -> None:
        import socket

        vm.attach("vdb", BOTH)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            # A socket's path is short.
            link = Path("/proc/self/fd") / str(os.open(vm.work / "dev", os.O_RDONLY)) / "log"
            log.bind(str(link))
            log.settimeout(10)
            vm.boot("prologue-start")
            received = b"".join(log.recv(4096) for _turn in range(2))
        assert b"vmcontext: The context disk is /dev/vdb." in received and b"DONE" in received

    def test_the_log_is_roots_alone(self, vm: Guest) -> None:
        vm.attach("vdb", BOTH)
        vm.boot()
        assert (vm.work / "upper/var/log/vmcontext.log").stat().st_mode & 0o7777 == 0o600


class TestX06NoDisk:
    def test_the_boot_goes_on_at_once(self, vm: Guest) -> None:
        began = time.monotonic()
        done = vm.boot()
        assert done.status == {"prologue-start": 0, "epilogue-start": 0}
        assert done.console.count("No context disk found.") == 1
        assert time.monotonic() - began < 10

    def test_a_disk_that_comes_late_is_waited_for(self, vm: Guest) -> None:
        vm.write(
            "usr/local/sbin/sleep", '#!/bin/sh\n[ -e /waited ] && mv /dev/late /dev/vdb\necho "$*" >>/waited\n', 0o755
        )
        vm.attach("late", BOTH)
        done = vm.boot("prologue-start", VMCONTEXT_EXPECTED="yes")
        (vm.work / "dev/vdb").rename(vm.work / "dev/late")
        assert "The context disk is /dev/vdb." in done.console
        assert vm.read("waited") == "1\n1\n"

    def test_an_unexpected_disk_is_not_waited_for_long(self, vm: Guest) -> None:
        vm.write("usr/local/sbin/sleep", '#!/bin/sh\necho "$*" >>/waited\n', 0o755)
        vm.boot("prologue-start", VMCONTEXT_WAIT="1")
        assert vm.read("waited") == "1\n"
        vm.boot("prologue-start", VMCONTEXT_WAIT="1", VMCONTEXT_EXPECTED="yes")
        assert vm.read("waited") == "1\n" * 11

    def test_a_disk_that_is_gone_leaves_nothing_to_run(self, vm: Guest) -> None:
        vm.attach("vdb", BOTH)
        vm.boot("prologue-start")
        vm.detach()
        done = vm.boot()
        assert "No context disk found." in done.console and vm.read("ran") == "prolog start\n"


class TestX07Once:
    def test_another_instance_does_everything_again(self, vm: Guest) -> None:
        for name in ("vm-1", "vm-1", "vm-2"):
            vm.attach("vdb", {**BOTH, "context.sh": f"HEPIX_INSTANCE_ID='{name}'\nVMID=7\n"})
            vm.boot()
            vm.detach()
        assert vm.read("ran") == "prolog start\nepilog start\n" * 2

    @pytest.mark.parametrize("context", ["VMID='7'\n", "A='1'\n"])
    def test_without_an_identifier_vmid_or_the_content_tells(self, vm: Guest, context: str) -> None:
        for _turn in range(2):
            vm.attach("vdb", {**BOTH, "context.sh": context})
            vm.boot()
            vm.detach()
        assert vm.read("ran").count("prolog") == 1
        vm.attach("vdb", {**BOTH, "context.sh": context.replace("'", "'1")})
        vm.boot()
        assert vm.read("ran").count("prolog") == 2

    def test_always_is_the_books_way(self, vm: Guest) -> None:
        vm.attach("vdb", {**BOTH, "context.sh": CONTEXT})
        for _turn in range(2):
            vm.boot(VMCONTEXT_FREQUENCY="always")
        assert vm.read("ran") == "prolog start\nepilog start\n" * 2

    def test_only_the_failed_phase_is_tried_again(self, vm: Guest) -> None:
        failing = f"{EPILOG}[ -e /mended ]\n"
        vm.attach("vdb", {**BOTH, "epilog.sh": failing, "context.sh": CONTEXT})
        assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 1}
        vm.write("mended", "")
        assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
        assert vm.read("ran") == "prolog start\nepilog start\nepilog start\n"
        vm.boot()
        assert vm.read("ran").count("epilog") == 2


class TestStop:
    def test_scripts_that_know_it_are_told_of_the_end(self, vm: Guest) -> None:
        knows = '#!/bin/sh\ncase "$1" in\nstart) echo begun >>/ran ;;\n"stop") echo ended >>/ran ;;\nesac\n'
        vm.attach("vdb", {"prolog.sh": knows, "epilog.sh": EPILOG, "context.sh": CONTEXT})
        vm.boot("prologue-start", "epilogue-start", "epilogue-stop", "prologue-stop")
        assert vm.read("ran") == "begun\nepilog start\nended\n"

    def test_without_a_start_there_is_no_stop(self, vm: Guest) -> None:
        assert vm.boot("prologue-stop", "epilogue-stop").status == {"prologue-stop": 0, "epilogue-stop": 0}

    def test_wrong_usage_is_told(self, vm: Guest) -> None:
        assert vm.boot("prologue-begin", "other-start").console.count("Usage:") == 2


class TestX10Hooks:
    def test_hooks_run_with_the_variables_before_the_script(self, vm: Guest) -> None:
        vm.write("etc/vmcontext.d/60-mine.sh", '# vmcontext: once prologue epilogue\necho "mine $1 $2 $A" >>/ran\n')
        vm.attach("vdb", {**BOTH, "context.sh": f"{CONTEXT}A=1\n"})
        vm.boot()
        assert vm.read("ran") == "mine prologue start 1\nprolog start\nmine epilogue start 1\nepilog start\n"
        vm.boot()
        assert vm.read("ran").count("mine") == 2

    def test_a_hook_may_run_at_every_start(self, vm: Guest) -> None:
        vm.write("etc/vmcontext.d/60-mine.sh", "# vmcontext: always epilogue\necho mine >>/ran\n")
        vm.attach("vdb", {"context.sh": CONTEXT})
        for _turn in range(2):
            vm.boot()
        assert vm.read("ran") == "mine\nmine\n"

    @pytest.mark.parametrize("who", ["image", "site"])
    def test_each_can_be_switched_off(self, vm: Guest, who: str) -> None:
        for name in ("60-mine", "61-other"):
            vm.write(f"etc/vmcontext.d/{name}.sh", f"# vmcontext: once prologue\necho {name} >>/ran\n")
        vm.attach("vdb", {"context.sh": "VMCONTEXT_SKIP='10-files 60-mine'\n" if who == "site" else CONTEXT})
        done = vm.boot(VMCONTEXT_DISABLED="60-mine" if who == "image" else "")
        assert vm.read("ran") == "61-other\n" and "The hook 60-mine is switched off." in done.console

    def test_a_hook_that_fails_is_told_and_tried_again(self, vm: Guest) -> None:
        vm.write("etc/vmcontext.d/60-mine.sh", "# vmcontext: once prologue\necho x >>/ran\nexit 1\n")
        vm.attach("vdb", {**BOTH, "context.sh": CONTEXT})
        for _turn in range(2):
            done = vm.boot()
            assert done.status["prologue-start"] == 1 and "The hook 60-mine FAILED" in done.console
        assert vm.read("ran").count("x") == 2


class TestX11Limits:
    PAYLOAD: t.ClassVar = {"payload.sh": "#!/bin/sh\nid -un >/home/grid/payload\nenv >>/home/grid/payload\n"}

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
        vm.attach(
            "vdb", {"files.map": "# source\nx 0640 grid root /etc/x.conf\n", "x": "content", "context.sh": CONTEXT}
        )
        assert vm.boot("prologue-start").status == {"prologue-start": 0}
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


def test_the_books_template_works(vm: Guest) -> None:
    """Its CONTEXT section: TTL, AFS, init.sh and flat files, no label."""
    context = "VMID='76225'\nTTL='2'\nAFS='off'\nFILES='/opt/vmimage/init.sh /opt/vmimage/etchosts'\nTARGET='vdb'\n"
    init = "#!/bin/bash\n[[ $AFS == off ]] && cp $CONTEXT_DIR/etchosts /etc/hosts\n"
    vm.attach(
        "vdb", {"context.sh": context, "init.sh": init, "etchosts": "192.0.2.1 wn\n", "id_rsa.pub": "ssh-rsa A a\n"}
    )
    assert vm.boot(until="called").status == {"prologue-start": 0, "epilogue-start": 0}
    assert vm.read("etc/hosts") == "192.0.2.1 wn\n" and vm.read("called") == "shutdown -h +120\n"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system of busybox alone."""
    root = tmp_path_factory.mktemp("tiny")
    for directory in ("bin", "usr/bin", "usr/sbin", "sbin", "proc", "dev", "tmp", "etc", "var/log", "root", "lib64"):
        (root / directory).mkdir(parents=True)
    listed = subprocess.run(["ldd", "/usr/bin/busybox"], check=False, capture_output=True, text=True, timeout=10)
    for library in [word for word in listed.stdout.split() if word.startswith("/")]:
        (root / library.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, root / library.lstrip("/"))
    shutil.copy("/usr/bin/busybox", root / "bin/busybox")
    subprocess.run(["chroot", root, "/bin/busybox", "--install", "-s"], check=True, timeout=30)
    if not (root / "usr/bin/env").exists():
        (root / "usr/bin/env").symlink_to("/bin/busybox")
    return root


def test_busybox_alone_will_do(installed: Path, tiny: Path, tmp_path: Path) -> None:
    """No coreutils, no util-linux, no python: what an old or a small image has."""
    with guest(tmp_path, installed, lower=str(tiny), shell="/bin/sh") as small:
        small.user("grid", 1000)
        small.write("opt/protected/gcc", "compiler")
        small.boot("manifest-", same_boot=True)
        payload = "#!/bin/sh\nid -un >/home/grid/payload\n"
        files = {"key": "very private", "files.map": "key 0600 root root /opt/site.key\n", "secrets.list": "file key\n"}
        context = f"{CONTEXT}PAYLOAD_USER='grid'\nHOSTNAME='tiny'\nQ='it'\\''s\n'\nTTL='1'\n"
        small.attach("vdb", {**BOTH, **files, "context.sh": context, "payload.sh": payload}, label="CONTEXT")
        done = small.boot(until="home/grid/payload")
        assert done.status == {"prologue-start": 0, "epilogue-start": 0}, done.console
        assert "not found" not in done.console.replace("disk found", "") and "sage:" not in done.console
        assert small.read("ran") == "prolog start\nepilog start\n"
        assert small.read("home/grid/payload") == "grid\n" and small.read("opt/site.key") == "very private"
        assert small.read("etc/hostname") == "tiny\n" and not small.has("var/lib/hepix/context/key")
        small.write("opt/protected/gcc", "another")
        assert "LIMITS: protected files are not those of the image: /opt/protected/gcc" in small.boot().console


@pytest.mark.needs("bsdtar", "blkid")
def test_a_real_disk_of_context_iso_is_found_by_its_label_and_type(vm: Guest) -> None:
    """The ISO image itself on the device. The kernel may not mount iso9660: a stand-in unpacks it."""
    vm.write("usr/local/sbin/mount", f"#!/bin/sh\n{MOUNT}", 0o755)
    vm.write("usr/local/sbin/umount", '#!/bin/sh\nrm -rf "$1"/* && echo unmounted >>/mounted\n', 0o755)
    options = {
        "dest": str(vm.work / "odd.img"),
        "instance_id": "vm-1",
        "scripts": {"prolog": {"content": PROLOG}, "epilog": {"content": EPILOG}},
        "files": [{"name": "x.conf", "content": "x", "target": "/etc/x.conf"}],
    }
    disks.make_disks(disks.wanted_disks(options), check=False, fetch=lambda url: b"")
    vm.attach_image("odd", vm.work / "odd.img")
    loop = vm.devices["odd"].removeprefix("/dev/")
    number = Path(vm.devices["odd"]).stat().st_rdev
    vm.node(loop, 0o60660, (os.major(number), os.minor(number)))
    done = vm.boot(listed=[loop], VMCONTEXT_FILESYSTEMS="iso9660 vfat")
    assert done.status == {"prologue-start": 0, "epilogue-start": 0}, done.console
    assert f"The context disk is /dev/{loop}." in done.console
    assert vm.read("ran") == "prolog start\nepilog start\n" and vm.read("etc/x.conf") == "x"
    assert vm.read("mounted") == f"-t iso9660 -o ro,nosuid,nodev,noexec /dev/{loop}\nunmounted\n"


MOUNT = """\
[ "$2" = "$(blkid -p -o value -s TYPE "$5")" ] || exit 32
echo "$1 $2 $3 $4 $5" >>/mounted
exec bsdtar -xf "$5" -C "$6"
"""
