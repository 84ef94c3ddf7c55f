# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An instance's own disk: an overlay on the image in the cache, or its octets on another file or a block device.

The image itself is opened for reading only, and held against its stat record before and after.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import subprocess
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ...disks import qcow2, qemu
from ...disks.window import Window
from ...errors import DiskError, HypervisorError, SiteError, TransferError
from ...site.judgement.records import stat_facts
from ...transfer import clone
from ...transfer.atomic import fsync_directory, storage_errors, write_all
from .approval import Approved
from .records import DiskRecord

METHODS: t.Final = ("overlay", "reflink", "copy", "device")
SECTOR: t.Final = 512
_DEV: t.Final = Path("/dev")
#: Where names for devices are that their content, or its place, does not change.
_LASTING: t.Final = (_DEV / "mapper", _DEV / "disk/by-id", _DEV / "disk/by-path")
_KINDS: t.Final = {"overlay": "overlay", "reflink": "copy", "copy": "copy", "device": "device"}
_PIECE: t.Final = 256 * 1024
_PROBED: t.Final = 1024 * 1024
_PATIENCE: t.Final = 600
#: Of file systems where a file has one name only.
_NO_LINKS: t.Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True)
class VolumeWish:
    """The disk at `path`, made by a method of `METHODS`; `size` in octets for one that is larger than the image.

    Owner and group are numbers, None leaves them to whoever runs this, and to libvirt. `overwrite`: whether a device
    that holds something is taken all the same.
    """

    path: Path
    method: str = "overlay"
    size: int | None = None
    mode: int = 0o600
    owner: int | None = None
    group: int | None = None
    overwrite: bool = False

    @property
    def kind(self) -> str:
        return _KINDS[self.method]

    def format(self, approved: Approved) -> str:
        return "qcow2" if self.method == "overlay" else approved.format


def check_wish(wish: VolumeWish, approved: Approved) -> None:
    """Whether the disk can be had at all. Raises `HypervisorError`: ``machine_invalid``, ``device_too_small``."""
    if wish.size is not None and (wish.size < approved.virtual_size or wish.size % SECTOR):
        what = f"{wish.size} octets are no whole number of sectors, or less than the image's {approved.virtual_size}"
        raise HypervisorError("machine_invalid", f"disk.size: {what}", option="disk.size")
    is_device = str(wish.path).startswith("/dev/")
    if is_device != (wish.method == "device"):
        told = "a path below /dev is given the method device, and no other one is"
        raise HypervisorError("machine_invalid", f"disk.path: {wish.path}: {told}", option="disk.path")
    if wish.method != "device":
        return
    if approved.format != "raw" or wish.size is not None:
        told = "a block device is given a raw image, and has the size that it has"
        raise HypervisorError("machine_invalid", f"disk.method: {told}", option="disk.method")
    with _opened_device(wish.path, os.O_RDONLY) as descriptor:
        _check_room(wish.path, descriptor, approved)


def is_named_by_order(path: Path) -> bool:
    """Whether it is a node such as /dev/sdb, which another disk may have after the next start of the host."""
    return path.parent == _DEV and path.is_block_device() and not path.is_symlink()


def _lasting_name(path: Path) -> Path | None:
    """A link that leads to the device whatever node it gets."""
    device = path.stat().st_rdev
    for directory in _LASTING:
        with contextlib.suppress(OSError):
            for link in sorted(directory.iterdir()):
                # That one goes by what is on the device.
                is_content = link.name.startswith("lvm-pv-uuid-")
                if not is_content and link.is_block_device() and link.stat().st_rdev == device:
                    return link
    return None


