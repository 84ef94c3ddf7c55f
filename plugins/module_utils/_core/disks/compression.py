# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decompression in bounded pieces: whatever the octets say, no more than one buffer comes out at once.

The libraries: gz by `isal` where it is installed (four times as fast; PSF licence, wheels for what sites run), else by
zlib; zst by the standard library (`compression.zstd`, Python 3.14) or its backport by the same author,
`backports.zstd`, which alone among the libraries bounds its output *and* tells a cut frame from a whole one; bz2 and xz
by the standard library.
"""

from __future__ import annotations

import bz2
import importlib
import lzma
import tarfile
import typing as t
import zlib

from ..errors import DiskError
from ..transfer.atomic import storage_errors

#: Octets in one piece of output and of input.
PIECE: t.Final = 256 * 1024
#: Octets of memory that a decoder may ask for: xz -9 needs 65 MiB, zstd --long=27 128 MiB.
_MEMORY: t.Final = 192 * 1024 * 1024
_ZSTD_WINDOW: t.Final = 27
#: Tools that work in parallel write many streams, of 64 KiB and more; so many of so few octets only cost time.
_STREAMS: t.Final = 10_000
_LEAST: t.Final = 4096
_ZSTD_MODULES: t.Final = ("compression.zstd", "backports.zstd")


class Decoder(t.Protocol):
    """One stream, as bz2, lzma, isal and zstd have it."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class _Zlib:
    """zlib's decoder of one gzip member with the interface of the others."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail and not self.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, max_length)


def _gzip() -> Decoder:
    try:
        module = importlib.import_module("isal.igzip_lib")
    except ImportError:
        return _Zlib()
    return t.cast("Decoder", module.IgzipDecompressor(flag=module.DECOMP_GZIP))


def zstd_library() -> t.Any:
    """The module that reads and writes zstd here, or None where there is none."""
    for name in _ZSTD_MODULES:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _zstd() -> Decoder:
    module = zstd_library()
    if module is None:
        raise DiskError("library_missing", "Python reads no zstd here: the library backports.zstd is not installed.")
    options = {module.DecompressionParameter.window_log_max: _ZSTD_WINDOW}
    return t.cast("Decoder", module.ZstdDecompressor(options=options))


_DECODERS: t.Final[t.Mapping[str, t.Callable[[], Decoder]]] = {
    "gz": _gzip,
    "bz2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY),
    "zst": _zstd,
}


def decompressed(source: t.BinaryIO, kind: str, shown: str) -> t.Iterator[bytes]:
    """The octets of a compressed stream, in pieces of at most `PIECE`; several streams one after the other are one.

    Raises DiskError ``unpack_failed`` where they are damaged, cut, or followed by something else, and
    ``library_missing``. How much may come in all is for the caller to say.
    """
    new = _DECODERS[kind]
    streams = done = 0
    data = _read(source, shown)
    if not data:
        raise DiskError("unpack_failed", f"{shown} is empty.", path=shown)
    while data:
        decoder = new()
        while not decoder.eof:
            piece = _decode(decoder, data, kind, shown)
            data = b""
            if piece:
                done += len(piece)
                yield piece
            elif decoder.needs_input and not decoder.eof:
                data = _read(source, shown)
                if not data:
                    raise DiskError("unpack_failed", f"{shown} ends in the middle of a {kind} stream.", path=shown)
        streams += 1
        if streams >= _STREAMS and done < streams * _LEAST:
            raise DiskError("unpack_failed", f"{shown} consists of too many and too small {kind} streams.", path=shown)
        data = _next(source, decoder.unused_data, shown)


def _decode(decoder: Decoder, data: bytes, kind: str, shown: str) -> bytes:
    try:
        return decoder.decompress(data, PIECE)
    except Exception as error:
        # Every library has classes of its own, which are not there to be named where it is not installed.
        why = str(error) or type(error).__name__
        raise DiskError("unpack_failed", f"{shown} cannot be unpacked as {kind}: {why}.", path=shown) from error


def _read(source: t.BinaryIO, shown: str) -> bytes:
    """The next octets of the source, which may be a member of an archive."""
    with storage_errors(shown, reading=True):
        try:
            return source.read(PIECE)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise DiskError("unpack_failed", f"{shown} is no intact archive: {error}.", path=shown) from error


def _next(source: t.BinaryIO, rest: bytes, shown: str) -> bytes:
    """The beginning of the next stream, if there is one; zeros between and after streams are padding."""
    while True:
        rest = rest.lstrip(b"\0")
        if rest:
            return rest
        rest = _read(source, shown)
        if not rest:
            return b""
