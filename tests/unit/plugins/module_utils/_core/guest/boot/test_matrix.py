# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The matrix of small systems, written by us: which modes, by which entry, and every reason why not."""

from __future__ import annotations

import json
import os
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.matrix import MODES
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.report import report
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.survey import survey
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.mount.images import mount_image, unmount_image
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

pytestmark = pytest.mark.needs("zstd", "lz4")


def look(directory: Path, **more: t.Any) -> dict[str, t.Any]:
    with Root(directory) as root:
        return report(survey(root, **more))


def reasons(found: dict[str, t.Any], mode: str) -> list[str]:
    return [f"{item['requirement']} {item['text']}" for item in found["matrix"][mode]["reasons"]]


def warnings(found: dict[str, t.Any], mode: str) -> list[str]:
    return [f"{item['requirement']} {item['text']}" for item in found["matrix"][mode]["warnings"]]


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


HYPERVISOR = "A13 The entry starts a hypervisor, not the system's kernel."
LACKS = "{} /boot/{} lacks xen_blkfront."
NO_ENTRY = (
    "A10 /boot/grub2/grub.cfg: pygrub finds no entry in it. "
    "Entries are in files of their own, which pygrub does not read."
)
EL7_NAMES = [
    "A02 The root is /dev/vda2, which has another name under another hypervisor.",
    "A02 /etc/fstab: /dev/vda2 has another name under another hypervisor.",
    "A02 /etc/fstab: /dev/vda1 has another name under another hypervisor.",
]
EL6, EL7 = "initramfs-2.6.32-754.el6.x86_64.img", "initramfs-3.10.0-1160.el7.x86_64.img"
EL9, DEBIAN = "initramfs-5.14.0-427.el9.x86_64.img", "initrd.img-6.1.0-18-amd64"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("el5", [[HYPERVISOR], [HYPERVISOR], [HYPERVISOR], [HYPERVISOR]]),
        (
            "el6",
            [
                [],
                [LACKS.format("A09", EL6)],
                [LACKS.format("A12", EL6)],
                ["A11 Kernel 2.6.32-754.el6.x86_64 is built without XEN_PVH.", LACKS.format("A12", EL6)],
            ],
        ),
        (
            "el7",
            [
                [],
                [LACKS.format("A09", EL7), *EL7_NAMES],
                [LACKS.format("A12", EL7), *EL7_NAMES],
                ["A11 Kernel 3.10.0-1160.el7.x86_64 is built without XEN_PVH.", LACKS.format("A12", EL7), *EL7_NAMES],
            ],
        ),
        ("el9", [[], [LACKS.format("A09", EL9)], [NO_ENTRY], [NO_ENTRY]]),
        ("debian12", [[], *[[LACKS.format(name, DEBIAN)] for name in ("A09", "A12", "A12")]]),
        ("ubuntu", [[], [], [], []]),
    ],
)
def test_the_matrix_gives_every_reason(systems: t.Any, tmp_path: Path, name: str, wanted: list[list[str]]) -> None:
    found = look(systems.unpack(name, tmp_path))
    assert {mode: reasons(found, mode) for mode in MODES} == dict(zip(MODES, wanted))
    assert [found["matrix"][mode]["ok"] for mode in MODES] == [not texts for texts in wanted]
    assert found["problems"] == []


@pytest.mark.parametrize(
    ("name", "init", "tool", "loader", "paths"),
    [
        ("el5", "sysv", "mkinitrd", "grub", ["/etc/sysconfig/network-scripts/ifcfg-eth0", "/etc/modprobe.conf"]),
        ("el6", "upstart", "dracut", "grub", ["/etc/udev/rules.d/70-persistent-net.rules"]),
        ("el7", "systemd", "dracut", "grub2", ["/etc/sysconfig/network-scripts/ifcfg-ens3"]),
        ("el9", "systemd", "dracut", "grub2", ["/etc/NetworkManager/system-connections/ens3.nmconnection"]),
        ("debian12", "systemd", "initramfs-tools", "grub2", ["/etc/network/interfaces"]),
        ("ubuntu", "systemd", "initramfs-tools", "grub2", ["/etc/netplan/50-cloud-init.yaml"]),
    ],
)
def test_a_system_is_told_by_what_is_in_it(
    systems: t.Any, tmp_path: Path, name: str, init: str, tool: str, loader: str, paths: list[str]
) -> None:
    found = look(systems.unpack(name, tmp_path))
    assert (found["system"]["init"], found["system"]["initrd_tool"], found["loader"]["kind"]) == (init, tool, loader)
    assert set(paths) <= {pin["path"] for pin in found["pinning"]}
    assert any("A03" in text for text in warnings(found, "kvm"))


