# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch a signed message into memory, or an image into a file, and believe nothing that was not counted and hashed."""

from __future__ import annotations

import contextlib
import os
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..errors import TransferError
from .atomic import StrPath
from .checksum import BUFFER_SIZE, NO_CHECKSUMS, Progress
from .intake.attempts import Attempts, wait
from .intake.partial import PartialFile
from .intake.receiver import Receiver
from .policy import Policy, shown
from .session import Session
from .sources import Reader, Source, Validators, opened, require_promised
from .watchdog import Watchdog

__all__ = ["Fetched", "FetchedFile", "Validators", "fetch_file", "fetch_message"]


@dataclass(frozen=True)
class Fetched:
    """A fetched message. `octets` is empty if `status` is ``unchanged``; `uri` is the address that answered, as shown.

    `validators` are those to give to the next fetch.
    """

    status: str
    octets: bytes
    validators: Validators
    uri: str


@dataclass(frozen=True)
class FetchedFile:
    """A fetched file, whole and verified, still under the name it was fetched to.

    `inode` and `mtime_ns` let the caller see that the file it renames is this one. `octets_received` counts what came
    over the wire for it, in all attempts; the first `resumed_from` octets were there before. `source` is the address
    that the last of them were asked for at, as shown.
    """

    path: Path
    size: int
    sha512: str
    seconds: float
    octets_received: int
    resumed_from: int
    source: str
    inode: int
    mtime_ns: int


def fetch_message(
    uri: str,
    *,
    cap: int,
    policy: Policy,
    validators: t.Optional[Validators] = None,
    session: t.Optional[Session] = None,
) -> Fetched:
    """Fetch at most `cap` octets into memory, or learn that nothing changed since `validators`.

    `session`, of the same policy, is used for many fetches in a row; without it a connection is made and closed.
    A compressed answer is refused: what was signed is fetched as it is. Raises `TransferError`: ``too_large timeout
    unreachable tls_failed http_status not_found redirect_refused address_refused uri_unsupported encoding_refused``
    and, for files, ``not_readable``.
    """
    asked = validators or Validators()
    with contextlib.ExitStack() as stack:
        used = stack.enter_context(_session(session, policy))
        watchdog = stack.enter_context(Watchdog(policy.message_timeout, what=_what(uri)))
        source = stack.enter_context(opened(uri, used, watchdog, asked))
        if source.unchanged:
            return Fetched(status="unchanged", octets=b"", validators=source.validators, uri=source.uri)
        if source.encoding:
            raise TransferError("encoding_refused", f"The server sends {source.uri} encoded ({source.encoding!a})")
        octets = _read_message(source, cap, policy, watchdog)
        return Fetched(status="ok", octets=octets, validators=source.validators, uri=source.uri)


def fetch_file(
    uri: str,
    directory: StrPath,
    name: str,
    *,
    size: int,
    sha512: str,
    checksums: t.Mapping[str, str] = NO_CHECKSUMS,
    policy: Policy,
    mirrors: t.Sequence[str] = (),
    progress: t.Optional[Progress] = None,
    session: t.Optional[Session] = None,
) -> FetchedFile:
    """Fetch `uri` to the file `name` in `directory`, counting and hashing on the way; return it only if it is the one.

    `directory` holds unfinished files only and lies on the file system of the final place: the caller renames the
    result, under a lock of its own. The name is taken exclusively. What a killed or a failed transfer left there is
    gone on with, where it can lead to these octets; so does this one leave its part. `mirrors` are asked before `uri`,
    in their order, and all of them again while errors may pass (see `Attempts`); whoever sends it, the digest decides.
    `size` is a hard cap: the octet after it ends the transfer. `progress` is called with (octets done, size), at least
    once a second while octets come; what it raises ends the transfer. Content-Encoding is ignored, the octets are
    taken as they are sent: only the digest decides. Of the other stated `checksums` (name -> hexadecimal) those that
    `checksum.ALGORITHMS` knows have to match as well, the others are passed over. Raises `TransferError`:
    ``size_mismatch checksum_mismatch disk_full not_writable not_found transfer_busy`` and those of `fetch_message`.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        partial = stack.enter_context(PartialFile(directory, name, size=size, sha512=sha512))
        used = stack.enter_context(_session(session, policy))
        stated = {**checksums, "sha512": sha512}
        receiver = Receiver(partial, size=size, checksums=stated, session=used, progress=progress)
        attempts = Attempts([*mirrors, uri], policy, started=started)
        status = _attempted(receiver, attempts, started, lambda: progress(receiver.length, size) if progress else None)
        return FetchedFile(
            path=partial.path,
            size=size,
            sha512=receiver.sha512,
            seconds=time.monotonic() - started,
            octets_received=receiver.received,
            resumed_from=receiver.resumed_from,
            source=shown(attempts.address),
            inode=status.st_ino,
            mtime_ns=status.st_mtime_ns,
        )


def _attempted(
    receiver: Receiver, attempts: Attempts, started: float, heartbeat: t.Callable[[], None]
) -> os.stat_result:
    """Try until the file is there, or nothing is left to try."""
    while True:
        before = receiver.furthest
        try:
            return receiver.attempt(attempts.address, started=started)
        except TransferError as error:
            pause = attempts.failed(error, progressed=receiver.furthest > before)
        wait(pause, heartbeat)


def _read_message(source: Source, cap: int, policy: Policy, watchdog: Watchdog) -> bytes:
    if source.length is not None and source.length > cap:
        raise TransferError("too_large", f"{source.uri} has {source.length} octets, and {cap} is the most")
    watchdog.body(policy.message_timeout, minimum_rate=policy.minimum_rate, window=policy.rate_window)
    octets = bytearray()
    buffer = memoryview(bytearray(min(BUFFER_SIZE, cap + 1)))
    reader = Reader(source, watchdog)
    while len(octets) <= cap:
        count = reader.fill(buffer[: cap + 1 - len(octets)])
        if count == 0:
            break
        octets += buffer[:count]
    if len(octets) > cap:
        raise TransferError("too_large", f"{source.uri} does not end after {cap} octets, which is the most")
    watchdog.check()
    require_promised(source, len(octets), cap)
    return bytes(octets)


@contextlib.contextmanager
def _session(given: t.Optional[Session], policy: Policy) -> t.Iterator[Session]:
    if given is None:
        with Session(policy) as fresh:
            yield fresh
    elif given.policy != policy:
        raise TransferError("internal_error", "The session was opened under another policy")
    else:
        yield given


def _what(uri: str) -> str:
    return f"The transfer of {shown(uri)}"
