# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch a signed message into memory, or an image into a file, and believe nothing that was not counted and hashed."""

from __future__ import annotations

import contextlib
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ..errors import TransferError
from .atomic import StrPath
from .checksum import BUFFER_SIZE, NO_CHECKSUMS, Hashes, Progress
from .partial import PartialFile
from .policy import Policy, shown
from .session import Session
from .sources import Source, Validators, opened, pump
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
    over the wire for it.
    """

    path: Path
    size: int
    sha512: str
    seconds: float
    octets_received: int
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
    progress: t.Optional[Progress] = None,
    session: t.Optional[Session] = None,
) -> FetchedFile:
    """Fetch `uri` to the file `name` in `directory`, counting and hashing on the way; return it only if it is the one.

    `directory` holds unfinished files only and lies on the file system of the final place: the caller
    renames the result, under a lock of its own. The name is taken exclusively; what a killed process left there is
    replaced. On any error nothing stays under the name. `size` is a hard cap: the octet after it ends the
    transfer. `progress` is called with (octets done, size), at least once a second while octets come; what it raises
    ends the transfer. Content-Encoding is ignored, the octets are taken as they are sent: only the digest
    decides. Of the other stated `checksums` (name -> hexadecimal) those that `checksum.ALGORITHMS` knows have to match
    as well, the others are passed over. Raises `TransferError`: ``size_mismatch checksum_mismatch disk_full
    not_writable not_found transfer_busy`` and those of `fetch_message`.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        partial = stack.enter_context(PartialFile(directory, name))
        used = stack.enter_context(_session(session, policy))
        watchdog = stack.enter_context(Watchdog(policy.message_timeout, what=_what(uri)))
        source = stack.enter_context(opened(uri, used, watchdog))
        if source.length is not None and source.length != size:
            raise _size_mismatch(source, f"has {source.length} octets", size)
        partial.reserve(size)
        watchdog.body(policy.total_timeout, minimum_rate=policy.minimum_rate, window=policy.rate_window)
        hashes = Hashes({**checksums, "sha512": sha512})
        _receive(source, partial, size, hashes, watchdog, progress)
        hashes.compare(source.uri, uri=source.uri)
        watchdog.local = True
        status = partial.finish()
        return FetchedFile(
            path=partial.path,
            size=size,
            sha512=hashes.sha512,
            seconds=time.monotonic() - started,
            octets_received=watchdog.received,
            inode=status.st_ino,
            mtime_ns=status.st_mtime_ns,
        )


def _receive(
    source: Source,
    partial: PartialFile,
    size: int,
    hashes: Hashes,
    watchdog: Watchdog,
    progress: t.Optional[Progress],
) -> None:
    """Write the octets of `source` to `partial` and hash them, if there are exactly `size` of them."""
    done = 0

    def sink(view: memoryview) -> None:
        nonlocal done
        hashes.update(view)
        partial.write(view)
        done += len(view)
        if progress is not None:
            progress(done, size)

    buffer = memoryview(bytearray(BUFFER_SIZE))
    received = pump(source, sink, limit=size, buffer=buffer, watchdog=watchdog)
    if received > size:
        raise _size_mismatch(source, "does not end after that", size)
    if received < size:
        raise _size_mismatch(source, f"ended after {received} octets", size)


def _read_message(source: Source, cap: int, policy: Policy, watchdog: Watchdog) -> bytes:
    if source.length is not None and source.length > cap:
        raise TransferError("too_large", f"{source.uri} has {source.length} octets, and {cap} is the most")
    watchdog.body(policy.message_timeout, minimum_rate=policy.minimum_rate, window=policy.rate_window)
    octets = bytearray()
    buffer = memoryview(bytearray(min(BUFFER_SIZE, cap + 1)))
    if pump(source, octets.extend, limit=cap, buffer=buffer, watchdog=watchdog) > cap:
        raise TransferError("too_large", f"{source.uri} does not end after {cap} octets, which is the most")
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


def _size_mismatch(source: Source, found: str, size: int) -> TransferError:
    return TransferError(
        "size_mismatch", f"{source.uri} {found}, and {size} octets are expected", uri=source.uri, expected=size
    )