def check_free(wish: VolumeWish) -> None:
    """Whether a block device may be written, and is named to last.

    Raises `HypervisorError` ``device_in_use``, ``machine_invalid``.
    """
    if wish.method == "device" and is_named_by_order(wish.path):
        link = _lasting_name(wish.path)
        if link is not None:
            told = f"{wish.path} may be another disk after the next start of this host, and {link} is always this one"
            raise HypervisorError("machine_invalid", f"disk.path: {told}", option="disk.path")
    if wish.method == "device" and not wish.overwrite:
        with _opened_device(wish.path, os.O_RDONLY) as descriptor:
            _refuse_what_holds_something(wish, descriptor)


def record_of(wish: VolumeWish, approved: Approved, found: os.stat_result) -> DiskRecord:
    """How the disk that is there is recorded."""
    is_device = wish.kind == "device"
    return DiskRecord(
        path=str(wish.path),
        kind=wish.kind,
        format=wish.format(approved),
        backing=approved.path if wish.kind == "overlay" else None,
        device=found.st_rdev if is_device else found.st_dev,
        inode=0 if is_device else found.st_ino,
    )


def is_recorded(disk: DiskRecord) -> bool | None:
    """Whether the file at the recorded path is the one that was made; None where there is none."""
    try:
        found = os.lstat(disk.path)
    except FileNotFoundError:
        return None
    except OSError:
        return False
    if disk.kind == "device":
        with contextlib.suppress(OSError):
            return stat.S_ISBLK(Path(disk.path).stat().st_mode)
        return None
    # File systems may have other numbers after a restart of the host; that of the file stays.
    return stat.S_ISREG(found.st_mode) and found.st_ino == disk.inode


def virtual_size(path: Path, image_format: str) -> int:
    """The octets that a guest sees of a file."""
    with storage_errors(path, reading=True):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        if image_format == "raw":
            return size
        return qcow2.read(Window(descriptor, size, str(path))).virtual_size
    finally:
        os.close(descriptor)


