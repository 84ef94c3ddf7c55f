# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endorser's record: every published message of a list, verbatim, and in which state it is.

``<history_dir>/<list uuid>/``
    ``messages/<sequence>-<version>.smime``  the messages
    ``record.json``                          what is known of each: see `Entry`
    ``files.json``                           digests of image files (`files.FileBook`), derived
    ``places.json``                          what was put where (`places.Places`), derived
    ``packed/``                              images that were compressed on their way (`packing.Packing`)
    ``evidence/<sha512>.json``               audit reports and package manifests (`evidence`)
    ``lock``                                 held by the one writer

A message is recorded as *pending* before its upload begins and as *published* when it is complete: after a crash in
between, the next run sees that this version may be known to the sites, and finishes it or goes beyond it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import typing as t
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import PublishError, TransferError
from ..transfer import lock
from ..transfer.atomic import fsync_directory, storage_errors, sweep, write_atomic
from ..transfer.checksum import digest_file

PENDING: t.Final = "pending"
PUBLISHED: t.Final = "published"
SUPERSEDED: t.Final = "superseded"
_STATES: t.Final = frozenset({PENDING, PUBLISHED, SUPERSEDED})
_FORMAT: t.Final = 1


@dataclass(frozen=True)
class Entry:
    """One message. Times are texts (UTC); `sources` maps image identifiers to the local files they are read from.

    `superseded` messages were pending when another one took their place: their version is used up all the same.
    `removed` are the images that this version no longer holds, with the reason why.
    """

    sequence: int
    version: str
    state: str
    file: str
    sha256: str
    sha512_of_content: str
    created: str
    expires: str
    signer_dn: str
    signer_ca: str
    signer_not_after: str
    recorded: str
    sources: t.Mapping[str, str] = field(default_factory=dict)
    removed: t.Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class KnownImage:
    """The latest published state of an image, kept when it has left the list: its versions never start anew."""

    version: str
    sha512: str
    format: str


@dataclass(frozen=True)
class Record:
    """All messages in order, and the latest state of every image that ever was in the list.

    `evidence`: SHA-512 of an image -> kind -> SHA-512 of the file that is kept about it.
    """

    entries: tuple[Entry, ...] = ()
    images: t.Mapping[str, KnownImage] = field(default_factory=dict)
    evidence: t.Mapping[str, t.Mapping[str, str]] = field(default_factory=dict)

    @property
    def current(self) -> t.Optional[Entry]:
        """The latest message, pending or published."""
        alive = [entry for entry in self.entries if entry.state != SUPERSEDED]
        return alive[-1] if alive else None

    @property
    def next_sequence(self) -> int:
        """The number of the next message."""
        return 1 + max((entry.sequence for entry in self.entries), default=0)

    def with_entry(self, entry: Entry, images: t.Mapping[str, KnownImage]) -> Record:
        """The record with a further message; one that was pending until now is superseded by it."""
        older = tuple(
            dataclasses.replace(known, state=SUPERSEDED) if known.state == PENDING else known for known in self.entries
        )
        return dataclasses.replace(self, entries=(*older, entry), images={**self.images, **images})

    def with_evidence(self, image_sha512: str, kind: str, sha512: str) -> Record:
        """The record with a further file about the image of these octets."""
        kept = {**self.evidence.get(image_sha512, {}), kind: sha512}
        return dataclasses.replace(self, evidence={**self.evidence, image_sha512: kept})

    def with_published(self, sequence: int) -> Record:
        """The record when the upload of this message is complete."""
        entries = tuple(
            dataclasses.replace(entry, state=PUBLISHED) if entry.sequence == sequence else entry
            for entry in self.entries
        )
        return dataclasses.replace(self, entries=entries)


