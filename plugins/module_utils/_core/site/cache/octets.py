# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The octets of one image, read or downloaded, and found to be the endorsed ones; in threads, without catalogue."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
import typing as t
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path

from ...errors import TransferError
from ...transfer.checksum import digest_file
from ..judgement.records import stat_record

if t.TYPE_CHECKING:
    import sqlite3

    from ...transfer.session import Session
    from .scrub import Pace
    from .watch import Progress


@dataclass(frozen=True)
class Verified:
    """A file whose octets were all found to be the endorsed ones, with its stat record of that moment.

    `octets` came over the network, in `seconds`, the last of them asked for at `source`; the first `resumed_from`
    octets of the file were there already.
    """

    path: Path
    stat: t.Mapping[str, int]
    octets: int
    seconds: float
    resumed_from: int = 0
    source: str | None = None

    def as_dict(self) -> dict[str, t.Any]:
        """For the list of actions in results."""
        return {
            "octets": self.octets,
            "seconds": round(self.seconds, 3),
            "resumed_from": self.resumed_from,
            "source": self.source,
        }


def read(
    path: Path,
    row: sqlite3.Row,
    *,
    pace: Pace | None = None,
    name: str = "",
    progress: Progress | None = None,
    stopped: threading.Event | None = None,
) -> Verified:
    """Read the file that is there for the image of an index row, at the `pace` given.

    TransferError ``checksum_mismatch`` when it is not the endorsed one, or no file. Ends with CancelledError soon after
    `stopped` is set.
    """
    started = time.monotonic()
    before = stat_record(path)
    if before is not None and not stat.S_ISREG(os.lstat(path).st_mode):
        raise TransferError("checksum_mismatch", f"{path} is no regular file.", path=str(path))
    report = _reporter(name, progress, stopped, pace)
    digest = digest_file(path, checksums=_checksums(row), follow=False, progress=report, uncached=True)
    endorsed = (row["size"], row["sha512"])
    if before is None or stat_record(path) != before or (digest.size, digest.sha512) != endorsed:
        raise TransferError("checksum_mismatch", f"{path} does not hold the endorsed octets.", path=str(path))
    return Verified(path, before, 0, time.monotonic() - started)


def download(
    row: sqlite3.Row,
    directory: Path,
    name: str,
    session: Session,
    mirrors: t.Sequence[str],
    progress: Progress | None,
    stopped: threading.Event,
) -> Verified:
    """Fetch the image of an index row to ``directory/name``, from the `mirrors` first; TransferError as `fetch_file`.

    Ends with CancelledError soon after `stopped` is set, so that nobody waits for gigabytes after an interruption.
    """
    from ...transfer.fetch import fetch_file

    fetched = fetch_file(
        row["uri"],
        directory,
        name,
        size=row["size"],
        sha512=row["sha512"],
        checksums=_checksums(row),
        policy=session.policy,
        mirrors=mirrors,
        progress=_reporter(name, progress, stopped),
        session=session,
    )
    found = stat_record(fetched.path)
    if found is None or (found["inode"], found["mtime_ns"]) != (fetched.inode, fetched.mtime_ns):
        raise TransferError(
            "checksum_mismatch", f"{fetched.path} was changed by somebody else.", path=str(fetched.path)
        )
    return Verified(fetched.path, found, fetched.octets_received, fetched.seconds, fetched.resumed_from, fetched.source)


def _reporter(
    name: str, progress: Progress | None, stopped: threading.Event | None, pace: Pace | None = None
) -> t.Callable[[int, int], None]:
    before = 0

    def report(done: int, total: int) -> None:
        nonlocal before
        if stopped is not None and stopped.is_set():
            raise CancelledError
        if pace is not None:
            pace.took(done - before)
            before = done
        if progress is not None:
            progress(name, done, total)

    return report


def _checksums(row: sqlite3.Row) -> dict[str, str]:
    """The checksums that the endorser states, sha512 among them: name -> hexadecimal."""
    metadata = json.loads(row["metadata"])
    # As in the reader, an empty text states nothing.
    from ...imagelist.model import CHECKSUM

    return {key[len(CHECKSUM) :]: text for key, text in metadata.items() if key.startswith(CHECKSUM) and text}
