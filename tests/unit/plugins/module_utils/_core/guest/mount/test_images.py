# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real images under a directory and down again, as root; and whatever happens, nothing stays behind."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import struct
import subprocess
import typing as t
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import DiskError, GuestError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.boot.survey import survey
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.mount.copies import place_of
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.mount.images import mount_image, unmount_image
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.mount.kernel import below, mounted
from ansible_collections.hepix.vmimages.plugins.module_utils._core.guest.root.tree import Root

MIB = 1024 * 1024

pytestmark = pytest.mark.needs("root", "sfdisk", "mkfs.ext4", "mkswap", "mount", "/dev/loop-control")

FSTAB = "LABEL=/ / ext3 defaults 1 1\nLABEL=/boot /boot ext3 defaults 1 2\nLABEL=swap swap swap defaults 0 0\n"


@pytest.fixture
def place(tmp_path: Path) -> t.Iterator[Path]:
    """Where images are mounted; whatever the test left is taken down, with the loop devices of its images."""
    place = tmp_path / "mnt"
    yield place
    for mount in reversed(below(str(tmp_path))):
        subprocess.run(["umount", mount.target], check=True)
    assert str(tmp_path) not in loops()


def loops() -> str:
    return subprocess.run(["losetup", "-a"], check=True, capture_output=True, text=True).stdout


def sha512(path: Path) -> str:
    return hashlib.sha512(path.read_bytes()).hexdigest()


@pytest.fixture
def image(disk: t.Any, make_volume: t.Any) -> Path:
    """The book's layout: /boot, swap and / on three partitions."""
    return t.cast(
        Path,
        disk(
            make_volume(kind="ext3", label="/boot", size=4 * MIB, files={"/grub/grub.conf": "default=0\n"}),
            make_volume(kind="swap", label="swap", size=MIB),
            make_volume(kind="ext3", label="/", files={"/etc/fstab": FSTAB, "/boot/": ""}),
        ),
    )


def mount(image: Path, place: Path, *, writable: bool = False, check: bool = False) -> t.Any:
    return mount_image(str(image), str(place), writable=writable, check=check)


def refusal(call: t.Callable[..., t.Any], *arguments: t.Any, **more: t.Any) -> GuestError:
    with pytest.raises(GuestError) as caught:
        call(*arguments, **more)
    return caught.value


def test_the_file_systems_are_put_where_the_fstab_has_them(image: Path, place: Path) -> None:
    outcome = mount(image, place)
    assert outcome.changed
    assert [(item["partition"], item["target"], item["label"]) for item in outcome.data["mounts"]] == [
        (3, "/", "/"),
        (1, "/boot", "/boot"),
    ]
    assert (place / "boot" / "grub" / "grub.conf").read_text() == "default=0\n"
    assert not mount(image, place).changed


def test_reading_leaves_no_trace_in_the_image(image: Path, place: Path) -> None:
    before = (sha512(image), image.stat().st_mtime_ns)
    mount(image, place)
    for path in place.rglob("*"):
        path.stat()
    with pytest.raises(OSError, match="Read-only"):
        (place / "new").write_text("x")
    unmount_image(str(place), check=False)
    assert (sha512(image), image.stat().st_mtime_ns) == before


@pytest.mark.parametrize("kind", ["ext3", "ext4"])
def test_a_journal_that_was_not_replayed_stays_so(disk: t.Any, make_volume: t.Any, place: Path, kind: str) -> None:
    """An image that was copied while it was in use: reading it must not mend it."""
    source = disk(make_volume(kind=kind, files={"/etc/fstab": "LABEL=/ / auto\n"}, size=16 * MIB))
    mount(source, place, writable=True)
    (place / "etc" / "late").write_text("x" * 4096)
    os.sync()
    dirty = source.with_name("dirty.img")
    shutil.copyfile(source, dirty)
    unmount_image(str(place), check=False)
    before = sha512(dirty)
    outcome = mount(dirty, place)
    assert outcome.data["layout"]["partitions"][0]["filesystem"]["dirty"] is True
    assert (place / "etc" / "fstab").read_text() == "LABEL=/ / auto\n"
    unmount_image(str(place), check=False)
    assert sha512(dirty) == before