def make(wish: VolumeWish, approved: Approved, temporary: Path) -> None:
    """Make the disk at `temporary`, to be renamed to its place; a device is written where it is.

    Raises `DiskError` (``converter_missing convert_failed``), `SiteError` (``method_unsupported``), `TransferError`
    (``checksum_mismatch file_changed disk_full not_writable``), `HypervisorError` (``device_too_small device_in_use``).
    """
    with storage_errors(approved.path, reading=True):
        source = os.open(approved.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_same(source, approved)
        if wish.method == "device":
            _write_device(wish, approved, source)
            return
        if wish.method == "overlay":
            backing = ["-F", approved.format, "-b", approved.path]
            size = [] if wish.size is None else [str(wish.size)]
            _qemu_img("create", "-q", "-f", "qcow2", "-o", "compat=1.1", *backing, str(temporary), *size)
        elif wish.method == "reflink":
            if not clone.reflink(source, temporary, 0o600):
                told = f"{wish.path} cannot share its octets with the cache"
                raise SiteError("method_unsupported", told, path=str(wish.path))
        else:
            clone.copy(source, temporary, 0o600, sha512=approved.sha512, shown=approved.path)
        _require_same(source, approved)
        if wish.size is not None and wish.method != "overlay":
            grow(temporary, wish.format(approved), wish.size)
        _hand_over(wish, temporary)
    finally:
        os.close(source)


def _hand_over(wish: VolumeWish, temporary: Path) -> None:
    """Make it durable and its owner's. Not by its name: who may write to the directory could put a link there."""
    with storage_errors(wish.path):
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fchown(descriptor, -1 if wish.owner is None else wish.owner, -1 if wish.group is None else wish.group)
            os.fchmod(descriptor, wish.mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def place(temporary: Path, path: Path) -> None:
    """Give the finished disk its name. Raises `HypervisorError` ``file_foreign`` where there is something already."""
    with storage_errors(path):
        try:
            # A rename would put it in the place of whatever is there.
            os.link(temporary, path)
        except OSError as error:
            if os.path.lexists(path):
                raise HypervisorError("file_foreign", f"{path} has come to be meanwhile", path=str(path)) from error
            if error.errno not in _NO_LINKS:
                raise
            temporary.rename(path)
        else:
            temporary.unlink()
    fsync_directory(path.parent)


def grow(path: Path, image_format: str, size: int) -> None:
    """Make the disk of a machine that is off larger. Raises `DiskError`, `TransferError`."""
    if image_format == "raw":
        with storage_errors(path):
            os.truncate(path, size)
        return
    _qemu_img("resize", "-q", "-f", image_format, str(path), str(size))


def _qemu_img(*arguments: str) -> None:
    """Paths are absolute and begin with a slash, so that none is taken for a protocol or an option."""
    program = qemu.program()
    try:
        done = subprocess.run(
            [program, *arguments],
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            stdin=subprocess.DEVNULL,
            cwd="/",
            env=qemu.ENVIRONMENT,
        )
    except subprocess.TimeoutExpired as error:
        raise DiskError("convert_failed", f"qemu-img has not ended after {_PATIENCE} seconds.") from error
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["no reason told"])[-1].rstrip(".")
        raise DiskError("convert_failed", f"qemu-img {arguments[0]} failed: {said}.", path=arguments[-1])


def _require_same(source: int, approved: Approved) -> None:
    if stat_facts(os.fstat(source)) != dict(approved.stat):
        told = f"{approved.path} is no longer the verified file."
        raise TransferError("file_changed", told, path=approved.path)


@contextlib.contextmanager
def _opened_device(path: Path, flags: int) -> t.Iterator[int]:
    with storage_errors(path, reading=flags == os.O_RDONLY):
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
            raise HypervisorError("machine_invalid", f"disk.path: {path} is no block device", option="disk.path")
        yield descriptor
    finally:
        os.close(descriptor)


def _check_room(path: Path, descriptor: int, approved: Approved) -> None:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    if size < approved.size:
        told = f"{path} has {size} octets, and the image {approved.size}"
        raise HypervisorError("device_too_small", told, path=str(path), size=size, needed=approved.size)


def _write_device(wish: VolumeWish, approved: Approved, source: int) -> None:
    try:
        # Exclusive: not while it is mounted, or a part of something else.
        with _opened_device(wish.path, os.O_RDWR | os.O_EXCL) as target:
            _check_room(wish.path, target, approved)
            if not wish.overwrite:
                _refuse_what_holds_something(wish, target)
            _write(wish, approved, source, target)
    except TransferError as error:
        busy = error.__cause__
        if isinstance(busy, OSError) and busy.errno == errno.EBUSY:
            raise HypervisorError("device_in_use", f"{wish.path} is in use", path=str(wish.path)) from error
        raise


def _refuse_what_holds_something(wish: VolumeWish, descriptor: int) -> None:
    """By its first and last mebioctet: partition tables, file systems and volume managers write there."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    with storage_errors(wish.path, reading=True):
        if any(any(os.pread(descriptor, _PROBED, at)) for at in (0, max(0, size - _PROBED))):
            raise HypervisorError("device_in_use", f"{wish.path} holds something already", path=str(wish.path))


def _write(wish: VolumeWish, approved: Approved, source: int, target: int) -> None:
    """Zeros are written, too: what was on the device before is no part of the image."""
    digest, at = hashlib.sha512(), 0
    with storage_errors(wish.path):
        os.lseek(target, 0, os.SEEK_SET)
        while octets := os.pread(source, _PIECE, at):
            digest.update(octets)
            at += len(octets)
            write_all(target, octets)
        if digest.hexdigest() != approved.sha512:
            # Nothing that was not endorsed is left to be started.
            os.lseek(target, 0, os.SEEK_SET)
            write_all(target, bytes(min(at, _PROBED)))
            os.fsync(target)
            told = f"{approved.path} does not hold the expected octets."
            raise TransferError("checksum_mismatch", told, path=approved.path)
        os.fsync(target)
    _require_same(source, approved)
