# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Image files that are compressed on their way, because their declared format says so.

A packed file is kept beside the history until the image is published as something else: a second compression, by
another version of a library, would give other octets under the same version.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import json
import lzma
import os
import typing as t
from dataclasses import asdict
from pathlib import Path

from ...disks.compression import zstd_library
from ...errors import PublishError
from ...transfer.atomic import fsync_directory, storage_errors, temporary_sibling, write_atomic
from ...transfer.checksum import BUFFER_SIZE, Digest
from ..declared.images import FORMAT, ImageSpec
from ..files import FileBook

#: suffix of a format -> how a file of it begins.
_MAGIC: t.Final[t.Mapping[str, bytes]] = {
    "gz": b"\x1f\x8b",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ\x00",
    "zst": b"\x28\xb5\x2f\xfd",
}


class Packing:
    """The packed files in `directory`; with `check` nothing is written, and what a file would be is computed only.

    `sources`: by identifier the SHA-512 of the file that an image was made of, before any packing.
    """

    def __init__(self, directory: Path, book: FileBook, *, check: bool) -> None:
        self._directory = directory
        self._book = book
        self._check = check
        self._known = _load(directory / "packed.json")
        self.sources: dict[str, str] = {}

    def prepare(self, images: t.Iterable[ImageSpec]) -> dict[str, tuple[Path, Digest]]:
        """By identifier, the file to publish for each image that has a path, and its digest; packed where need be.

        Raises TransferError; PublishError ``library_missing``.
        """
        wanted = {image.identifier: image for image in images if image.path is not None}
        digests = self._book.digests(t.cast("list[Path]", [image.path for image in wanted.values()]))
        self.sources = {name: digests[t.cast(Path, image.path)].sha512 for name, image in wanted.items()}
        return {name: self._one(image, digests) for name, image in wanted.items()}

    def keep_only(self, digests: t.Container[str]) -> None:
        """Remove the packed files whose SHA-512 is none of `digests`. Raises TransferError."""
        kept = {key: packed for key, packed in self._known.items() if packed.sha512 in digests}
        for key in self._known.keys() - kept.keys():
            with storage_errors(self._directory):
                self._path(key).unlink(missing_ok=True)
        if kept != self._known:
            self._known = kept
            self._save()

    def _one(self, image: ImageSpec, digests: t.Mapping[Path, Digest]) -> tuple[Path, Digest]:
        source = t.cast(Path, image.path)
        suffix = str(image.keys.get(FORMAT) or "").lower().rpartition(".")[2]
        if suffix not in _MAGIC or _begins_with(source, _MAGIC[suffix]):
            return source, digests[source]
        key = f"{digests[source].sha512}.{suffix}"
        known, path = self._known.get(key), self._path(key)
        if known is not None and _size(path) == known.size:
            return path, known
        packed = self._pack(source, digests[source], suffix, None if self._check else path)
        if self._check:
            return source, packed
        self._known[key] = packed
        self._save()
        return path, packed

    def _pack(self, source: Path, announced: Digest, suffix: str, target: t.Optional[Path]) -> Digest:
        if target is None:
            with Path(os.devnull).open("wb") as nowhere:
                return _compress(source, announced, suffix, nowhere)
        with storage_errors(target):
            target.parent.mkdir(mode=0o700, exist_ok=True)
            temporary = temporary_sibling(target)
            try:
                with temporary.open("xb") as stream:
                    packed = _compress(source, announced, suffix, stream)
                    stream.flush()
                    os.fsync(stream.fileno())
                temporary.replace(target)
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                raise
        fsync_directory(target.parent)
        return packed

    def _path(self, key: str) -> Path:
        return self._directory / key

    def _save(self) -> None:
        known = {key: asdict(digest) for key, digest in self._known.items()}
        write_atomic(self._directory / "packed.json", json.dumps(known, indent=1, sort_keys=True).encode(), 0o600)


class _Sink:
    """Hashes what passes through to a stream."""

    def __init__(self, stream: t.BinaryIO) -> None:
        self._stream = stream
        self._state = hashlib.sha512()
        self._size = 0

    def write(self, octets: t.Any) -> int:
        self._state.update(octets)
        self._size += len(octets)
        return self._stream.write(octets)

    def flush(self) -> None:
        self._stream.flush()

    def digest(self) -> Digest:
        return Digest(self._size, self._state.hexdigest())


def _compress(source: Path, announced: Digest, suffix: str, stream: t.BinaryIO) -> Digest:
    """The same octets for the same file: no name and no time goes into the result.

    Raises PublishError ``not_readable`` unless the source has the digest under which the result will be known.
    """
    sink, state = _Sink(stream), hashlib.sha512()
    with (
        storage_errors(source, reading=True),
        source.open("rb", buffering=0) as octets,
        _packer(suffix, sink) as packer,
    ):
        for piece in iter(lambda: octets.read(BUFFER_SIZE), b""):
            state.update(piece)
            packer.write(piece)
    if state.hexdigest() != announced.sha512:
        raise PublishError("not_readable", f"The file {source} changed while it was read.", path=str(source))
    return sink.digest()


def _packer(suffix: str, sink: _Sink) -> t.Any:
    target = t.cast("t.BinaryIO", sink)
    if suffix == "gz":
        return gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=target, mtime=0)
    if suffix == "bz2":
        return bz2.BZ2File(target, "wb")
    if suffix == "xz":
        return lzma.LZMAFile(target, "wb", preset=6)
    module = zstd_library()
    if module is not None:
        return module.ZstdFile(target, "wb", options={module.CompressionParameter.nb_workers: os.cpu_count() or 1})
    raise PublishError("library_missing", "Python writes no zstd here: the library backports.zstd is not installed.")


def _begins_with(path: Path, magic: bytes) -> bool:
    with storage_errors(path, reading=True), path.open("rb") as stream:
        return stream.read(len(magic)) == magic


def _size(path: Path) -> t.Optional[int]:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _load(path: Path) -> dict[str, Digest]:
    try:
        return {key: Digest(**entry) for key, entry in json.loads(path.read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
