# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The header of an installed rpm package, as every backend of its database stores it.

Two counts (entries, octets of data), then 16 octets for each entry (tag, type, offset, count), then the data; all
numbers are big-endian. Source: the format description of rpm (docs/manual/format_header).
"""

from __future__ import annotations

import struct
import typing as t

from .model import OwnedFile, Package, checked, line, malformed
from .signature import key_of

_NAME: t.Final = 1000
_VERSION: t.Final = 1001
_RELEASE: t.Final = 1002
_EPOCH: t.Final = 1003
_BUILT: t.Final = 1006
_INSTALLED: t.Final = 1008
_VENDOR: t.Final = 1011
_LICENCE: t.Final = 1014
_PACKAGER: t.Final = 1015
_ARCH: t.Final = 1022
_SOURCE: t.Final = 1044

#: What signs the header, or header and content: RSAHEADER, DSAHEADER, SIGGPG, SIGPGP.
_SIGNATURES: t.Final = (268, 267, 262, 259)

_MODES: t.Final = 1030
_DIGESTS: t.Final = 1035
_FLAGS: t.Final = 1037
_INDEXES: t.Final = 1116
_BASENAMES: t.Final = 1117
_DIRECTORIES: t.Final = 1118
_ALGORITHM: t.Final = 5011

_CONFIG, _GHOST = 1, 64
_ALGORITHMS: t.Final = {1: "md5", 2: "sha1", 8: "sha256", 9: "sha384", 10: "sha512", 11: "sha224"}

#: The types of values: how long a number is, and what is text.
_NUMBERS: t.Final = {2: (1, "B"), 3: (2, "H"), 4: (4, "I"), 5: (8, "Q")}
_TEXTS: t.Final = frozenset({6, 8, 9})
_BINARY: t.Final = 7

#: Limits of rpm itself.
_ENTRIES: t.Final = 0xFFFF
_KEYS: t.Final = "gpg-pubkey"


class Header:
    """The values of a header. Raises `GuestError` (packages_malformed) for one that lies outside of it."""

    def __init__(self, blob: bytes, path: str) -> None:
        self._blob = blob
        self._path = path
        if len(blob) < 8:
            raise malformed(path, "a header is cut off")
        entries, self._size = struct.unpack_from(">II", blob)
        self._begin = 8 + 16 * entries
        if not 0 < entries <= _ENTRIES or self._begin + self._size > len(blob):
            raise malformed(path, "a header is longer than its record")
        self._index = {
            tag: (kind, offset, count)
            for tag, kind, offset, count in struct.iter_unpack(">IIII", blob[8 : self._begin])
            if count
        }

    def text(self, tag: int) -> str | None:
        """The first text of a tag as one line."""
        found = self.texts(tag, most=1)
        return line(found[0].decode("utf-8", "surrogateescape")) if found else None

    def number(self, tag: int) -> int | None:
        """The first number of a tag."""
        found = self.numbers(tag, most=1)
        return found[0] if found else None

    def texts(self, tag: int, *, most: int = _ENTRIES * 16) -> list[bytes]:
        """The texts of a tag; none when it is not there."""
        if tag not in self._index:
            return []
        kind, offset, count = self._index[tag]
        if kind not in _TEXTS:
            raise self._outside(tag)
        at, end = self._begin + offset, self._begin + self._size
        found = []
        for _number in range(min(count, most)):
            stop = self._blob.find(b"\0", at, end) if at < end else -1
            if stop < 0:
                raise malformed(self._path, "a text in a header has no end")
            found.append(self._blob[at:stop])
            at = stop + 1
        return found

    def numbers(self, tag: int, *, most: int = _ENTRIES * 16) -> tuple[int, ...]:
        """The numbers of a tag; none when it is not there."""
        if tag not in self._index:
            return ()
        kind, offset, count = self._index[tag]
        count = min(count, most)
        width, code = _NUMBERS.get(kind, (0, ""))
        if not width or offset + width * count > self._size:
            raise self._outside(tag)
        return struct.unpack_from(f">{count}{code}", self._blob, self._begin + offset)

    def octets(self, tag: int) -> bytes | None:
        """The octets of a tag; None when it is not there."""
        if tag not in self._index:
            return None
        kind, offset, count = self._index[tag]
        if kind != _BINARY or offset + count > self._size:
            raise self._outside(tag)
        return self._blob[self._begin + offset : self._begin + offset + count]

    def _outside(self, tag: int) -> Exception:
        return malformed(self._path, f"tag {tag} of a header lies outside of it")


def read_package(blob: bytes, path: str) -> Package | None:
    """The package of the header; None for a public key, which rpm keeps as if it were one. Raises `GuestError`."""
    header = Header(blob, path)
    name = header.text(_NAME)
    if name == _KEYS:
        return None
    return checked(
        Package(
            kind="rpm",
            name=name or "",
            version=header.text(_VERSION) or "",
            epoch=header.number(_EPOCH),
            release=header.text(_RELEASE),
            arch=header.text(_ARCH),
            vendor=header.text(_VENDOR),
            maintainer=header.text(_PACKAGER),
            licence=header.text(_LICENCE),
            source=header.text(_SOURCE),
            built=header.number(_BUILT),
            installed=header.number(_INSTALLED),
            key=_key(header),
        ),
        path,
    )


def _key(header: Header) -> str | None:
    return next(filter(None, (key_of(header.octets(tag) or b"") for tag in _SIGNATURES)), None)


def read_files(blob: bytes, path: str) -> t.Iterator[OwnedFile]:
    """The files of the package, with what rpm knows of each. Raises `GuestError` (packages_malformed)."""
    header = Header(blob, path)
    package = header.text(_NAME) or ""
    names, indexes = header.texts(_BASENAMES), header.numbers(_INDEXES)
    directories = header.texts(_DIRECTORIES)
    digests, modes, flags = header.texts(_DIGESTS), header.numbers(_MODES), header.numbers(_FLAGS)
    algorithm = _ALGORITHMS.get(header.number(_ALGORITHM) or 1)
    if len(indexes) != len(names) or any(index >= len(directories) for index in indexes):
        raise malformed(path, f"the files of {package} have no directories")
    if any(given and len(given) != len(names) for given in (digests, modes, flags)):
        raise malformed(path, f"the files of {package} are not as many as what is said of them")
    for number, (name, index) in enumerate(zip(names, indexes)):
        kind = flags[number] if flags else 0
        yield OwnedFile(
            package=package,
            path=(directories[index] + name).decode("utf-8", "surrogateescape"),
            algorithm=algorithm,
            digest=(digests[number].decode("ascii", "replace").lower() or None) if digests else None,
            mode=modes[number] if modes else None,
            config=bool(kind & _CONFIG),
            ghost=bool(kind & _GHOST),
        )