class History:
    """The record of one list in `directory` (which need not exist before something is written)."""

    def __init__(self, history_dir: Path, identifier: str) -> None:
        self.directory = history_dir / identifier
        self.files = self.directory / "files.json"
        self.places = self.directory / "places.json"
        self.packed = self.directory / "packed"
        self._record = self.directory / "record.json"

    @contextlib.contextmanager
    def locked(self) -> t.Iterator[None]:
        """Make the directories and hold their lock. Raises TransferError; PublishError ``state_busy``."""
        messages = self.directory / "messages"
        with storage_errors(self.directory):
            messages.mkdir(parents=True, exist_ok=True, mode=0o700)

        def busy() -> PublishError:
            return PublishError("state_busy", f"Another publication uses {self.directory}.")

        with lock.locked(self.directory / "lock", patience=0.0, busy=busy):
            for place in (self.directory, messages, self.packed, self.directory / "evidence"):
                sweep(place)
            yield

    def read(self) -> Record:
        """The record, empty when there is none. Raises PublishError ``history_unreadable``."""
        try:
            octets = self._record.read_bytes()
        except FileNotFoundError:
            return Record()
        except OSError as exc:
            raise self._unreadable(f"{self._record} cannot be read ({exc.strerror})") from exc
        try:
            return _record(json.loads(octets))
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise self._unreadable(f"{self._record} is damaged") from exc

    def write(self, record: Record) -> None:
        """Replace the record; an empty one has no file. Raises TransferError."""
        if record == Record():
            with storage_errors(self._record):
                self._record.unlink(missing_ok=True)
            return
        write_atomic(self._record, json.dumps(_plain(record), indent=1, sort_keys=True).encode(), 0o600)

    def path(self, sequence: int, version: str) -> Path:
        """Where the message of this number and version is kept."""
        return self.directory / "messages" / f"{sequence:06d}-{version}.smime"

    def write_message(self, path: Path, message: bytes) -> None:
        """Keep a message, before it is recorded. Raises TransferError."""
        write_atomic(path, message, 0o600)
        fsync_directory(self.directory)
        fsync_directory(self.directory.parent)

    def write_evidence(self, sha512: str, octets: bytes) -> None:
        """Keep a file about an image, before it is recorded. Raises TransferError."""
        path = self.evidence_path(sha512)
        with storage_errors(path.parent):
            path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(path, octets, 0o600)
        fsync_directory(self.directory)

    def evidence_path(self, sha512: str) -> Path:
        """Where a file about an image is kept, by its own digest."""
        return self.directory / "evidence" / f"{sha512}.json"

    def kept_evidence(self, record: Record) -> dict[str, dict[str, str]]:
        """The evidence of the record whose files are still there."""
        return {
            image: {kind: sha512 for kind, sha512 in kinds.items() if self.evidence_path(sha512).is_file()}
            for image, kinds in record.evidence.items()
        }

    def check_evidence(self, sha512: str) -> None:
        """Raises PublishError ``history_unreadable`` where a file about an image is not the one that was kept."""
        path = self.evidence_path(sha512)
        try:
            intact = digest_file(path).sha512 == sha512
        except TransferError as refusal:
            raise self._unreadable(refusal.detail.rstrip(".")) from refusal
        if not intact:
            raise self._unreadable(f"{path} is not the file that was recorded")

    def message(self, entry: Entry) -> bytes:
        """The octets of a recorded message. Raises PublishError ``history_unreadable``."""
        path = self.directory / "messages" / entry.file
        try:
            octets = path.read_bytes()
        except OSError as exc:
            raise self._unreadable(f"{path} cannot be read ({exc.strerror})") from exc
        if hashlib.sha256(octets).hexdigest() != entry.sha256:
            raise self._unreadable(f"{path} is not the message that was recorded")
        return octets

    def _unreadable(self, what: str) -> PublishError:
        return PublishError("history_unreadable", f"The history is not usable: {what}.", path=str(self.directory))


def _plain(record: Record) -> dict[str, t.Any]:
    return {"format": _FORMAT, **dataclasses.asdict(record)}


def _record(stored: t.Mapping[str, t.Any]) -> Record:
    if stored["format"] != _FORMAT:
        raise ValueError("written by another version")
    entries = tuple(Entry(**entry) for entry in stored["entries"])
    if any(entry.state not in _STATES or Path(entry.file).name != entry.file for entry in entries):
        raise ValueError("unknown state or file")
    images = {name: KnownImage(**image) for name, image in stored["images"].items()}
    return Record(entries, images, dict(stored.get("evidence", {})))