class TestTheBooksSystem:
    """EL5, step by step through the book's recipe, and back."""

    @pytest.fixture
    def el5(self, systems: t.Any, tmp_path: Path) -> Path:
        directory = t.cast(Path, systems.unpack("el5", tmp_path))
        boot = directory / "boot"
        (boot / "grub" / "grub.conf").write_text(
            "default=0\ntitle Vanilla\n\troot (hd0,0)\n"
            "\tkernel /vmlinuz-2.6.18-164.2.1.el5 ro root=LABEL=/ ide0=noprobe ide1=noprobe\n"
            "\tinitrd /initrd-paravirt.img\n"
            "title Xen\n\troot (hd0,0)\n\tkernel /vmlinuz-2.6.18-194.8.1.el5xen ro root=LABEL=/\n"
            "\tinitrd /initrd-xen-para.img\n"
        )
        self.paravirt(systems, directory, "xen-platform-pci", "xen-balloon", "xen-vbd", "xen-vnif")
        (boot / "initrd-xen-para.img").write_bytes(
            systems.initrd("gzip", "x", "mkinitrd", ["xenblk", "xennet", "jbd", "ext3"])
        )
        return directory

    def paravirt(self, systems: t.Any, directory: Path, *modules: str) -> None:
        virtio = ("virtio_ring", "virtio", "virtio_pci", "virtio_blk", "jbd", "ext3")
        octets = systems.initrd("gzip", "x", "mkinitrd", [*virtio, *modules])
        (directory / "boot" / "initrd-paravirt.img").write_bytes(octets)

    def test_after_the_recipe_it_boots_in_the_books_three_modes(self, el5: Path) -> None:
        found = look(el5)
        matrix = found["matrix"]
        assert [matrix[mode]["ok"] for mode in MODES] == [True, True, True, False]
        assert [matrix[mode]["entry"] for mode in MODES[:3]] == [0, 0, 1]
        assert [matrix[mode]["disk"] for mode in MODES[:3]] == ["vda", "xvda", "xvda"]
        assert matrix["xen_para"]["kernel"] == "2.6.18-194.8.1.el5xen"
        assert matrix["xen_para"]["console"] == "xvc0"
        assert matrix["xen_hvm"]["ide_noprobe"] is True
        assert warnings(found, "xen_para")[0] == "A15 There is no login on xvc0."

    def test_a_login_that_root_may_not_use_is_told(self, el5: Path) -> None:
        replace(el5 / "etc" / "inittab", "x:5:", "co:2345:respawn:/sbin/agetty xvc0 9600 vt100-nav\nx:5:")
        assert warnings(look(el5), "xen_para")[0] == "A16 /etc/securetty does not let root in on xvc0."
        replace(el5 / "etc" / "securetty", "tty2", "tty2\nxvc0")
        assert not [text for text in warnings(look(el5), "xen_para") if "xvc0" in text]

    def test_a_driver_that_is_missing_is_named(self, el5: Path, systems: t.Any) -> None:
        self.paravirt(systems, el5, "xen-platform-pci", "xen-balloon")
        assert reasons(look(el5), "xen_hvm") == ["A09 /boot/initrd-paravirt.img lacks xen_vbd."]
        assert look(el5)["matrix"]["kvm"]["ok"] is True

    def test_drivers_in_the_wrong_order_are_named(self, el5: Path, systems: t.Any) -> None:
        self.paravirt(systems, el5, "xen-vbd", "xen-balloon", "xen-platform-pci")
        assert reasons(look(el5), "xen_hvm") == [
            "A09 /boot/initrd-paravirt.img loads xen_vbd before xen_platform_pci, which it needs."
        ]

    def test_without_noprobe_the_disk_is_there_twice_or_emulated(self, el5: Path, systems: t.Any) -> None:
        replace(el5 / "boot" / "grub" / "grub.conf", " ide0=noprobe ide1=noprobe", "")
        assert "the disk is seen twice" in reasons(look(el5), "xen_hvm")[0]
        self.paravirt(systems, el5)
        hvm = look(el5)["matrix"]["xen_hvm"]
        assert (hvm["ok"], hvm["disk"]) == (True, "hda")

    def test_an_initrd_that_is_missing_or_damaged_is_named(self, el5: Path) -> None:
        (el5 / "boot" / "initrd-xen-para.img").write_bytes(b"\x1f\x8b damaged")
        assert "damaged" in reasons(look(el5), "xen_para")[0]
        (el5 / "boot" / "initrd-xen-para.img").unlink()
        assert reasons(look(el5), "xen_para")[0] == "A12 There is no /boot/initrd-xen-para.img in the tree."


