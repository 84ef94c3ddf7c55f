# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small systems, each unpacked from one text file of `guest_systems/`, and initrds made of the names in it.

A file of systems is a row of sections, each begun by a line ``=== <path>``, where the path may be followed by:

``-> <target>``                    a symbolic link
``initrd <compression> <kernel> <tool>``   an initrd with the modules that the section's lines name
nothing                            a file of the section's lines
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent / "guest_systems"
NAMES = sorted(path.stem for path in HERE.glob("*.system"))


def unpack(name: str, directory: Path) -> Path:
    """Make the system `name` under `directory`; the directory."""
    for head, lines in sections((HERE / f"{name}.system").read_text()):
        path, *words = head.split()
        target = directory / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if words[:1] == ["->"]:
            target.symlink_to(words[1])
        elif words[:1] == ["initrd"]:
            target.write_bytes(initrd(words[1], words[2], words[3], lines))
        elif path.endswith("/"):
            target.mkdir()
        else:
            target.write_text("".join(f"{line}\n" for line in lines))
            target.chmod(0o755 if "bin/" in path or "init.d/" in path else 0o644)
    return directory


def sections(text: str) -> t.Iterator[tuple[str, list[str]]]:
    head: str | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        if line.startswith("=== "):
            if head is not None:
                yield head, lines
            head, lines = line[4:], []
        elif head is not None:
            lines.append(line)
    if head is not None:
        yield head, lines[:-1] if lines[-1:] == [""] else lines


def initrd(compression: str, kernel: str, tool: str, modules: t.Sequence[str]) -> bytes:
    """An initrd as `tool` makes it: early microcode first where it is dracut's."""
    flat = tool == "mkinitrd"
    files = {f"lib/{name}.ko" if flat else f"usr/lib/modules/{kernel}/kernel/{name}.ko": b"" for name in modules}
    if flat:
        lines = "".join(f"insmod /lib/{name}.ko\n" for name in modules)
        files["init"] = f"#!/bin/nash\nmount -t proc /proc /proc\n{lines}".encode()
    elif tool == "dracut":
        files["usr/lib/dracut/build-parameter.txt"] = b""
    else:
        files["conf/initramfs.conf"] = b"MODULES=most\n"
    early = cpio({"kernel/x86/microcode/GenuineIntel.bin": b"microcode"}) if tool == "dracut" else b""
    return early + compress(compression, cpio(files))


def cpio(files: t.Mapping[str, bytes]) -> bytes:
    """A newc archive."""
    out = bytearray()
    for number, (name, octets) in enumerate([*files.items(), ("TRAILER!!!", b"")]):
        fields = [number + 1, 0o100644, 0, 0, 1, 0, len(octets), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + octets
        out += bytes(-len(out) % 4)
    return bytes(out) + bytes(-len(out) % 512)


def compress(kind: str, octets: bytes) -> bytes:
    if kind in ("zstd", "lz4"):
        command = {"zstd": ["zstd", "-qc"], "lz4": ["lz4", "-qlc"]}[kind]
        return subprocess.run(command, input=octets, check=True, capture_output=True).stdout
    packers: dict[str, t.Callable[[bytes], bytes]] = {
        "none": lambda plain: plain,
        "gzip": gzip.compress,
        "bzip2": bz2.compress,
        "xz": lambda plain: lzma.compress(plain, check=lzma.CHECK_CRC32),
        "lzma": lambda plain: lzma.compress(plain, format=lzma.FORMAT_ALONE),
    }
    return packers[kind](octets)


def build(root: t.Any, argv: t.Sequence[str]) -> None:
    """What the system's tool would build for this command line: the modules that it is told to take, and the usual."""
    kernel = argv[-1]
    if argv[0] == "mkinitrd":
        taken = [word.split("=", 1)[1] for word in argv if word.startswith(("--with=", "--preload="))]
        target, modules = argv[-2], [*taken, "jbd", "ext3"]
    else:
        text = (
            Path(root.path) / "etc/dracut.conf.d/hepix.conf"
            if argv[0] == "dracut"
            else Path(root.path) / "etc/initramfs-tools/modules"
        ).read_text()
        words = [
            word for line in text.splitlines() if not line.startswith("#") for word in line.replace('"', " ").split()
        ]
        target = argv[2] if argv[0] == "dracut" else f"/boot/initrd.img-{kernel}"
        modules = [*(word for word in words if "=" not in word), "ext4", "xfs"]
    path = Path(root.path) / target.lstrip("/")
    path.write_bytes(initrd("gzip", kernel, {"update-initramfs": "initramfs-tools"}.get(argv[0], argv[0]), modules))


def render(before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any], notes: t.Sequence[t.Mapping[str, str]]) -> str:
    """A plan as text for a person's eyes."""
    lines = []
    for path in after:
        lines.append(f"=== {path}")
        for sign, value in (("-", before[path]), ("+", after[path])):
            lines += [f"{sign} {line}" for line in (value if isinstance(value, list) else [f"({value})"])]
    for note in notes:
        lines.append(f"!!! {note['requirement']} {note['text']}")
    return "\n".join(lines) + "\n"