def test_what_is_written_is_in_the_image_afterwards(image: Path, place: Path) -> None:
    mount(image, place, writable=True)
    (place / "boot" / "new").write_text("x")
    unmount_image(str(place), check=False)
    assert not place.exists()
    mount(image, place)
    assert (place / "boot" / "new").read_text() == "x"


def test_devices_and_privileges_of_the_image_have_no_effect(image: Path, place: Path) -> None:
    mount(image, place, writable=True)
    os.mknod(place / "etc" / "zero", 0o20666, os.makedev(1, 5))
    with pytest.raises(PermissionError):
        (place / "etc" / "zero").read_bytes()
    with Path("/proc/self/mountinfo").open() as file:
        lines = [line for line in file if str(place) in line]
    assert len(lines) == 2 and all("nosuid,nodev" in line for line in lines)


def test_check_mode_mounts_and_unmounts_nothing(image: Path, place: Path) -> None:
    assert mount(image, place, check=True).changed
    assert not place.exists() and below(str(place)) == ()
    mount(image, place)
    assert unmount_image(str(place), check=True).changed
    assert len(below(str(place))) == 2


def test_what_was_left_behind_is_found_and_taken_down(image: Path, place: Path) -> None:
    mount(image, place)
    subprocess.run(["umount", str(place / "boot")], check=True)
    assert mount(image, place).changed
    assert len(below(str(place))) == 2
    assert unmount_image(str(place), check=False).changed
    assert below(str(place)) == ()
    assert not unmount_image(str(place), check=False).changed


def test_a_mount_becomes_writable_by_being_made_anew(image: Path, place: Path) -> None:
    mount(image, place)
    outcome = mount(image, place, writable=True)
    assert outcome.changed and outcome.before["writable"] is False
    assert all(item.writable for item in below(str(place)))