class TestModernSystems:
    def test_with_its_drivers_debian_boots_everywhere_and_pygrub_takes_its_first_entry(
        self, systems: t.Any, tmp_path: Path
    ) -> None:
        system = systems.unpack("debian12", tmp_path)
        octets = systems.initrd(
            "zstd", "6.1.0-18-amd64", "initramfs-tools", ["virtio_pci", "virtio_blk", "xen-blkfront", "ext4"]
        )
        (system / "boot" / DEBIAN).write_bytes(octets)
        matrix = look(system)["matrix"]
        assert [matrix[mode]["ok"] for mode in MODES] == [True] * 4
        assert [matrix[mode]["entry"] for mode in MODES] == [0] * 4
        assert matrix["xen_para"]["console"] == "hvc0"

    def test_the_order_of_modules_that_modprobe_loads_does_not_matter(self, systems: t.Any, tmp_path: Path) -> None:
        system = systems.unpack("debian12", tmp_path)
        files = {f"lib/modules/6.1.0-18-amd64/{name}.ko": b"" for name in ("virtio_blk", "virtio_pci", "ext4")}
        files |= {"conf/initramfs.conf": b"", "conf/modules": b"ext4\nvirtio_blk\nvirtio_pci\n"}
        (system / "boot" / DEBIAN).write_bytes(systems.cpio(files))
        assert reasons(look(system), "kvm") == []

    def test_an_initrd_of_another_kernel_is_told(self, systems: t.Any, tmp_path: Path) -> None:
        system = systems.unpack("debian12", tmp_path)
        octets = systems.initrd("zstd", "6.1.0-17-amd64", "initramfs-tools", ["virtio_pci", "virtio_blk", "ext4"])
        (system / "boot" / DEBIAN).write_bytes(octets)
        assert reasons(look(system), "kvm") == [f"A12 /boot/{DEBIAN} is for kernel 6.1.0-17-amd64, not 6.1.0-18-amd64."]

    def test_a_kernel_that_keeps_its_emulated_disk_needs_no_other(self, systems: t.Any, tmp_path: Path) -> None:
        system = systems.unpack("debian12", tmp_path)
        replace(system / "boot" / "grub" / "grub.cfg", "ro  quiet", "ro xen_emul_unplug=never")
        octets = systems.initrd("gzip", "6.1.0-18-amd64", "initramfs-tools", ["ata_piix", "ext4"])
        (system / "boot" / DEBIAN).write_bytes(octets)
        found = look(system)
        assert reasons(found, "xen_hvm") == []
        assert reasons(found, "kvm") == [f"A09 /boot/{DEBIAN} lacks virtio_pci, virtio_blk."]

    def test_without_the_kernels_configuration_nothing_is_promised(self, systems: t.Any, tmp_path: Path) -> None:
        system = systems.unpack("ubuntu", tmp_path)
        (system / "boot" / "config-5.15.0-101-generic").unlink()
        found = look(system)
        assert [found["matrix"][mode]["ok"] for mode in MODES] == [True, False, False, False]
        assert "cannot be told" in reasons(found, "xen_para")[0]

    def test_the_default_is_the_one_that_grub_takes(self, systems: t.Any, tmp_path: Path) -> None:
        system = systems.unpack("debian12", tmp_path)
        for said, entry in (
            ("1>1", 2),
            ("gnulinux-advanced-rootfs>gnulinux-6.1.0-18-amd64-recovery-rootfs", 2),
            ("Debian GNU/Linux, with Linux 6.1.0-18-amd64", 1),
            ("7", 0),
        ):
            text = (system / "boot" / "grub" / "grub.cfg").read_text()
            lines = [
                f'   set default="{said}"' if line.startswith('   set default="') and "next" not in line else line
                for line in text.split("\n")
            ]
            (system / "boot" / "grub" / "grub.cfg").write_text("\n".join(lines))
            assert look(system)["loader"]["default"] == entry


