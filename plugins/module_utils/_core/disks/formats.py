# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The formats of images as lists state them (``hv:format``), and as a site asks for them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..errors import DiskError

#: What a site may ask for.
WANTED: t.Final = ("raw", "qcow2", "vmdk", "vdi", "vhd")
#: Compression by the ending that says so.
COMPRESSIONS: t.Final = ("gz", "bz2", "xz", "zst")
#: Archives that hold one disk.
ARCHIVES: t.Final = ("ova", "tar")

#: The most octets that anything may unpack to, unless the site says otherwise.
MAX_UNPACKED: t.Final = 512 * 1024**3

_ALIASES: t.Final = {"vpc": "vhd", "img": "raw"}
#: How the compressed archive is often called.
_SHORT: t.Final = {"tgz": ("tar", "gz"), "tbz2": ("tar", "bz2"), "txz": ("tar", "xz"), "tzst": ("tar", "zst")}


@dataclass(frozen=True)
class Format:
    """What an image file is, from the inside out: the `disk` (None: what the archive holds), in an `archive` or not,
    in a `compression` or not."""

    disk: t.Optional[str]
    archive: t.Optional[str] = None
    compression: t.Optional[str] = None

    def __str__(self) -> str:
        return ".".join(part for part in (self.archive or self.disk, self.compression) if part)

    @property
    def is_plain(self) -> bool:
        """Whether the file is the disk itself."""
        return self.archive is None and self.compression is None


def parse_format(text: t.Optional[str]) -> Format:
    """Read an ``hv:format``: ``raw qcow2 vmdk vdi vhd vpc ova tar``, any case, perhaps with ``.gz .bz2 .xz .zst``.

    Raises DiskError ``format_unknown``, also where nothing is stated: no file is ever asked what it might be, since a
    guest can write the beginning of its disk.
    """
    if not text:
        raise DiskError("format_unknown", "The list does not state the format of the image (hv:format).")
    parts = text.strip().lower().lstrip(".").split(".")
    if len(parts) == 1 and parts[0] in _SHORT:
        parts = list(_SHORT[parts[0]])
    compression = parts.pop() if len(parts) > 1 and parts[-1] in COMPRESSIONS else None
    kind = _ALIASES.get(parts[0], parts[0])
    if len(parts) == 1 and kind in WANTED:
        return Format(kind, None, compression)
    if len(parts) == 1 and kind in ARCHIVES:
        return Format(None, kind, compression)
    raise DiskError("format_unknown", f"The format {text!r} (hv:format) is not known.", format=text)


def parse_wanted(names: t.Iterable[str]) -> tuple[str, ...]:
    """The formats that a site asks for, in order, each once; `ValueError` with a sentence for one that is not known."""
    found = []
    for name in names:
        kind = _ALIASES.get(str(name).lower(), str(name).lower())
        if kind not in WANTED:
            raise ValueError(f"{name!r} is none of {', '.join(WANTED)}")
        found.append(kind)
    return tuple(sorted(set(found), key=WANTED.index))


def of_member(name: str) -> t.Optional[Format]:
    """The format of a member of an archive by the ending of its name; None for what is no disk (``.ovf``, ``.mf``)."""
    parts = name.lower().rsplit("/", 1)[-1].split(".")
    compression = parts.pop() if len(parts) > 2 and parts[-1] in COMPRESSIONS else None
    kind = _ALIASES.get(parts[-1], parts[-1]) if len(parts) > 1 else ""
    return Format(kind, None, compression) if kind in WANTED else None
