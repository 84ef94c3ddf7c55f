# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images in a hypervisor's directory: gated, shared or copied, read once, and nobody else's file is ever touched."""

from __future__ import annotations

import os
import subprocess
import typing as t
from datetime import timedelta
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.errors import VmimagesError
from ansible_collections.hepix.vmimages.plugins.module_utils._core.outcome import Outcome
from ansible_collections.hepix.vmimages.plugins.module_utils._core.site import install
from ansible_collections.hepix.vmimages.plugins.module_utils._core.transfer import clone

from .conftest import IMAGE, World

OCTETS = os.urandom(300_000) + bytes(600_000) + os.urandom(1000)


@pytest.fixture
def path(world: World, tmp_path: Path) -> Path:
    """Where the image goes; it is in the cache."""
    world.publish("1", [{**world.image(octets=OCTETS), "hv:format": "raw"}])
    world.subscribe(new_images="cache")
    world.sync()
    (tmp_path / "images").mkdir()
    return tmp_path / "images" / "worker.img"


def _install(world: World, path: Path, *, check: bool = False, **options: t.Any) -> Outcome:
    return install.install(world.open, install.Wanted(image=IMAGE, path=path, **options), check=check)


def _code(call: t.Callable[[], t.Any]) -> str:
    with pytest.raises(VmimagesError) as found:
        call()
    return found.value.code


def test_a_copy_is_made_once_and_is_not_read_again(world: World, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = _install(world, path, check=True, method="copy")
    assert planned.changed and not path.exists()
    done = _install(world, path, method="copy", mode=0o640)
    assert (done.changed, done.data["method"], path.read_bytes()) == (True, "copy", OCTETS)
    assert path.stat().st_mode & 0o777 == 0o640
    assert path.stat().st_blocks * 512 < 400_000
    monkeypatch.setattr(clone, "copy", lambda *_arguments, **_options: pytest.fail("it was copied again"))
    again = _install(world, path, mode=0o640)
    assert not again.changed and again.before == again.after
    rows = world.rows()
    with world.open() as catalogue:
        catalogue.rebuild()
    assert rows["installed"] and world.rows() == rows


@pytest.mark.needs("root", "mkfs.xfs", "mount")
def test_on_a_file_system_that_can_the_octets_are_shared(world: World, tmp_path: Path) -> None:
    disk, place = tmp_path / "disk", tmp_path / "site"
    with disk.open("wb") as stream:
        stream.truncate(320 * 1024 * 1024)
    subprocess.run(["mkfs.xfs", "-q", "-m", "reflink=1", str(disk)], check=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(disk), str(place)], check=True)
    try:
        world.state = place / "state"
        octets = os.urandom(8 * 1024 * 1024)
        world.publish("1", [{**world.image(octets=octets), "hv:format": "raw"}])
        world.subscribe(new_images="cache")
        world.sync()
        before = os.statvfs(place).f_bfree
        done = _install(world, place / "worker.img", method="reflink")
        assert done.data["method"] == "reflink"
        assert (before - os.statvfs(place).f_bfree) * os.statvfs(place).f_bsize < 1024 * 1024
        with (place / "worker.img").open("r+b") as stream:
            stream.write(b"a guest writes")
        assert Path(world.verdict()["path"]).read_bytes() == octets
        assert world.verdict()["allowed"]
        assert _code(lambda: _install(world, tmp_path / "elsewhere.img", method="reflink")) == "method_unsupported"
        assert _install(world, tmp_path / "elsewhere.img").data["method"] == "copy"
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_what_may_not_run_is_not_installed_and_goes_when_asked(world: World, path: Path) -> None:
    _install(world, path)
    world.decide("blacklist", IMAGE)
    assert _code(lambda: _install(world, path)) == "blacklisted"
    assert path.exists()
    planned = _install(world, path, remove_refused=True, check=True)
    assert planned.changed and path.exists()
    done = _install(world, path, remove_refused=True)
    assert done.changed and done.actions[0]["code"] == "blacklisted" and not path.exists()
    assert not _install(world, path, remove_refused=True).changed


def test_the_end_of_a_list_ends_what_is_installed(world: World, path: Path) -> None:
    _install(world, path)
    world.now += timedelta(days=25)
    assert _code(lambda: _install(world, path)) == "list_expired"
    assert _install(world, path, remove_refused=True).changed


def test_a_new_version_takes_the_place_of_the_old_one(world: World, path: Path) -> None:
    _install(world, path)
    newer = os.urandom(1000)
    world.publish("2", [{**world.image(version="2", octets=newer), "hv:format": "raw"}])
    world.refresh()
    assert _code(lambda: _install(world, path)) == "not_cached"
    world.sync()
    assert _install(world, path).changed and path.read_bytes() == newer


