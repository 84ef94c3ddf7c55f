# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""xl's own parser reads the configurations: libxlutil of Xen 4.17. Unlike `xl -N create` it needs no hypervisor."""

from __future__ import annotations

import ctypes
import re
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import HypervisorError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.hypervisor.xl import xl_config

from .conftest import OPTIONS, Make

LIBRARY: t.Final = "/usr/lib/x86_64-linux-gnu/libxlutil.so.4.17"
XL: t.Final = "/usr/lib/xen-4.17/bin/xl"
QCOW2: t.Final = 2
RAW: t.Final = 4


class Disk(ctypes.Structure):
    """The beginning of libxl_device_disk; what follows is only room."""

    _fields_ = (
        ("backend_domid", ctypes.c_uint32),
        ("backend_domname", ctypes.c_char_p),
        ("pdev_path", ctypes.c_char_p),
        ("vdev", ctypes.c_char_p),
        ("backend", ctypes.c_int),
        ("format", ctypes.c_int),
        ("script", ctypes.c_char_p),
        ("removable", ctypes.c_int),
        ("readwrite", ctypes.c_int),
        ("is_cdrom", ctypes.c_int),
        ("room", ctypes.c_char * 1024),
    )


class Real:
    """xl's parser over one text; what it complains of is in `complaints`."""

    def __init__(self, text: str, directory: Path) -> None:
        self._libc = ctypes.CDLL(None)
        self._libc.fopen.restype = ctypes.c_void_p
        self._xlu = ctypes.CDLL(LIBRARY)
        self._xlu.xlu_cfg_init.restype = ctypes.c_void_p
        self._xlu.xlu_cfg_get_listitem.restype = ctypes.c_char_p
        self._said = directory / "complaints"
        self._report = ctypes.c_void_p(self._libc.fopen(str(self._said).encode(), b"w"))
        self._config = ctypes.c_void_p(self._xlu.xlu_cfg_init(self._report, b"machine.cfg"))
        octets = text.encode()
        self.status = self._xlu.xlu_cfg_readdata(self._config, octets, len(octets))

    @property
    def complaints(self) -> str:
        self._libc.fflush(self._report)
        return self._said.read_text(encoding="utf-8")

    def text(self, key: str) -> t.Optional[str]:
        value = ctypes.c_char_p()
        failed = self._xlu.xlu_cfg_get_string(self._config, key.encode(), ctypes.byref(value), 0)
        return None if failed or value.value is None else value.value.decode()

    def number(self, key: str) -> int:
        value = ctypes.c_long()
        assert self._xlu.xlu_cfg_get_long(self._config, key.encode(), ctypes.byref(value), 0) == 0
        return value.value

    def items(self, key: str) -> list[str]:
        items, count = ctypes.c_void_p(), ctypes.c_int()
        assert self._xlu.xlu_cfg_get_list(self._config, key.encode(), ctypes.byref(items), ctypes.byref(count), 0) == 0
        return [self._xlu.xlu_cfg_get_listitem(items, index).decode() for index in range(count.value)]

    def disks(self) -> list[tuple[str, str, int, bool, bool]]:
        """Path, name, format, whether writable, whether a CD-ROM."""
        found = []
        for item in self.items("disk"):
            disk, specs = Disk(), (ctypes.c_char_p * 1)(item.encode())
            assert self._xlu.xlu_disk_parse(self._config, 1, specs, ctypes.byref(disk)) == 0, self.complaints
            named = (disk.pdev_path.decode(), disk.vdev.decode())
            found.append((*named, disk.format, bool(disk.readwrite), bool(disk.is_cdrom)))
        return found


needs_xl = pytest.mark.needs(LIBRARY)
CONTEXT: t.Final = OPTIONS["contexts"][0]["path"]
DISK: t.Final = OPTIONS["disk"]["path"]
TYPES: t.Final = {"xen_hvm": "hvm", "xen_para": "pv", "xen_pvh": "pvh"}
CONTEXT_DISK: t.Final = {
    "xen_hvm": (CONTEXT, "hdc", RAW, False, True),
    "xen_para": (CONTEXT, "xvdb", RAW, False, False),
    "xen_pvh": (CONTEXT, "xvdb", RAW, False, False),
}


