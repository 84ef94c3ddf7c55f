# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The disk is found, accepted and copied (X01, X02, X03, X06), also the image that context_iso makes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.context import disks

from .guest import BOTH, EPILOG, KEPT, PROLOG, Guest

pytestmark = pytest.mark.needs("root", "unshare", "losetup", "mke2fs", "chroot", "dash", "bash", "busybox")


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

    def test_what_would_fill_the_system_is_not_copied(self, vm: Guest) -> None:
        vm.write("usr/local/sbin/df", "#!/bin/sh\nprintf 'Filesystem x\\noverlay 9000 1000 600 90%% /\\n'\n", 0o755)
        vm.attach("vdb", {**BOTH, "large": b"x" * 500_000})
        done = vm.boot("prologue-start")
        assert "larger than half of what is free" in done.console and "No context disk found." in done.console
        assert done.status == {"prologue-start": 0} and not vm.has(KEPT.lstrip("/") + ".new")

    def test_a_device_that_does_not_answer_is_passed_over(self, vm: Guest) -> None:
        text = '#!/bin/sh\n[ "$5" != /dev/xvdb ] || sleep 60\nexec /usr/bin/mount "$@"\n'
        vm.write("usr/local/sbin/mount", text, 0o755)
        vm.attach("xvdb", BOTH)
        vm.attach("vdb", BOTH)
        done = vm.boot("prologue-start", VMCONTEXT_TIME_LIMIT="1")
        assert "The device /dev/xvdb does not answer." in done.console
        assert "The context disk is /dev/vdb." in done.console and done.status == {"prologue-start": 0}


class TestX06NoDisk:
    def test_the_boot_goes_on_at_once(self, vm: Guest) -> None:
        began = time.monotonic()
        done = vm.boot()
        assert done.status == {"prologue-start": 0, "epilogue-start": 0}
        assert done.console.count("No context disk found.") == 1
        assert time.monotonic() - began < 10

    def test_devices_that_are_about_to_come_are_waited_for_once(self, vm: Guest) -> None:
        vm.attach("vdb", BOTH)
        vm.boot()
        assert vm.read("settled") == "settle --timeout=30\n"

    def test_a_disk_that_comes_late_is_waited_for(self, vm: Guest) -> None:
        vm.write(
            "usr/local/sbin/sleep", '#!/bin/sh\n[ -e /waited ] && mv /dev/late /dev/vdb\necho "$*" >>/waited\n', 0o755
        )
        vm.attach("late", BOTH)
        done = vm.boot("prologue-start", VMCONTEXT_EXPECTED="yes", VMCONTEXT_TIME_LIMIT="0")
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