def test_an_unpacked_system_is_bound(tmp_path: Path, place: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    assert mount(tree, place).changed
    assert not mount(tree, place).changed
    with pytest.raises(OSError, match="Read-only"):
        (place / "etc" / "new").write_text("x")
    assert mount(tree, place, writable=True).changed
    (place / "etc" / "new").write_text("x")
    unmount_image(str(place), check=False)
    assert (tree / "etc" / "new").read_text() == "x"


class TestRefusals:
    def test_a_file_system_of_the_machine_is_never_taken_down(self, tmp_path: Path) -> None:
        place = tmp_path / "own"
        place.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "own", str(place)], check=True)
        try:
            assert refusal(unmount_image, str(place), check=False).code == "mount_clash"
            assert not unmount_image(str(tmp_path), check=False).changed
            assert [mount.kind for mount in below(str(place))] == ["tmpfs"]
        finally:
            subprocess.run(["umount", str(place)], check=True)
        assert refusal(unmount_image, "/", check=True).code == "mount_clash"

    def test_another_image_is_not_mounted_over_one(self, image: Path, place: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.img"
        shutil.copyfile(image, other)
        mount(image, place)
        assert refusal(mount, other, place).code == "mount_clash"
        assert {item.image for item in below(str(place))} == {str(image)}

    def test_a_directory_with_files_is_not_hidden(self, image: Path, place: Path) -> None:
        place.mkdir()
        (place / "file").write_text("x")
        assert refusal(mount, image, place).code == "mount_clash"

    def test_two_writers_are_refused(self, image: Path, place: Path, tmp_path: Path) -> None:
        mount(image, place)
        other = tmp_path / "mnt2"
        assert refusal(mount, image, other, writable=True).code == "image_busy"
        mount(image, other)
        unmount_image(str(other), check=False)
        unmount_image(str(place), check=False)
        mount(image, place, writable=True)
        assert refusal(mount, image, other).code == "image_busy"

    def test_an_image_that_a_virtual_machine_uses_is_refused(self, image: Path, place: Path) -> None:
        """The lock that qemu holds on a raw image that it writes."""
        with image.open("r+b") as file:
            lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 100, 2, 0)
            fcntl.fcntl(file, 37, lock)
            assert refusal(mount, image, place).code == "image_busy"
        assert mount(image, place).changed

    def test_an_image_below_the_overlay_of_a_virtual_machine_can_be_looked_at(self, image: Path, place: Path) -> None:
        with image.open("r+b") as file:
            fcntl.fcntl(file, 37, struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 100, 1, 0))
            assert refusal(mount, image, place, writable=True).code == "image_busy"
            assert mount(image, place).changed

    def test_a_directory_in_use_stays_mounted_and_says_by_whom(self, image: Path, place: Path) -> None:
        mount(image, place)
        with subprocess.Popen(["sleep", "60"], cwd=place) as process:
            try:
                error = refusal(unmount_image, str(place), check=False)
            finally:
                process.kill()
        assert error.code == "unmount_failed"
        assert f"sleep ({process.pid})" in error.detail

    def test_an_image_without_a_system_is_refused(self, disk: t.Any, make_volume: t.Any, place: Path) -> None:
        image = disk(make_volume(files={"/data": "x"}), make_volume(kind="none", size=MIB))
        assert refusal(mount, image, place).code == "system_not_found"

    def test_two_systems_are_ambiguous(self, disk: t.Any, make_volume: t.Any, place: Path) -> None:
        system = {"/etc/fstab": "LABEL=a / ext4\n"}
        image = disk(make_volume(label="a", files=system), make_volume(label="b", files=system))
        assert refusal(mount, image, place).code == "filesystem_ambiguous"

    def test_two_file_systems_of_one_label_are_ambiguous(self, disk: t.Any, make_volume: t.Any, place: Path) -> None:
        system = {"/etc/fstab": "LABEL=r / ext4\nLABEL=x /boot ext4\n", "/boot/": ""}
        image = disk(make_volume(label="r", files=system), make_volume(label="x"), make_volume(label="x"))
        assert refusal(mount, image, place).code == "filesystem_ambiguous"
        assert below(str(place)) == ()

    def test_a_damaged_file_system_leaves_nothing_mounted(self, disk: t.Any, make_volume: t.Any, place: Path) -> None:
        image = disk(
            make_volume(label="r", files={"/etc/fstab": "LABEL=r / ext4\nLABEL=b /boot ext4\n", "/boot/": ""}),
            make_volume(label="b"),
        )
        with image.open("r+b") as file:
            file.seek(2048 * 512 * 2 + 8 * MIB + 1024 + 24)
            file.write(b"\xff\xff\xff\xff")
        assert refusal(mount, image, place).code == "mount_failed"
        assert below(str(place)) == ()


