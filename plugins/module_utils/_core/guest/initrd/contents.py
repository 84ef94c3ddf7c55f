# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an initrd holds: kernel modules, the kernels that they are for, and in what order they are loaded."""

from __future__ import annotations

import posixpath
import re
import stat
import typing as t
from dataclasses import dataclass

from ...errors import GuestError
from ..root.names import shown
from ..root.tree import Root
from .streams import UNPACKED, Source, compression, pieces_of, unpacked

_HEADER: t.Final = 110
_LAST: t.Final = "TRAILER!!!"
_ENTRIES: t.Final = 200_000
_KEPT: t.Final = 256 * 1024
_PACKED: t.Final = 512 * 1024 * 1024

_MODULE: t.Final = re.compile(r"([^/]+)\.ko(?:\.(?:gz|xz|zst|bz2))?\Z")
_OF_KERNEL: t.Final = re.compile(r"(?:usr/)?lib/modules/([^/]+)/")
_INSERTED: t.Final = re.compile(r"^[ \t]*(?:/sbin/|/bin/)?(?:insmod|modprobe)\s+(?:-\S+\s+)*(\S+)", re.MULTILINE)

#: Files whose text says how modules are loaded.
_READ: t.Final = frozenset({"init", "conf/modules", "etc/modules"})


@dataclass(frozen=True)
class Initrd:
    """`modules` have underscores, whatever their files have; `order`: those that are loaded by name, in order."""

    path: str
    compression: tuple[str, ...]
    tool: str | None
    kernels: tuple[str, ...]
    modules: frozenset[str]
    order: tuple[str, ...]

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "path": self.path,
            "compression": list(self.compression),
            "tool": self.tool,
            "kernels": list(self.kernels),
            "modules": sorted(self.modules),
            "order": list(self.order),
        }


def module_name(file: str) -> str:
    """The name of a module as the kernel has it."""
    return file.replace("-", "_")


def read_initrd(root: Root, path: str) -> Initrd:
    """What the initrd at `path` holds.

    Raises `GuestError`: guest_not_found, guest_malformed, guest_too_large, tool_missing, and what `Root.open` raises.
    """
    seen = _Seen()
    kinds: list[str] = []
    with root.open(path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        if size > _PACKED:
            raise GuestError("guest_too_large", f"The initrd {shown(path)} has {size} octets", path=shown(path))
        source = Source(pieces_of(file))
        while True:
            source.skip_padding()
            head = source.read(8)
            source.put_back(head)
            if not head:
                break
            kind = compression(head)
            if kind is None:
                raise GuestError("guest_malformed", f"{shown(path)} is no initrd that is known", path=shown(path))
            kinds.append(kind)
            if kind == "none":
                _read_archive(source, seen, path)
            else:
                inner = Source(unpacked(source, kind))
                _read_archives(inner, seen, path)
    return seen.initrd(path, tuple(kinds))


class _Seen:
    def __init__(self) -> None:
        self.names: set[str] = set()
        self.texts: dict[str, str] = {}
        self.octets = 0

    def initrd(self, path: str, kinds: tuple[str, ...]) -> Initrd:
        modules = {match[1] for name in self.names if (match := _MODULE.search(name)) is not None}
        kernels = {match[1] for name in self.names if (match := _OF_KERNEL.match(name)) is not None}
        order = _INSERTED.findall(self.texts.get("init", ""))
        listed = [line.split()[0] for line in self.texts.get("conf/modules", "").splitlines() if _is_word(line)]
        names = [posixpath.basename(name) for name in order if "$" not in name]
        loaded = [module_name(match[1] if (match := _MODULE.search(name)) else name) for name in (*names, *listed)]
        return Initrd(
            path=path,
            compression=kinds,
            tool=self._tool(),
            kernels=tuple(sorted(kernels)),
            modules=frozenset(module_name(name) for name in modules),
            order=tuple(dict.fromkeys(loaded)),
        )

    def _tool(self) -> str | None:
        if (
            any(name.startswith(("lib/dracut/", "usr/lib/dracut/")) for name in self.names)
            or "dracut-state.sh" in self.names
        ):
            return "dracut"
        if "conf/initramfs.conf" in self.names or "scripts/functions" in self.names:
            return "initramfs-tools"
        if "#!/bin/nash" in self.texts.get("init", ""):
            return "mkinitrd"
        return None


def _is_word(line: str) -> bool:
    return bool(line.split()) and not line.lstrip().startswith("#")


def _read_archives(source: Source, seen: _Seen, path: str) -> None:
    count = 0
    while True:
        source.skip_padding()
        head = source.read(6)
        source.put_back(head)
        if not head and count:
            return
        _read_archive(source, seen, path)
        count += 1


def _read_archive(source: Source, seen: _Seen, path: str) -> None:
    """One cpio archive of the form newc, to its last entry."""
    while True:
        header = source.read(_HEADER)
        if len(header) < _HEADER or header[:6] not in (b"070701", b"070702"):
            raise GuestError(
                "guest_malformed", f"The archive in {shown(path)} is damaged or ends early", path=shown(path)
            )
        try:
            fields = [int(header[at : at + 8], 16) for at in range(6, _HEADER, 8)]
        except ValueError as error:
            raise GuestError("guest_malformed", f"The archive in {shown(path)} is damaged", path=shown(path)) from error
        mode, size, length = fields[1], fields[6], fields[11]
        seen.octets += size + length
        if length > 4096 or seen.octets > UNPACKED or len(seen.names) > _ENTRIES:
            raise GuestError("guest_too_large", f"The initrd {shown(path)} unpacks to more than any", path=shown(path))
        name = source.read(length).rstrip(b"\x00").decode("utf-8", "surrogateescape")
        source.skip(-(_HEADER + length) % 4)
        if name == _LAST:
            return
        _read_entry(source, seen, name, mode, size)


def _read_entry(source: Source, seen: _Seen, name: str, mode: int, size: int) -> None:
    plain = posixpath.normpath(name).lstrip("/")
    seen.names.add(plain)
    if plain in _READ and stat.S_ISREG(mode) and size <= _KEPT:
        seen.texts[plain] = source.read(size).decode("utf-8", "surrogateescape")
    else:
        source.skip(size)
    source.skip(-size % 4)
