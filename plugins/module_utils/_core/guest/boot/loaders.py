# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot entries of a system as its GRUB reads them: 0.97's grub.conf, 2's grub.cfg, and its boot entry files."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..formats.bls import BootEntry, environment, version_key
from ..formats.grub_cfg import GrubCfg
from ..formats.grub_legacy import GrubConf
from ..root.tree import Root

LEGACY: t.Final = ("/boot/grub/grub.conf", "/boot/grub/menu.lst")
GRUB2: t.Final = ("/boot/grub2/grub.cfg", "/boot/grub/grub.cfg")
ENTRIES: t.Final = "/boot/loader/entries"


@dataclass(frozen=True)
class Entry:
    """`kernel` and `initrds` are paths in the tree; `position`: its place in the menus; `device`: as root says."""

    position: str
    title: str
    kernel: str | None
    initrds: tuple[str, ...]
    arguments: tuple[str, ...]
    hypervisor: bool
    device: str | None
    source: str

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "position": self.position,
            "title": self.title,
            "kernel": self.kernel,
            "initrds": list(self.initrds),
            "arguments": list(self.arguments),
            "hypervisor": self.hypervisor,
            "source": self.source,
        }


@dataclass(frozen=True)
class Loader:
    """`kind`: grub (0.97), grub2, or None where there is no configuration; `default`: an index into the entries."""

    kind: str | None
    path: str | None
    entries: tuple[Entry, ...]
    default: int | None
    entry_files: bool = False

    def as_dict(self) -> dict[str, t.Any]:
        return {
            "kind": self.kind,
            "path": self.path,
            "default": self.default,
            "entry_files": self.entry_files,
            "entries": [entry.as_dict() for entry in self.entries],
        }


def read_loader(root: Root, *, separate_boot: bool) -> Loader:
    """The boot loader's entries; a path of theirs begins at the boot partition. Raises `GuestError`."""
    prefix = "/boot" if separate_boot else ""
    legacy = next((path for path in LEGACY if root.is_file(path)), None)
    modern = next((path for path in GRUB2 if root.is_file(path)), None)
    if legacy is not None and (modern is None or _is_legacy(root)):
        return _legacy(root, legacy, prefix)
    if modern is not None:
        return _modern(root, modern, prefix)
    return Loader(None, None, (), None)


def in_tree(prefix: str, path: str) -> str:
    """A path of the boot loader as one of the tree."""
    plain = path.split(")", 1)[1] if path.startswith("(") and ")" in path else path
    return prefix + "/" + plain.lstrip("/")


def _is_legacy(root: Root) -> bool:
    """Which GRUB is installed where both have a configuration: by what each loads next."""
    return root.is_file("/boot/grub/stage2") and not root.is_directory("/boot/grub/i386-pc")


def _legacy(root: Root, path: str, prefix: str) -> Loader:
    document = GrubConf.parse(root.read(path) or b"")
    found = []
    for number, entry in enumerate(document.entries):
        kernel = entry.kernel
        found.append(
            Entry(
                position=str(number),
                title=entry.title,
                kernel=None if kernel is None else in_tree(prefix, kernel),
                initrds=tuple(in_tree(prefix, word) for word in (entry.get("initrd") or "").split()),
                arguments=entry.arguments,
                hypervisor=bool(entry.all("module")),
                device=entry.get("root"),
                source=path,
            )
        )
    said = document.default
    default = int(said) if said is not None and said.isdecimal() and int(said) < len(found) else 0
    return Loader("grub", path, tuple(found), default if found else None)


def _modern(root: Root, path: str, prefix: str) -> Loader:
    document = GrubCfg.parse(root.read(path) or b"")
    directory = path.rsplit("/", 1)[0]
    variables = environment(root.read(f"{directory}/grubenv") or b"")
    static = [
        Entry(
            position=entry.position,
            title=entry.title,
            kernel=None if entry.kernel is None else in_tree(prefix, entry.kernel.path),
            initrds=tuple(in_tree(prefix, name) for name in entry.initrds),
            arguments=() if entry.kernel is None else entry.kernel.arguments,
            hypervisor=bool(entry.modules),
            device=entry.root,
            source=path,
        )
        for entry in document.entries
    ]
    names = [entry.identifier for entry in document.entries]
    reads = document.reads_entries
    files: list[tuple[str, Entry]] = []
    if reads:
        before = sum(1 for entry in document.entries if entry.first < reads[0] and not entry.depth)
        files = _entry_files(root, prefix, variables, before)
    entries = [entry for _name, entry in files] + static
    identifiers: list[str | None] = [*(name for name, _entry in files), *names]
    default = _default(document.default, variables, entries, identifiers)
    return Loader("grub2", path, tuple(entries), default, bool(reads))


def _entry_files(root: Root, prefix: str, variables: t.Mapping[str, str], first: int) -> list[tuple[str, Entry]]:
    names = [name[:-5] for name in root.names(ENTRIES) if name.endswith(".conf") and root.is_file(f"{ENTRIES}/{name}")]
    found = []
    for number, name in enumerate(sorted(names, key=version_key, reverse=True)):
        path = f"{ENTRIES}/{name}.conf"
        entry = BootEntry.parse(root.read(path) or b"")
        kernel = entry.get("linux")
        words: list[str] = []
        for word in entry.arguments:
            words += variables.get(word[1:], "").split() if word.startswith("$") else [word]
        found.append(
            (
                name,
                Entry(
                    position=str(first + number),
                    title=entry.get("title") or name,
                    kernel=None if kernel is None else in_tree(prefix, kernel),
                    initrds=tuple(in_tree(prefix, word) for word in entry.initrds),
                    arguments=tuple(words),
                    hypervisor=False,
                    device=None,
                    source=path,
                ),
            )
        )
    return found


def _default(
    said: str | None, variables: t.Mapping[str, str], entries: t.Sequence[Entry], names: t.Sequence[str | None]
) -> int | None:
    if not entries:
        return None
    wanted = said or "0"
    if "saved_entry" in wanted:
        wanted = variables.get("saved_entry") or "0"
    last = wanted.rsplit(">", 1)[-1]
    for number, (entry, name) in enumerate(zip(entries, names)):
        if entry.position == wanted or (not last.isdecimal() and last in (entry.title, name)):
            return number
    return 0
