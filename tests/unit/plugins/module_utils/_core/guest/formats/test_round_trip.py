# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody changed stays as it is, octet for octet."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.assignments import Assignments
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.bls import BootEntry
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.fstab import Fstab
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.grub_cfg import GrubCfg
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.grub_legacy import GrubConf
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.inittab import Inittab
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.interfaces import Interfaces
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.keyfile import Keyfile
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.lines import Document
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.modprobe import Modprobe
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.netplan import Netplan
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.formats.words import Words

FORMATS = (
    Assignments,
    BootEntry,
    Fstab,
    GrubCfg,
    GrubConf,
    Inittab,
    Interfaces,
    Keyfile,
    Modprobe,
    Netplan,
    Words,
)

#: Pieces that the formats give a meaning to, put together in every order, between octets that mean nothing.
PIECES = st.sampled_from(
    [
        b"title One",
        b"title=Two",
        b"\tkernel /vmlinuz ro root=LABEL=/",
        b"\tinitrd /initrd.img",
        b"\tmodule /vmlinuz",
        b"default=1",
        b"default 0",
        b"menuentry 'One' --id x {",
        b'submenu "More" {',
        b"\tlinux\t/vmlinuz ro quiet ",
        b"}",
        b"function load_video {",
        b"blscfg",
        b'set default="${saved_entry}"',
        b"options root=LABEL=/ ro",
        b"LABEL=/ / ext3 defaults 1 1",
        b"/dev/hda2 swap swap",
        b"1:2345:respawn:/sbin/mingetty tty1",
        b"# Run gettys in standard runlevels",
        b"co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav",
        b"HWADDR=00:16:3E:00:00:1F",
        b'GRUB_CMDLINE_LINUX="a b',
        b"it's\"",
        b"add_drivers+=' x '",
        b"alias eth0 virtio_net",
        b"[Match]",
        b"MACAddress=00:16:3e:00:00:1f",
        b"iface eth0 inet dhcp",
        b"  hwaddress ether 00:16:3e:00:00:1f",
        b"network:",
        b"    match:",
        b"      macaddress: 00:16:3e:00:00:1f",
        b"    set-name: eth0",
        b"# a comment",
        b" ",
        b"\t",
        b"\\",
    ]
)
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\x0c", "\u2028".encode(), b""])
OCTETS = st.one_of(
    st.binary(max_size=200),
    st.lists(st.tuples(PIECES, ENDS), max_size=14).map(lambda parts: b"".join(a + b for a, b in parts)),
    st.lists(st.one_of(PIECES, st.binary(max_size=6), ENDS), max_size=14).map(b"".join),
)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=150, deadline=None)
@given(octets=OCTETS)
def test_a_file_that_is_only_read_stays_as_it_is(kind: type[Document], octets: bytes) -> None:
    assert kind.parse(octets).dump() == octets


def unchanged(document: t.Any) -> t.Iterator[t.Any]:
    """The document after edits that ask for what is there already."""
    if isinstance(document, Assignments):
        for item in document.found:
            yield document.with_value(item.name, t.cast(str, document.get(item.name)))
        yield document.without_names("NOT_THERE")
    elif isinstance(document, GrubConf):
        yield document.with_entries(document.entries)
        yield document.with_entries([entry.with_arguments(entry.arguments) for entry in document.entries])
        yield document.with_entries(
            [entry.with_command("kernel", entry.get("kernel") or "") for entry in document.entries if entry.kernel]
            if all(entry.kernel for entry in document.entries)
            else document.entries
        )
    elif isinstance(document, GrubCfg):
        for entry in document.entries:
            if entry.kernel is not None:
                yield document.with_arguments(entry, entry.kernel.arguments)
    elif isinstance(document, BootEntry):
        yield document.with_arguments(document.arguments)
    elif isinstance(document, Keyfile):
        for setting in document.settings:
            value = t.cast(str, document.get(setting.section, setting.key))
            yield document.with_value(setting.section, setting.key, value)
        yield document.without_keys("Match", "NotThere")
    elif isinstance(document, Words):
        yield document.with_words(*document.words)
    elif isinstance(document, Modprobe):
        yield document.without_aliases("nothing")
    elif isinstance(document, Interfaces):
        yield document.without_option("nothing")


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=150, deadline=None)
@given(octets=OCTETS)
def test_asking_for_what_is_there_changes_nothing(kind: type[Document], octets: bytes) -> None:
    for same in unchanged(kind.parse(octets)):
        assert same.dump() == octets


#: Lines that leave no quotation open, so that what is added after them is read.
CLOSED = st.lists(
    st.sampled_from(["A=1", "ADDED=old", "export B='x y'", "# c", "", 'C="1 # 2" # 3', "if x; then"])
).map("\n".join)
VALUE = st.text(st.characters(exclude_characters="\r\n\x00", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=200, deadline=None)
@given(text=CLOSED, value=VALUE)
def test_a_value_that_is_set_is_read_back_and_set_once(text: str, value: str) -> None:
    changed = Assignments.parse(text.encode()).with_value("ADDED", value)
    assert Assignments.parse(changed.dump()).get("ADDED") == value
    assert changed.with_value("ADDED", value).dump() == changed.dump()
    others = [line for line in text.split("\n") if not line.startswith("ADDED")]
    assert [line for line in changed.dump().decode().split("\n") if line in others and line] == list(
        filter(None, others)
    )


ENTRY = st.integers(0, 99).map(
    lambda number: [f"title {number}", f"\tkernel /vmlinuz-{number} ro", f"\tinitrd /{number}"]
)
GAPS = st.lists(st.sampled_from(["", "# between", "   "]), max_size=2)


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(st.tuples(ENTRY, GAPS), min_size=1, max_size=5),
    newline=st.sampled_from(["\n", "\r\n"]),
    ended=st.booleans(),
)
def test_entries_are_put_in_another_order_without_loss(parts: t.Any, newline: str, ended: bool) -> None:
    lines = ["default=0", *(line for entry, gap in parts for line in (*entry, *gap))]
    text = newline.join(lines) + (newline if ended else "")
    document = GrubConf.parse(text.encode())
    assert [list(entry.bodies) for entry in document.entries] == [entry for entry, _gap in parts]
    turned = GrubConf.parse(document.with_entries(document.entries[::-1]).dump())
    assert [entry.bodies for entry in turned.entries] == [entry.bodies for entry in document.entries[::-1]]
    assert sorted(filter(None, turned.bodies)) == sorted(filter(None, document.bodies))
    assert turned.with_entries(turned.entries[::-1]).bodies == document.bodies
