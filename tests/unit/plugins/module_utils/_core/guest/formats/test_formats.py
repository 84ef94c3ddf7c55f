# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each format reads, and what its edits write."""

from __future__ import annotations

from textwrap import dedent

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.assignments import Assignments
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.bls import (
    BootEntry,
    environment,
    version_key,
)
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.fstab import Fstab
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.grub_cfg import GrubCfg
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.grub_legacy import GrubConf
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.inittab import Inittab
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.interfaces import Interfaces
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.keyfile import Keyfile
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.modprobe import Modprobe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.netplan import Netplan
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.words import Words


class TestAssignments:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("A=b\n", "b"),
            ('A="b c" # d\n', "b c"),
            ("A='b'\"c\"d\n", "bcd"),
            ("export A=b\n", "b"),
            ("A=b\nA=c\n", "c"),
            ('A="x"\nA+=" y"\n', "x y"),
            ('A="two\nlines"\n', "two\nlines"),
            ('A="a \\"b\\" \\$c"\n', 'a "b" $c'),
            ("A=b\r\n", "b"),
            ("A=\n", ""),
            ("A=b c\n", None),
            ("# A=b\n", None),
            ('A="never closed\n', None),
            ("AB=b\n", None),
        ],
    )
    def test_what_a_shell_takes_for_an_assignment_is_read(self, text: str, value: str | None) -> None:
        assert Assignments.parse(text.encode()).get("A") == value

    def test_the_quotes_of_a_value_stay(self) -> None:
        document = Assignments.parse(b"A='b'\r\nC=\"d\"\r\nE=f # g")
        changed = document.with_value("A", "1").with_value("C", "2").with_value("E", "3")
        assert changed.dump() == b"A='1'\r\nC=\"2\"\r\nE=3 # g"

    def test_a_line_without_an_end_gets_one_before_another_follows(self) -> None:
        assert Assignments.parse(b"A=b").with_value("C", "d e").dump() == b'A=b\nC="d e"\n'

    def test_every_assignment_of_a_name_is_removed_with_all_its_lines(self) -> None:
        assert Assignments.parse(b'A=1\nB="x\ny"\nC=2\nB=3\n').without_names("B").dump() == b"A=1\nC=2\n"


class TestFstab:
    def test_mounts_are_read_and_a_source_is_changed_in_its_place(self) -> None:
        document = Fstab.parse(b"# c\n/dev/hda3   /\text3\tdefaults,noatime\t1 1\nLABEL=my\\040data /data ext3\n\n")
        assert [(mount.source, mount.target, mount.label) for mount in document.mounts] == [
            ("/dev/hda3", "/", None),
            ("LABEL=my data", "/data", "my data"),
        ]
        changed = document.with_source(document.mounts[0], "LABEL=/")
        assert changed.dump().split(b"\n")[1] == b"LABEL=/   /\text3\tdefaults,noatime\t1 1"


class TestInittab:
    BOOK = b"""id:3:initdefault:
# Run gettys in standard runlevels
1:2345:respawn:/sbin/mingetty tty1
2:2345:respawn:/sbin/mingetty tty2
x:5:respawn:/etc/X11/prefdm -nodaemon
"""

    def test_the_terminals_with_a_getty_are_read(self) -> None:
        assert Inittab.parse(self.BOOK).terminals == ("tty1", "tty2")
        debian = b"1:2345:respawn:/sbin/getty --noclear 38400 tty1\nT0:23:respawn:/sbin/getty -L ttyS0 9600 vt100\n"
        assert Inittab.parse(debian).terminals == ("tty1", "ttyS0")
        assert (
            Inittab.parse(b"co:2345:off:/sbin/agetty hvc0 9600 vt100\n#1:2345:respawn:/sbin/getty tty1\n").terminals
            == ()
        )

    def test_a_getty_is_put_where_the_book_puts_it(self) -> None:
        document = Inittab.parse(self.BOOK)
        changed = document.with_getty("co", "/sbin/agetty xvc0 9600 vt100-nav")
        assert changed.bodies[2] == "co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav"
        assert changed.commented(changed.processes[3]).bodies[4] == "#2:2345:respawn:/sbin/mingetty tty2"


def test_modprobe_aliases_are_found_and_removed() -> None:
    document = Modprobe.parse(
        b"alias eth0 virtio_net\nalias scsi_hostadapter virtio_blk\n#alias eth1 x\noptions eth0 a=b\n"
    )
    assert document.aliases("eth[0-9]+") == ((0, "eth0", "virtio_net"),)
    assert document.without_aliases("eth[0-9]+").dump() == document.dump().split(b"\n", 1)[1]


