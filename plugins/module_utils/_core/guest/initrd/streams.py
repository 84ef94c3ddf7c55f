# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The octets of an initrd, whatever they are compressed with, in bounded memory.

An initrd is a chain of cpio archives: plain ones first (early microcode), then compressed ones. gzip, xz, lzma, bzip2
are read by the standard library, zstd, lz4 and lzo by programs of the builder.
"""

from __future__ import annotations

import bz2
import lzma
import subprocess
import threading
import typing as t
import zlib

from ...errors import GuestError

_PIECE: t.Final = 256 * 1024

#: More than any initrd unpacks to: what has more is made to exhaust the builder.
UNPACKED: t.Final = 1024 * 1024 * 1024

MAGIC: t.Final[tuple[tuple[bytes, str], ...]] = (
    (b"070701", "none"),
    (b"070702", "none"),
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x5d\x00\x00", "lzma"),
    (b"BZh", "bzip2"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\x89LZO\x00", "lzo"),
)
_PROGRAMS: t.Final = {"zstd": ("zstd", "-dcq"), "lz4": ("lz4", "-dcq"), "lzo": ("lzop", "-dcq")}


class Source:
    """Octets that are read in pieces, with those put back that belong to what follows."""

    def __init__(self, pieces: t.Iterator[bytes]) -> None:
        self._pieces = pieces
        self._ahead = b""

    def read(self, count: int) -> bytes:
        """`count` octets, or what is left of them."""
        found = [self._ahead]
        have = len(self._ahead)
        while have < count:
            piece = next(self._pieces, b"")
            if not piece:
                break
            found.append(piece)
            have += len(piece)
        octets = b"".join(found)
        self._ahead = octets[count:]
        return octets[:count]

    def skip(self, count: int) -> int:
        """Pass over `count` octets; how many there were."""
        left = count
        while left > 0:
            passed = len(self.read(min(left, _PIECE)))
            if not passed:
                break
            left -= passed
        return count - left

    def put_back(self, octets: bytes) -> None:
        """Let `octets` be read next."""
        self._ahead = octets + self._ahead

    def skip_padding(self) -> None:
        """Pass over zeros."""
        while True:
            octets = self.read(4096)
            rest = octets.lstrip(b"\x00")
            if rest or not octets:
                self.put_back(rest)
                return


def pieces_of(file: t.BinaryIO) -> t.Iterator[bytes]:
    """The octets of an open file."""
    return iter(lambda: file.read(_PIECE), b"")


def compression(head: bytes) -> str | None:
    """What octets are compressed with, by how they begin; None when that is not known."""
    return next((name for magic, name in MAGIC if head.startswith(magic)), None)


def unpacked(source: Source, kind: str) -> t.Iterator[bytes]:
    """The unpacked octets of the stream that `source` stands at; what follows the stream is put back.

    Raises `GuestError` (guest_malformed) for a stream that is damaged, or that the builder has no program for.
    """
    if kind in _PROGRAMS:
        yield from _by_program(source, _PROGRAMS[kind])
        return
    decompressor = _decompressor(kind)
    try:
        while not decompressor.eof:
            piece = source.read(_PIECE)
            if not piece:
                raise GuestError("guest_malformed", f"The {kind} stream of an initrd ends too early")
            yield from _bounded(decompressor, piece)
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise GuestError("guest_malformed", f"The {kind} stream of an initrd is damaged: {error}") from error
    source.put_back(decompressor.unused_data)


def _decompressor(kind: str) -> t.Any:
    if kind == "gzip":
        return _Gzip()
    if kind == "bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(
        format=lzma.FORMAT_XZ if kind == "xz" else lzma.FORMAT_ALONE, memlimit=256 * 1024 * 1024
    )


class _Gzip:
    """zlib's decompressor with the methods of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    def decompress(self, data: bytes, max_length: int = 0) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


def _bounded(decompressor: t.Any, piece: bytes) -> t.Iterator[bytes]:
    yield decompressor.decompress(piece, _PIECE)
    while not decompressor.eof and not decompressor.needs_input:
        yield decompressor.decompress(b"", _PIECE)


def _by_program(source: Source, argv: tuple[str, ...]) -> t.Iterator[bytes]:
    """The program may end with an error for what follows the stream: the archive in it says whether it was whole."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin"},
        )
    except OSError as error:
        raise GuestError("tool_missing", f"An initrd is compressed with {argv[0]}, which this machine lacks") from error
    stdin, stdout = t.cast(t.BinaryIO, process.stdin), t.cast(t.BinaryIO, process.stdout)
    feeder = threading.Thread(target=_feed, args=(source, stdin), daemon=True)
    feeder.start()
    try:
        yield from pieces_of(stdout)
    finally:
        process.kill()
        stdout.close()
        feeder.join()
        process.wait()


def _feed(source: Source, stdin: t.BinaryIO) -> None:
    try:
        with stdin:
            while True:
                piece = source.read(_PIECE)
                if not piece:
                    return
                stdin.write(piece)
    except OSError:
        return