class TestHostileSystems:
    def test_what_cannot_be_read_is_a_problem_and_no_mode_is_promised(self, systems: t.Any, tmp_path: Path) -> None:
        system = systems.unpack("debian12", tmp_path)
        with (system / "boot" / "grub" / "grub.cfg").open("ab") as file:
            file.truncate(50_000_000)
        found = look(system)
        assert [problem["code"] for problem in found["problems"]] == ["guest_too_large", "guest_too_large"]
        assert not any(found["matrix"][mode]["ok"] for mode in MODES)
        assert "more than" in reasons(found, "kvm")[0] and "more than" in reasons(found, "xen_para")[0]

    @pytest.mark.parametrize("path", ["etc/fstab", "boot/grub/grub.cfg", f"boot/{DEBIAN}", "etc/os-release"])
    def test_pipes_and_loops_in_the_place_of_files_are_not_opened(
        self, systems: t.Any, tmp_path: Path, path: str
    ) -> None:
        system = systems.unpack("debian12", tmp_path)
        (system / path).unlink()
        os.mkfifo(system / path)
        assert "guest_not_a_file" in {problem["code"] for problem in look(system)["problems"]}
        (system / path).unlink()
        (system / path).symlink_to(Path(path).name)
        assert "guest_path_loop" in {problem["code"] for problem in look(system)["problems"]}

    def test_names_are_shown_and_never_taken_for_versions(self, systems: t.Any, tmp_path: Path) -> None:
        system = systems.unpack("debian12", tmp_path)
        (system / "boot" / "vmlinuz-6\n\x1b[31m").write_text("x")
        (system / "boot" / "vmlinuz---help").write_text("x")
        found = look(system)
        assert [problem["path"] for problem in found["problems"]] == [
            "/boot/vmlinuz---help",
            "/boot/vmlinuz-6\\n\\x1b[31m",
        ]
        assert [kernel["version"] for kernel in found["kernels"]] == ["6.1.0-18-amd64"]

    def test_what_a_system_calls_things_does_not_reach_a_terminal(self, systems: t.Any, tmp_path: Path) -> None:
        system = systems.unpack("debian12", tmp_path)
        path = system / "boot" / "grub" / "grub.cfg"
        path.write_bytes(
            path.read_bytes().replace(b"'Debian GNU/Linux'", b"'\x1b[2J\xff'").replace(b"quiet", b"\x1b]0;x\x07")
        )
        text = repr(look(system))
        assert "\\\\x1b[2J\\\\xff" in text and "\\\\x1b]0;x\\\\x07" in text
        assert json.dumps(look(system), ensure_ascii=False).isprintable()

    def test_entries_that_point_out_of_the_system_find_nothing(self, systems: t.Any, tmp_path: Path) -> None:
        (tmp_path / "vmlinuz-secret").write_text("the builder's")
        system = systems.unpack("debian12", tmp_path / "system")
        (system / "boot" / "vmlinuz-6.1.0-18-amd64").unlink()
        (system / "boot" / "vmlinuz-6.1.0-18-amd64").symlink_to("../../vmlinuz-secret")
        assert reasons(look(system), "kvm") == ["A10 /boot/vmlinuz-6.1.0-18-amd64 is not there."]


@pytest.mark.needs("root", "mkfs.ext4", "sfdisk", "mount", "/dev/loop-control")
class TestDisks:
    """What only the disk tells: labels, boot sectors, and what grub calls a partition."""

    @pytest.fixture
    def mounted(self, systems: t.Any, tmp_path: Path) -> t.Iterator[tuple[Path, Path]]:
        image, place = make_image(systems, tmp_path), tmp_path / "mnt"
        mount_image(str(image), str(place), writable=True, check=False)
        yield image, place
        unmount_image(str(place), check=False)

    def test_the_image_is_found_by_its_mount(self, mounted: tuple[Path, Path]) -> None:
        image, place = mounted
        found = look(place)
        assert found["layout"]["size"] == image.stat().st_size
        assert reasons(found, "kvm") == [
            "A10 A BIOS finds no GRUB in the first sector of the disk, nor of its active partition."
        ]
        with image.open("r+b") as file:
            file.seek(300)
            file.write(b"GRUB ")
        assert reasons(look(place), "kvm") == []

    def test_a_label_that_is_not_there_is_told(self, mounted: tuple[Path, Path]) -> None:
        replace(mounted[1] / "boot" / "grub" / "grub.cfg", "LABEL=rootfs", "LABEL=other")
        assert "A02 No file system of the image is LABEL=other, the root." in reasons(look(mounted[1]), "xen_hvm")


def make_image(systems: t.Any, work: Path) -> Path:
    tree = systems.unpack("debian12", work / "content")
    image = work / "disk.img"
    with image.open("wb") as file:
        file.truncate(20 * 1024 * 1024)
    subprocess.run(["sfdisk", "-q", str(image)], input=b"label: dos\nstart=2048,type=83,bootable\n", check=True)
    options = ["-L", "rootfs", "-d", str(tree), "-E", f"offset={2048 * 512}"]
    subprocess.run(["mkfs.ext4", "-q", "-F", *options, str(image), "16m"], check=True, capture_output=True)
    return image