def test_words_are_added_once() -> None:
    document = Words.parse(b"# c\nconsole\nvc/1 # x\ntty1")
    assert document.words == ("console", "vc/1", "tty1")
    assert document.with_words("tty1", "hvc0").dump() == b"# c\nconsole\nvc/1 # x\ntty1\nhvc0\n"


class TestKeyfile:
    def test_keys_are_read_changed_added_and_removed_in_their_section(self) -> None:
        document = Keyfile.parse(b"[connection]\nid = eth0\n\n[ethernet]\nmac-address=00:16:3E:00:00:1F\n")
        assert document.get("connection", "id") == "eth0"
        assert document.without_keys("ethernet", "mac-address").get("ethernet", "mac-address") is None
        changed = document.with_value("connection", "interface-name", "eth0").with_value("ipv4", "method", "auto")
        assert changed.dump().startswith(b"[connection]\ninterface-name=eth0\nid = eth0\n")
        assert changed.dump().endswith(b"[ipv4]\nmethod=auto\n")


def test_interfaces_options_belong_to_their_stanza() -> None:
    text = b"auto eth0\niface eth0 inet dhcp\n    hwaddress ether 00:16:3e:00:00:1f\n    mtu 1500\n# hwaddress x\n"
    document = Interfaces.parse(text)
    assert document.options("hwaddress") == ((2, "eth0", "ether 00:16:3e:00:00:1f"),)
    assert document.without_option("hwaddress").dump() == text.replace(b"    hwaddress ether 00:16:3e:00:00:1f\n", b"")


class TestNetplan:
    def test_a_match_on_the_address_becomes_one_on_the_name(self) -> None:
        text = dedent("""\
            network:
              version: 2
              ethernets:
                eth0:
                  dhcp4: true  # by the site
                  match:
                    macaddress: 00:16:3e:00:00:1f
                  set-name: eth0
            """)
        wanted = text.replace("macaddress: 00:16:3e:00:00:1f", 'name: "e*"').replace("      set-name: eth0\n", "")
        document = Netplan.parse(text.encode())
        assert document.without_pins().dump().decode() == wanted
        assert Netplan.parse(wanted.encode()).without_pins().dump().decode() == wanted

    def test_a_name_that_is_matched_as_well_stays_and_an_address_that_is_set_goes(self) -> None:
        text = 'eth0:\n  match:\n    name: "en*"\n    macaddress: "x"\n  macaddress: "y"\n'
        assert Netplan.parse(text.encode()).without_pins().dump().decode() == 'eth0:\n  match:\n    name: "en*"\n'

    def test_what_is_written_otherwise_is_found_and_left_alone(self) -> None:
        document = Netplan.parse(b"eth0: {match: {macaddress: x}}\n")
        assert document.unclear == (0,)
        assert document.without_pins() == document


class TestBootEntries:
    def test_every_initrd_of_an_entry_is_loaded(self) -> None:
        entry = BootEntry.parse(b"linux /k\ninitrd /microcode.img $tuned\ninitrd /initramfs.img\n")
        assert entry.initrds == ("/microcode.img", "/initramfs.img")

    def test_arguments_are_read_from_every_options_line_and_written_to_the_first(self) -> None:
        entry = BootEntry.parse(b"title X\nversion 5.14\noptions root=LABEL=/ ro\noptions quiet\nid a\n")
        assert entry.arguments == ("root=LABEL=/", "ro", "quiet")
        assert entry.with_arguments(("a", "b")).dump() == b"title X\nversion 5.14\noptions a b\nid a\n"

    def test_newer_kernels_come_first_and_rescue_ones_last(self) -> None:
        names = ["m-0-rescue", "m-5.14.0-70", "m-5.14.0-427", "m-6.1~rc1", "m-6.1"]
        assert sorted(names, key=version_key, reverse=True) == [
            "m-6.1",
            "m-6.1~rc1",
            "m-5.14.0-427",
            "m-5.14.0-70",
            "m-0-rescue",
        ]

    def test_the_environment_block_is_read(self) -> None:
        block = b"# GRUB Environment Block\nsaved_entry=m-5.14\nkernelopts=root=LABEL=/ ro\n" + b"#" * 900
        assert environment(block) == {"saved_entry": "m-5.14", "kernelopts": "root=LABEL=/ ro"}