class TestHostileImages:
    @pytest.mark.parametrize("target", ["/../../../../../../{builder}", "/link"])
    def test_no_mount_reaches_the_builder(
        self, disk: t.Any, make_volume: t.Any, place: Path, tmp_path: Path, target: str
    ) -> None:
        builder = tmp_path / "builder"
        builder.mkdir()
        fstab = f"LABEL=r / ext4\nLABEL=b {target.format(builder=str(builder).lstrip('/'))} ext4\n"
        image = disk(
            make_volume(label="r", files={"/etc/fstab": fstab}, links={"/link": str(builder)}), make_volume(label="b")
        )
        assert refusal(mount, image, place).code == "guest_not_found"
        assert all(not item.target.startswith(str(builder)) for item in mounted())
        assert below(str(place)) == ()

    def test_an_fstab_that_is_a_link_to_the_builders_is_none(
        self, disk: t.Any, make_volume: t.Any, place: Path
    ) -> None:
        image = disk(make_volume(files={"/etc/": ""}, links={"/etc/fstab": "/../../../etc/fstab"}))
        assert refusal(mount, image, place).code in ("guest_path_loop", "system_not_found")
        assert below(str(place)) == ()

    def test_a_mount_point_with_a_line_break_is_contained(self, disk: t.Any, make_volume: t.Any, place: Path) -> None:
        fstab = "LABEL=r / ext4\nLABEL=b /a\\012b ext4\n"
        image = disk(make_volume(label="r", files={"/etc/fstab": fstab, "/a\nb/": ""}), make_volume(label="b"))
        mount(image, place)
        assert [item.target for item in below(str(place))] == [str(place), f"{place}/a\nb"]
        unmount_image(str(place), check=False)
        assert below(str(place)) == ()

    def test_an_fstab_of_fifty_megabytes_is_not_read(self, disk: t.Any, make_volume: t.Any, place: Path) -> None:
        image = disk(make_volume(size=64 * MIB, files={"/etc/fstab": "# \n" * 16_000_000}))
        assert refusal(mount, image, place).code == "guest_too_large"
        assert below(str(place)) == ()

    def test_an_fstab_of_a_thousand_mounts_is_refused(self, disk: t.Any, make_volume: t.Any, place: Path) -> None:
        names = [f"/m{number}" for number in range(40)]
        fstab = "LABEL=r / ext4\n" + "".join(f"LABEL=b {name} ext4\n" for name in names)
        image = disk(
            make_volume(label="r", files={"/etc/fstab": fstab, **{f"{name}/": "" for name in names}}),
            make_volume(label="b"),
        )
        assert refusal(mount, image, place).code == "guest_malformed"
        assert below(str(place)) == ()


@pytest.mark.needs("qemu-img")
class TestCopies:
    """Images in another format: read through a raw copy, which goes with the mount."""

    @pytest.fixture
    def qcow2(self, image: Path) -> Path:
        target = image.with_suffix(".qcow2")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(image), str(target)], check=True)
        return target

    @pytest.fixture
    def scratch(self, tmp_path: Path) -> Path:
        (tmp_path / "scratch").mkdir()
        return tmp_path / "scratch"

    def test_a_copy_comes_and_goes_with_the_mount(self, qcow2: Path, place: Path, scratch: Path) -> None:
        options: dict[str, t.Any] = {"kind": "qcow2", "scratch": str(scratch), "writable": False}
        before = sha512(qcow2)
        planned = mount_image(str(qcow2), str(place), check=True, **options)
        assert planned.changed and list(scratch.iterdir()) == []
        done = mount_image(str(qcow2), str(place), check=False, **options)
        assert done.after == planned.after and done.data["image"] == str(qcow2)
        assert (place / "boot/grub/grub.conf").read_text() == "default=0\n"
        (copy,) = scratch.iterdir()
        assert copy.stat().st_mode & 0o777 == 0o700
        with Root(place) as root:
            disk = survey(root, image=str(qcow2)).disk
        assert disk is not None and disk.places == {1: "/boot", 3: "/"}
        again = mount_image(str(qcow2), str(place), check=False, **options)
        assert not again.changed and [copy] == list(scratch.iterdir())
        gone = unmount_image(str(place), check=False)
        assert gone.data["image"] == str(qcow2) and list(scratch.iterdir()) == []
        assert sha512(qcow2) == before

    def test_an_image_that_changed_is_copied_anew(self, qcow2: Path, place: Path, scratch: Path) -> None:
        options: dict[str, t.Any] = {"kind": "qcow2", "scratch": str(scratch), "writable": False, "check": False}
        mount_image(str(qcow2), str(place), **options)
        (old,) = scratch.iterdir()
        os.utime(qcow2, (1, 1))
        assert mount_image(str(qcow2), str(place), **options).changed
        assert old not in list(scratch.iterdir()) and len(list(scratch.iterdir())) == 1
        unmount_image(str(place), check=False)
        assert list(scratch.iterdir()) == []

    def test_what_cannot_be_copied_leaves_nothing(self, qcow2: Path, image: Path, place: Path, scratch: Path) -> None:
        options: dict[str, t.Any] = {"kind": "qcow2", "scratch": str(scratch), "check": False}
        assert refusal(mount_image, str(qcow2), str(place), writable=True, **options).code == "image_format_unsupported"
        other = qcow2.with_name("other.qcow2")
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", "/etc/hostname", "-F", "raw", str(other)]
        subprocess.run(command, check=True)
        with pytest.raises(DiskError) as caught:
            mount_image(str(other), str(place), writable=False, **options)
        assert caught.value.code == "backing_file"
        with pytest.raises(DiskError) as caught:
            mount_image(str(image), str(place), writable=False, **options)
        assert caught.value.code == "format_mismatch"
        empty = qcow2.with_name("empty.qcow2")
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(empty), "1M"], check=True)
        error = refusal(mount_image, str(empty), str(place), writable=False, **options)
        assert error.code == "system_not_found" and str(empty) in error.sentence and str(scratch) not in str(error)
        assert list(scratch.iterdir()) == [] and not below(str(place))

    def test_a_place_of_somebody_else_is_not_used(self, qcow2: Path, place: Path, scratch: Path) -> None:
        planted = Path(place_of(str(qcow2), str(scratch))).parent
        planted.symlink_to("/etc")
        options: dict[str, t.Any] = {"kind": "qcow2", "scratch": str(scratch), "writable": False, "check": False}
        assert refusal(mount_image, str(qcow2), str(place), **options).code == "copy_refused"


