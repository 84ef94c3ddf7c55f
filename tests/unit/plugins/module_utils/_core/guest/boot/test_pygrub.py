# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pygrub reads is what pygrub reads: compared with the real one's parser, of Debian's xen-utils-4.17."""

from __future__ import annotations

import importlib
import logging
import sys
import types
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.pygrub import read_menu

XEN = "/usr/lib/xen-4.17/lib/python"

LINES = st.sampled_from(
    """title One|titleTwo|title|title=x|default 1|default=saved|default -1|default=x|default|timeout 5|root (hd0,0)
root (hd0,|root hd|root (/dev/xvda,1)|kernel /vmlinuz ro|kernel=/x|kernel (hd0,0)/vmlinuz a b|kernel (hd0
kernel /a\tb c|kernel /a\tb|initrd /i|initrd (hd0,1)/i|module /m|splashimage=(hd0,0)/x|splashimage (x|password x
menuentry 'A' {|menuentry 'A' --id x {|menuentry "B"  {|menuentry C {|submenu 'x' {|}|} # x|set default="1"
set default='2'|set default=${saved_entry}|set default="${next_entry}"|set root='hd0,msdos1'|set root=(hd0,1)
set root=lvm/x|set|set x|set k="a=b c"|set x= y|linux /v ro|linux16 /v|linux\t/v ro quiet|linuxefi /v|initrd16 /i
initrd /a /b|function f {|function g|if x; then|fi|insmod x|# c|| \t""".replace("\n", "|").split("|")
)


@pytest.fixture(scope="module")
def real() -> t.Iterator[types.ModuleType]:
    sys.path.insert(0, XEN)
    logging.disable(logging.CRITICAL)
    yield importlib.import_module("grub.GrubConf")
    logging.disable(logging.NOTSET)
    sys.path.remove(XEN)


@pytest.mark.needs(f"{XEN}/grub/GrubConf.py")
@settings(max_examples=600, deadline=None)
@given(lines=st.lists(LINES, max_size=12), form=st.sampled_from(["grub", "grub2"]))
def test_any_configuration_is_read_as_pygrub_reads_it(real: t.Any, lines: list[str], form: str) -> None:
    text = "\n".join(lines)
    assert ours(text, form) == theirs(real, text, form)


@pytest.mark.needs(f"{XEN}/grub/GrubConf.py")
def test_the_configurations_of_the_systems_are_read_as_pygrub_reads_them(
    real: t.Any, systems: t.Any, tmp_path: Path
) -> None:
    for name in systems.NAMES:
        directory = systems.unpack(name, tmp_path / name)
        for path in [*directory.rglob("grub.cfg"), *directory.rglob("grub.conf")]:
            form = "grub2" if path.suffix == ".cfg" else "grub"
            assert ours(path.read_text(), form) == theirs(real, path.read_text(), form)


def ours(text: str, form: str) -> t.Any:
    menu = read_menu(text, form)
    if menu.error is not None:
        return "given up"
    return [(image.title, image.kernel, image.arguments, image.initrd) for image in menu.images], menu.default


def theirs(real: t.Any, text: str, form: str) -> t.Any:
    parser = real.Grub2ConfigFile() if form == "grub2" else real.GrubConfigFile()
    try:
        parser.parse(text)
    except Exception:
        return "given up"
    images = [
        (image.title, image.kernel and image.kernel[1], image.args or "", image.initrd and image.initrd[1])
        for image in parser.images
    ]
    return images, parser.default if parser.default < len(images) else 0