class TestGrubConf:
    BOOK = b"""default=1
timeout=5
#hiddenmenu
title Xen (2.6.18-194.8.1.el5xen)
\troot (hd0,0)
\tkernel /xen.gz-2.6.18-194.8.1.el5
\tmodule /vmlinuz-2.6.18-194.8.1.el5xen ro root=LABEL=/
\tmodule /initrd-2.6.18-194.8.1.el5xen.img
title Plain
\troot (hd0,0)
\tkernel --type=linux /vmlinuz-2.6.18-164.el5 ro root=LABEL=/
\tinitrd /initrd-2.6.18-164.el5.img
"""

    def test_entries_are_read(self) -> None:
        document = GrubConf.parse(self.BOOK)
        xen, plain = document.entries
        assert (document.default, xen.title, plain.title) == ("1", "Xen (2.6.18-194.8.1.el5xen)", "Plain")
        assert xen.all("module")[1] == "/initrd-2.6.18-194.8.1.el5xen.img"
        assert (plain.kernel, plain.arguments) == ("/vmlinuz-2.6.18-164.el5", ("ro", "root=LABEL=/"))

    def test_entries_are_changed_line_by_line(self) -> None:
        document = GrubConf.parse(self.BOOK)
        xen, plain = document.entries
        paravirtual = (
            xen.with_command("kernel", "/vmlinuz-x ro")
            .without_command("module")
            .with_command("initrd", "/initrd-x.img")
        )
        changed = document.with_entries([plain.with_arguments(("ro", "quiet")), paravirtual]).with_default(0)
        assert changed.dump().decode() == dedent("""\
            default=0
            timeout=5
            #hiddenmenu
            title Plain
            \troot (hd0,0)
            \tkernel --type=linux /vmlinuz-2.6.18-164.el5 ro quiet
            \tinitrd /initrd-2.6.18-164.el5.img
            title Xen (2.6.18-194.8.1.el5xen)
            \troot (hd0,0)
            \tkernel /vmlinuz-x ro
            \tinitrd /initrd-x.img
            """)


class TestGrubCfg:
    CFG = b"""set default="0"
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
else
   set default="${saved_entry}"
fi
function gfxmode {
\tset gfxpayload="${1}"
}
menuentry 'Debian' --class gnu-linux $menuentry_id_option 'gnulinux-simple-x' {
\tinsmod ext2
\tset root='hd0,msdos1'
\tif [ x$feature_platform_search_hint = xy ]; then
\t\tsearch --no-floppy --fs-uuid --set=root --hint-bios=hd0,msdos1  0f3a
\telse
\t\tsearch --no-floppy --fs-uuid --set=root 0f3a
\tfi
\techo\t'Loading Linux {'
\tlinux\t/vmlinuz-6.1 root=LABEL=/ ro  quiet
\tinitrd\t/initrd-6.1
}
submenu 'More' $menuentry_id_option 'more' {
\tmenuentry 'Old' --id old {
\t\tlinux16 /vmlinuz-5.10 ro
\t\tinitrd16 /early.img /initrd-5.10
\t}
\tmenuentry "Xen" {
\t\tmultiboot2 /xen.gz
\t\tmodule2 /vmlinuz-6.1 ro
\t}
}
menuentry 'Last' { true
}
"""

    def test_entries_are_read_with_their_places_in_the_menu(self) -> None:
        document = GrubCfg.parse(self.CFG)
        assert [(entry.position, entry.title, entry.identifier) for entry in document.entries] == [
            ("0", "Debian", "gnulinux-simple-x"),
            ("1>0", "Old", "old"),
            ("1>1", "Xen", None),
            ("2", "Last", None),
        ]
        debian, old, xen, _last = document.entries
        assert debian.kernel is not None and debian.kernel.arguments == ("root=LABEL=/", "ro", "quiet")
        assert (debian.search, debian.root, debian.initrds) == ("0f3a", "hd0,msdos1", ("/initrd-6.1",))
        assert old.initrds == ("/early.img", "/initrd-5.10")
        assert xen.kernel is None and xen.modules == ("multiboot2", "module2")
        assert document.default == "${saved_entry}"

    def test_a_kernels_arguments_are_changed_in_its_line(self) -> None:
        document = GrubCfg.parse(self.CFG)
        changed = document.with_arguments(document.entries[0], ("root=LABEL=/", "ro", "console=hvc0"))
        assert changed.dump() == self.CFG.replace(b"ro  quiet", b"ro console=hvc0")
