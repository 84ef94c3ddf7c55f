# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One file, received in as many attempts as it takes; each goes on where the last one ended."""

from __future__ import annotations

import os
import time
import typing as t

from ...errors import TransferError
from ..atomic import storage_errors
from ..checksum import BUFFER_SIZE, Hashes, Progress
from ..policy import shown
from ..session import Session
from ..sources import Reader, Rest, Source, Validators, opened, require_promised
from ..watchdog import Watchdog
from .partial import PartialFile
from .pipeline import Pipeline
from .record import source_of

#: Seconds between two moments at which what is there is made durable, for the case that the machine goes down.
CHECKPOINT: t.Final = 30.0


class Receiver:
    """Receives a file of `size` octets with the stated `checksums` into `partial`.

    `received` octets came over the network so far; the first `resumed_from` octets were there before. `furthest` is
    the most that there ever was of the file.
    """

    def __init__(
        self,
        partial: PartialFile,
        *,
        size: int,
        checksums: t.Mapping[str, str],
        session: Session,
        progress: t.Optional[Progress],
    ) -> None:
        self.received = 0
        self.resumed_from = self.furthest = partial.length
        self._partial = partial
        self._size = size
        self._checksums = checksums
        self._session = session
        self._progress = progress
        # How many answers the octets are of; those of an earlier transfer may be of any number.
        self._answers = 2 if partial.length else 0
        self._restarted = False
        self._begin_hashing()

    @property
    def sha512(self) -> str:
        """Of the whole file, after an attempt has succeeded."""
        return self._hashes.sha512

    @property
    def length(self) -> int:
        """How many octets of the file are there."""
        return self._partial.length

    def attempt(self, uri: str, *, started: float) -> os.stat_result:
        """Receive what is missing from `uri`, and return the state of the whole, verified and durable file.

        The time for the whole transfer counts from `started`, of the monotonic clock. Raises `TransferError`; what is
        there then is kept, unless it is known that nothing can come of it.
        """
        while True:
            self._hash_what_is_there()
            if self._partial.length < self._size:
                self._receive(uri, started)
            try:
                self._hashes.compare(shown(uri), uri=shown(uri))
            except TransferError:
                answers = self._answers
                self._discard()
                if answers < 2 or self._restarted:
                    raise
                # The octets are of several answers, which may have been of several versions: once more, from one.
                self._restarted = True
                continue
            return self._partial.finish()

    def _receive(self, uri: str, started: float) -> None:
        policy = self._session.policy
        left = started + policy.total_timeout - time.monotonic()
        what = f"The transfer of {shown(uri)}"
        with Watchdog(max(0.0, min(policy.message_timeout, left)), what=what) as watchdog:
            try:
                with opened(uri, self._session, watchdog, rest=self._rest(uri), size=self._size) as source:
                    self._take(source, uri, watchdog, started)
            finally:
                self.received += watchdog.received
                self.furthest = max(self.furthest, self._partial.length)

    def _rest(self, uri: str) -> Rest:
        """What to ask for: with the validators only of the server that gave them."""
        partial = self._partial
        same = partial.source == source_of(uri)
        return Rest(partial.length, partial.validators if same else Validators())

    def _take(self, source: Source, uri: str, watchdog: Watchdog, started: float) -> None:
        if source.length is not None and source.offset + source.length != self._size:
            raise self._mismatch(source, f"has {source.offset + source.length} octets")
        if source.offset != self._partial.length:
            self._discard()
        self._partial.reserve()
        self._partial.begin(source_of(uri), source.validators)
        self._answers += 1
        policy = self._session.policy
        watchdog.body(
            policy.total_timeout, started=started, minimum_rate=policy.minimum_rate, window=policy.rate_window
        )
        missing = self._size - self._partial.length
        received = self._pump(source, missing, watchdog)
        if received > missing:
            self._discard()
            raise self._mismatch(source, "does not end after that")
        if received < missing:
            total = self._partial.length
            self._discard()
            raise self._mismatch(source, f"ended after {total} octets")

    def _pump(self, source: Source, limit: int, watchdog: Watchdog) -> int:
        """Move the octets of `source` to the hashes and to the file; return how many came, at most `limit` + 1.

        One octet more than `limit` means that there are too many: the rest is not read.
        """
        base, done = self._partial.length, 0
        checkpoint = time.monotonic() + CHECKPOINT
        reader = Reader(source, watchdog)
        with Pipeline((self._hash, self._partial.write), name="vmimages-transfer") as pipeline:
            while done <= limit:
                watchdog.local = True
                buffer = pipeline.buffer()
                watchdog.local = False
                # Whole buffers stand at multiples of their size, whatever came before.
                room = min(BUFFER_SIZE - (base + done) % BUFFER_SIZE, limit + 1 - done)
                count = reader.fill(buffer[:room])
                if count == 0:
                    break
                done += count
                watchdog.local = True
                pipeline.submit(count - max(0, done - limit))
                self._report(base + min(done, limit))
                if time.monotonic() >= checkpoint:
                    pipeline.drain()
                    self._partial.checkpoint(self._hashes.sha512)
                    checkpoint = time.monotonic() + CHECKPOINT
            watchdog.local = True
            pipeline.drain()
        watchdog.check()
        require_promised(source, done, limit)
        return done

    def _hash(self, view: memoryview) -> None:
        self._hashes.update(view)
        self._hashed += len(view)

    def _hash_what_is_there(self) -> None:
        """Take the state of the hashes to the end of what is there; throw it away, if it is not what it was."""
        if self._hashed == self._partial.length:
            return
        self._begin_hashing()
        length, digest = self._partial.proof or (0, "")
        self._hash_up_to(length)
        if length and self._hashes.sha512 != digest:
            self._discard()
            return
        self._hash_up_to(self._partial.length)

    def _hash_up_to(self, end: int) -> None:
        buffer = memoryview(bytearray(BUFFER_SIZE))
        while self._hashed < end:
            with storage_errors(self._partial.path, reading=True):
                count = os.preadv(self._partial.fd, [buffer[: end - self._hashed]], self._hashed)
            if count == 0:
                raise TransferError("not_readable", f"{self._partial.path} changed while it was read")
            self._hash(buffer[:count])
            self._report(self._hashed)

    def _begin_hashing(self) -> None:
        self._hashes = Hashes(self._checksums)
        self._hashed = 0

    def _discard(self) -> None:
        self._partial.restart()
        self._begin_hashing()
        self._answers = self.resumed_from = 0

    def _report(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._size)

    def _mismatch(self, source: Source, found: str) -> TransferError:
        return TransferError(
            "size_mismatch",
            f"{source.uri} {found}, and {self._size} octets are expected",
            uri=source.uri,
            expected=self._size,
        )