@needs_xl
@pytest.mark.parametrize("mode", TYPES)
def test_xls_parser_reads_what_was_meant(make: Make, tmp_path: Path, mode: str) -> None:
    real = Real(xl_config(make(mode)), tmp_path)
    assert (real.status, real.complaints) == (0, "")
    assert (real.text("name"), real.text("uuid")) == (OPTIONS["name"], OPTIONS["uuid"])
    assert (real.text("type"), real.number("memory"), real.number("vcpus")) == (TYPES[mode], 2048, 2)
    assert real.disks() == [(DISK, "xvda", RAW, True, False), CONTEXT_DISK[mode]]
    assert real.items("vif") == [f"mac={make(mode).networks[0].mac},bridge=br0"]
    assert real.complaints == ""


@needs_xl
@pytest.mark.parametrize("mode", ["xen_para", "xen_pvh"])
def test_pygrub_gets_the_entry_of_the_matrix(make: Make, tmp_path: Path, mode: str) -> None:
    real = Real(xl_config(make(mode, facts={mode: {"entry": 3}})), tmp_path)
    assert real.text("bootloader") == "pygrub"
    assert real.items("bootloader_args") == ["--entry=3"]
    assert real.items("vfb") == ["vnc=1,vnclisten=127.0.0.1"]


@needs_xl
def test_full_virtualisation_has_a_serial_line_and_a_screen_on_loopback(make: Make, tmp_path: Path) -> None:
    real = Real(xl_config(make("xen_hvm", console_log="/var/log/worker.log")), tmp_path)
    assert real.text("serial") == "file:/var/log/worker.log"
    assert (real.number("vnc"), real.text("vnclisten")) == (1, "127.0.0.1")
    assert Real(xl_config(make("xen_hvm", vnc=None)), tmp_path).number("vnc") == 0


@needs_xl
def test_an_overlay_is_named_as_one(make: Make, tmp_path: Path) -> None:
    overlay = {"path": "/srv/format=raw,a:b c.qcow2", "format": "qcow2", "backing": {"path": "/srv/master.img"}}
    real = Real(xl_config(make("xen_para", disk=overlay, contexts=None, networks=None)), tmp_path)
    assert real.disks() == [(overlay["path"], "xvda", QCOW2, True, False)]
    assert real.items("vif") == []


@needs_xl
def test_the_parser_would_complain(tmp_path: Path) -> None:
    real = Real('name = "a\nb"\n', tmp_path)
    assert real.status != 0
    assert "machine.cfg:1" in real.complaints


@pytest.mark.needs(XL)
@pytest.mark.parametrize("mode", TYPES)
def test_xl_knows_every_key(make: Make, mode: str) -> None:
    """What xl does not know it passes over in silence, as it does with the book's bootargs."""
    program = Path(XL).read_bytes()
    text = xl_config(make(mode)) + xl_config(make(mode, vnc=None))
    keys = set(re.findall(r"^([a-z_]+) = ", text, re.MULTILINE))
    assert {"name", "disk", "vif"} <= keys
    assert [key for key in sorted(keys) if key.encode() + b"\0" not in program] == []
    assert b"bootargs\0" not in program


@pytest.mark.parametrize("mode", ["kvm", "qemu"])
def test_other_machines_are_not_xls(make: Make, mode: str) -> None:
    with pytest.raises(HypervisorError) as refused:
        xl_config(make(mode))
    assert refused.value.code == "output_unsupported"


@pytest.mark.parametrize("network", [{"type": "user"}, {"type": "network", "source": "default"}])
def test_a_network_that_xl_does_not_know_is_refused(make: Make, network: dict[str, str]) -> None:
    with pytest.raises(HypervisorError) as refused:
        xl_config(make("xen_para", networks=[network]))
    assert refused.value.code == "output_unsupported"
