# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts and hooks run as they should, once, with every shell (X04, X05, X07, X10, X16), and at the end."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context import disks
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context.iso.image import read_image

from .guest import BOTH, CONTEXT, EPILOG, KEPT, PROLOG, Guest, guest

pytestmark = pytest.mark.needs("root", "unshare", "losetup", "mke2fs", "chroot", "dash", "bash", "busybox")


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


def test_what_never_ends_is_ended_with_every_shell(any_shell: Guest) -> None:
    """Together with what it started; a script that is in time keeps its daemons."""
    hanging = f"{PROLOG}trap '' TERM\n(sleep 4; echo late >>/ran) &\nsleep 60\n"
    daemon = f"{EPILOG}(sleep 2; echo daemon >/daemon) &\n"
    any_shell.attach("vdb", {"prolog.sh": hanging, "epilog.sh": daemon, "context.sh": CONTEXT})
    began = time.monotonic()
    done = any_shell.boot(until="daemon", VMCONTEXT_TIME_LIMIT="1")
    assert time.monotonic() - began < 30
    assert done.status == {"prologue-start": 1, "epilogue-start": 0}
    assert "prolog.sh took longer than 1 s and was ended." in done.console
    assert "The prologue (prolog.sh) FAILED" in done.console and "The epilogue (epilog.sh) DONE" in done.console
    assert any_shell.read("ran") == "prolog start\nepilog start\n" and any_shell.has("daemon")
    assert not any_shell.has("var/lib/vmcontext/prologue.done")


def test_variables_that_never_come_hold_up_nothing_with_every_shell(any_shell: Guest) -> None:
    any_shell.user("grid", 1000)
    payload = "#!/bin/sh\ntouch /home/grid/payload\n"
    context = f"{CONTEXT}PAYLOAD_USER='grid'\nsleep 60\n"
    any_shell.attach("vdb", {**BOTH, "payload.sh": payload, "context.sh": context})
    began = time.monotonic()
    done = any_shell.boot(VMCONTEXT_TIME_LIMIT="1")
    assert time.monotonic() - began < 30
    assert done.status == {"prologue-start": 1, "epilogue-start": 1}
    assert done.console.count("context.sh took longer than 1 s and was ended.") == 2
    assert not any_shell.has("ran") and not any_shell.has("home/grid/payload")


def test_scripts_of_windows_are_not_run(vm: Guest) -> None:
    vm.user("grid", 1000)
    scripts = dict.fromkeys(("prolog.sh", "epilog.sh", "payload.sh"), "#!/bin/sh\r\ntouch /ran\r\n")
    vm.attach("vdb", {**scripts, "context.sh": "PAYLOAD_USER='grid'\n"})
    done = vm.boot()
    assert done.status == {"prologue-start": 1, "epilogue-start": 1}
    assert [name for name in scripts if f"{name} has the line ends CR LF, and is not run." not in done.console] == []


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


class TestX04Scripts:
    def test_init_is_run_where_there_is_no_prolog(self, vm: Guest) -> None:
        vm.attach("vdb", {"init.sh": "echo init $1 >>/ran\n"})
        assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
        assert vm.read("ran") == "init start\n"

    def test_x16_init_is_not_run_beside_a_prolog(self, vm: Guest) -> None:
        vm.attach("vdb", {**BOTH, "init.sh": "echo init >>/ran\n"})
        vm.boot()
        assert vm.read("ran") == "prolog start\nepilog start\n"

    def test_x16_init_is_left_to_one_context(self, vm: Guest) -> None:
        vm.attach("vdb", {"init.sh": "echo init >>/ran\n", "context.sh": CONTEXT})
        vm.write("etc/one-context.d/loc-99-execute-scripts", "")
        done = vm.boot()
        assert done.status == {"prologue-start": 0, "epilogue-start": 0}
        assert "init.sh is left to one-context." in done.console and not vm.has("ran")

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

    @pytest.mark.parametrize("limit", ["1", "0"])
    def test_a_hook_has_the_same_limit(self, vm: Guest, limit: str) -> None:
        vm.write("etc/vmcontext.d/60-mine.sh", "# vmcontext: once prologue\nsleep 2\n")
        vm.attach("vdb", BOTH)
        done = vm.boot("prologue-start", VMCONTEXT_TIME_LIMIT=limit)
        ended = "60-mine.sh took longer than 1 s and was ended." in done.console
        assert ended is (limit == "1") and vm.read("ran") == "prolog start\n"

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


def test_the_books_template_works(vm: Guest) -> None:
    """Its CONTEXT section: TTL, AFS, init.sh and flat files, no label."""
    context = "VMID='76225'\nTTL='2'\nAFS='off'\nFILES='/opt/vmimage/init.sh /opt/vmimage/etchosts'\nTARGET='vdb'\n"
    init = "#!/bin/bash\n[[ $AFS == off ]] && cp $CONTEXT_DIR/etchosts /etc/hosts\n"
    vm.attach(
        "vdb", {"context.sh": context, "init.sh": init, "etchosts": "192.0.2.1 wn\n", "id_rsa.pub": "ssh-rsa A a\n"}
    )
    assert vm.boot().status == {"prologue-start": 0, "epilogue-start": 0}
    assert vm.read("etc/hosts") == "192.0.2.1 wn\n" and vm.has("var/lib/vmcontext/ttl")


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
