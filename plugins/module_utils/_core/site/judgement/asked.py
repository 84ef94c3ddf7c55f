# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked about: a UUID, a tag, a SHA-512 or a file; and which image of the catalogue it means.

A file is that of an image when it is the very file of the cache, by whatever name: directly, through a symbolic link,
or as a hard link (device and inode). A copy is known by its octets alone, and those are read only when told to.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import stat
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ...errors import SiteError, TransferError
from ...transfer.atomic import storage_errors
from ..subscription import UUID
from .assess import resolve_image, resolve_sha512, resolve_tag
from .records import stat_facts, stat_record
from .verdict import FileFacts

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

IMAGE: t.Final = "image"
TAG: t.Final = "tag"
SHA512: t.Final = "sha512"
PATH: t.Final = "path"

_SHA512: t.Final = re.compile(r"[0-9a-fA-F]{128}\Z")


@dataclass(frozen=True)
class Meant:
    """The image that is meant: its rows, the best first, and for a question about a file that file."""

    rows: t.Sequence[sqlite3.Row]
    file: FileFacts | None = None


@dataclass(frozen=True)
class Candidate:
    """A file that is asked about: its real path, device and stat record, and, where its octets may be read, a
    descriptor that was opened with the rights of whoever asks."""

    asked: str
    path: Path
    device: int
    record: t.Mapping[str, int]
    descriptor: int | None

    def unchanged(self) -> bool:
        """Whether the path still leads to the file as it was when it was looked at."""
        return stat_record(self.path) == self.record

    def is_at(self, path: str | Path) -> bool:
        """Whether this is the file at `path`, under that name or another one."""
        try:
            found = os.lstat(path)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == (self.device, self.record["inode"])

    def lies_at(self, place: Path, name: str) -> bool:
        """Whether this is the file `name` of a directory, or in its place."""
        path = Path(os.path.realpath(place)) / name
        return path == self.path or self.is_at(path)

    def is_recorded(self, row: sqlite3.Row) -> bool:
        """Whether the stat record is that of an index row."""
        return all(self.record[key] == row[key] for key in self.record)

    def sha512(self) -> str | None:
        """Of its octets, read now; None where they are not to be read. TransferError ``not_readable``."""
        if self.descriptor is None:
            return None
        from ...transfer.checksum import digest_file

        digest = digest_file(self.descriptor).sha512
        if not self.unchanged():
            raise TransferError("not_readable", f"{self.path} changed while it was read.", path=str(self.path))
        return digest


def kind_of(name: str) -> str:
    """What a name on the command line is: ``path`` (it has a slash, and is no address), ``sha512``, ``image``, ``tag``.

    Whoever needs a tag that looks otherwise says that it is one.
    """
    if UUID.match(name.lower()):
        return IMAGE
    if _SHA512.match(name):
        return SHA512
    return PATH if "/" in name and "://" not in name else TAG


@contextlib.contextmanager
def candidate(name: str, *, read: bool) -> t.Iterator[Candidate]:
    """Look at the file `name`; with `read` it is opened, so that its octets may be read later by another user.

    TransferError ``not_found``, ``not_readable``.
    """
    path = Path(os.path.realpath(name))
    with storage_errors(path, reading=True):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK) if read else None
    try:
        with storage_errors(path, reading=True):
            found = os.lstat(path) if descriptor is None else os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise TransferError("not_readable", f"{path} is not a regular file.", path=str(path))
        yield Candidate(name, path, found.st_dev, stat_facts(found), descriptor)
    finally:
        if descriptor is not None:
            os.close(descriptor)


def find(catalogue: Catalogue, name: str, kind: str, file: Candidate | None = None) -> Meant:
    """The image that `name` means; ``unknown_image``, or for the candidate `file` also ``file_unknown``."""
    if file is not None:
        return _find_file(catalogue, file)
    return Meant({IMAGE: resolve_image, TAG: resolve_tag, SHA512: resolve_sha512}[kind](catalogue, name))


def _find_file(catalogue: Catalogue, file: Candidate) -> Meant:
    for look in (_cached, _derived, _installed):
        meant = look(catalogue, file)
        if meant is not None:
            return meant
    digest = file.sha512()
    if digest is None:
        raise unknown_file(file)
    return Meant(_holding(catalogue, file, digest), _facts(file, None))


def _cached(catalogue: Catalogue, file: Candidate) -> Meant | None:
    """The image whose file this is, or in whose place it lies."""
    rows = catalogue.rows(
        "SELECT * FROM files WHERE state IN ('current', 'expired') AND (inode = ? OR name = ?) ORDER BY state",
        file.record["inode"],
        file.path.name,
    )
    places = {"current": catalogue.state.current, "expired": catalogue.state.expired}
    record = next((row for row in rows if file.lies_at(places[row["state"]], row["name"])), None)
    if record is None:
        return None
    rows = [row for row in resolve_image(catalogue, record["image_id"]) if row["sha512"] == record["sha512"]]
    return Meant(rows, _facts(file, record) if record["state"] == "current" else None)


def _derived(catalogue: Catalogue, file: Candidate) -> Meant | None:
    """The image of which this file was made."""
    rows = catalogue.rows("SELECT * FROM derived WHERE inode = ? OR name = ?", file.record["inode"], file.path.name)
    record = next((row for row in rows if file.lies_at(catalogue.state.derived, row["name"])), None)
    return None if record is None else Meant(resolve_sha512(catalogue, record["source_sha512"]), _facts(file, record))


def _installed(catalogue: Catalogue, file: Candidate) -> Meant | None:
    """The image that was installed at this place outside of the cache, on this host."""
    record = catalogue.row(
        "SELECT * FROM installed WHERE host = ? AND path IN (?, ?)",
        os.uname().nodename,
        str(file.path),
        str(Path(file.asked).absolute()),
    )
    if record is None:
        return None
    digests = {record["sha512"], *_sources(catalogue, record["sha512"])}
    rows = [row for row in resolve_image(catalogue, record["image_id"]) if row["sha512"] in digests]
    return Meant(rows, _facts(file, record)) if rows else None


def _facts(file: Candidate, record: sqlite3.Row | None) -> FileFacts:
    """The file, judged by its record, or by its octets where there is none or it no longer fits.

    A further hard link changes the ctime of a file: whoever reads the octets need not believe the record.
    """
    unchanged = record is None or file.is_recorded(record) or file.sha512() == record["sha512"]
    return FileFacts(str(file.path), unchanged, dict(file.record))


def _sources(catalogue: Catalogue, digest: str) -> list[str]:
    """Of which octets a file with this digest was made."""
    rows = catalogue.rows("SELECT source_sha512 FROM derived WHERE sha512 = ?", digest)
    return [row["source_sha512"] for row in rows]


def _holding(catalogue: Catalogue, file: Candidate, digest: str) -> t.Sequence[sqlite3.Row]:
    for octets in (digest, *_sources(catalogue, digest)):
        with contextlib.suppress(SiteError):
            return resolve_sha512(catalogue, octets)
    raise no_image(file, digest)


def unknown_file(file: Candidate) -> SiteError:
    """The refusal for a file whose octets were not read."""
    return SiteError("file_unknown", f"{file.path} is no file of the cache.", path=str(file.path))


def no_image(file: Candidate, digest: str) -> SiteError:
    """The refusal for a file whose octets nobody has endorsed."""
    return SiteError(
        "unknown_image",
        f"No subscribed list holds an image with the octets of {file.path} (SHA-512 {digest[:16]}...).",
        path=str(file.path),
        sha512=digest,
    )