def test_a_file_that_was_changed_is_made_again_unless_somebody_uses_it(world: World, path: Path) -> None:
    _install(world, path)
    path.write_bytes(b"a guest has written")
    with subprocess.Popen(["sh", "-c", 'exec 3<"$0"; echo; read _line', str(path)], stdin=-1, stdout=-1) as user:
        t.cast("t.IO[bytes]", user.stdout).readline()
        assert _code(lambda: _install(world, path, check=True)) == "image_in_use"
        assert _code(lambda: _install(world, path)) == "image_in_use"
        assert path.read_bytes() == b"a guest has written"
        t.cast("t.IO[bytes]", user.stdin).close()
    assert _install(world, path).changed and path.read_bytes() == OCTETS


def test_another_owner_or_mode_is_no_reason_to_copy(world: World, path: Path) -> None:
    _install(world, path)
    inode = path.stat().st_ino
    path.chmod(0o600)
    assert _install(world, path, check=True).changed and path.stat().st_mode & 0o777 == 0o600
    assert _install(world, path).changed and not _install(world, path).changed
    assert (path.stat().st_mode & 0o777, path.stat().st_ino) == (0o644, inode)


@pytest.mark.needs("root")
def test_the_owner_is_the_one_that_is_named(world: World, path: Path) -> None:
    assert _code(lambda: _install(world, path, owner="nobody-at-all")) == "option_invalid"
    _install(world, path, owner="nobody", group="daemon")
    assert (path.owner(), path.group()) == ("nobody", "daemon")
    assert not _install(world, path, owner="nobody", group="daemon").changed


@pytest.mark.needs("qemu-img")
def test_a_format_is_installed_that_was_made(world: World, path: Path) -> None:
    assert _code(lambda: _install(world, path, format="qcow2")) == "not_derived"
    world.subscribe(new_images="cache", formats=["qcow2"])
    world.sync()
    assert _install(world, path, format="qcow2").data["format"] == "qcow2"
    assert path.read_bytes().startswith(b"QFI\xfb")
    assert _install(world, path).changed and path.read_bytes() == OCTETS


@pytest.mark.needs("qemu-img")
def test_a_disk_that_names_other_files_is_not_installed(world: World, tmp_path: Path) -> None:
    overlay = tmp_path / "overlay.qcow2"
    (tmp_path / "base").write_bytes(bytes(65536))
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(tmp_path / "base"), "-F", "raw", str(overlay)]
    subprocess.run(command, check=True)
    world.publish("1", [{**world.image(octets=overlay.read_bytes()), "hv:format": "qcow2"}])
    world.subscribe(new_images="cache")
    world.sync()
    assert _code(lambda: _install(world, tmp_path / "worker.img")) == "backing_file"
    assert not (tmp_path / "worker.img").exists()


def test_nobody_else_s_file_is_removed_or_followed(world: World, path: Path, tmp_path: Path) -> None:
    path.write_bytes(b"mine")
    assert _code(lambda: install.remove(world.open, path)) == "not_installed_here"
    (tmp_path / "images" / "link").symlink_to(path)
    for odd in (tmp_path / "images" / "link", tmp_path / "images"):
        assert _code(lambda odd=odd: _install(world, odd)) == "not_installed_here"  # type: ignore[misc]
        assert _code(lambda odd=odd: install.remove(world.open, odd)) == "not_installed_here"  # type: ignore[misc]
    assert _code(lambda: _install(world, Path("relative"))) == "option_invalid"
    assert _code(lambda: _install(world, tmp_path / "nowhere" / "x")) == "not_found"
    assert path.read_bytes() == b"mine"


def test_what_was_installed_is_removed_once(world: World, path: Path) -> None:
    _install(world, path)
    assert install.remove(world.open, path, check=True).changed and path.exists()
    assert install.remove(world.open, path).changed and not path.exists()
    assert not install.remove(world.open, path).changed


def test_octets_that_slip_in_during_the_copy_are_not_installed(
    world: World, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clone.copy

    def meddled(*arguments: t.Any, **options: t.Any) -> None:
        real(*arguments, **options)
        Path(world.verdict()["path"]).write_bytes(b"wrong".ljust(len(OCTETS), b"\0"))

    monkeypatch.setattr(clone, "copy", meddled)
    assert _code(lambda: _install(world, path, method="copy")) == "file_changed"
    assert list(path.parent.iterdir()) == []