def test_names_of_the_table_say_where_a_file_system_belongs(disk: t.Any, make_volume: t.Any, place: Path) -> None:
    fstab = (
        "PARTUUID=11111111-2222-4333-8444-555555555555 / ext4 defaults 0 1\nPARTLABEL=boot /boot ext4 defaults 0 2\n"
    )
    image = disk(
        make_volume(kind="ext4", label="a", files={"/etc/fstab": fstab, "/boot/": ""}),
        make_volume(kind="ext4", label="b", files={"/here": ""}),
        table="gpt",
    )
    for arguments in (["--part-uuid", "1", "11111111-2222-4333-8444-555555555555"], ["--part-label", "2", "boot"]):
        subprocess.run(["sfdisk", "-q", arguments[0], str(image), *arguments[1:]], check=True, capture_output=True)
    outcome = mount(image, place)
    assert (place / "boot/here").exists() and not outcome.warnings
    assert not mount(image, place).changed


def test_a_system_without_a_table_of_mounts_is_found_by_its_accounts(
    disk: t.Any, make_volume: t.Any, place: Path
) -> None:
    image = disk(make_volume(kind="ext4", label="/", files={"/etc/passwd": "root:x:0:0::/root:/bin/sh\n"}))
    assert [item["target"] for item in mount(image, place).data["mounts"]] == ["/"]


@pytest.mark.needs("mkfs.btrfs")
def test_a_system_in_a_subvolume_is_put_together(tmp_path: Path, place: Path) -> None:
    image, top = tmp_path / "disk.img", tmp_path / "top"
    with image.open("wb") as file:
        file.truncate(120 * MIB)
    subprocess.run(["mkfs.btrfs", "-q", "-L", "system", str(image)], check=True)
    top.mkdir()
    subprocess.run(["mount", "-o", "loop", str(image), str(top)], check=True)
    try:
        for name in ("@", "@home"):
            subprocess.run(["btrfs", "-q", "subvolume", "create", str(top / name)], check=True)
        (top / "@/etc").mkdir()
        (top / "@/home").mkdir()
        (top / "@/data").mkdir()
        (top / "@home/here").touch()
        fstab = "LABEL=system / btrfs subvol=@ 0 0\nLABEL=system /home btrfs subvol=@home 0 0\n"
        (top / "@/etc/fstab").write_text(fstab + "LABEL=system /data btrfs defaults 0 0\n")
    finally:
        subprocess.run(["umount", str(top)], check=True)
    before = sha512(image)
    outcome = mount(image, place)
    assert (place / "etc/fstab").exists() and (place / "home/here").exists()
    assert outcome.warnings == ("/data is a part of the root's own file system: it is not mounted.",)
    assert not mount(image, place).changed
    unmount_image(str(place), check=False)
    assert sha512(image) == before
