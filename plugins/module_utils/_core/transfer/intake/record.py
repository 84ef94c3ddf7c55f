# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of an unfinished file, in a small file beside it, so that another process can go on with it.

Nothing in it is believed beyond saving work: the digest of the whole decides in the end. The address is kept as a
digest only, for it may hold a secret.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import typing as t
from dataclasses import asdict, dataclass
from pathlib import Path

from ..atomic import write_atomic

if t.TYPE_CHECKING:
    from ..sources import Validators

#: The end of the record's name, after that of the unfinished file.
SUFFIX: t.Final = ".resume"

_MAX_OCTETS: t.Final = 16384
_BOOT_ID: t.Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Record:
    """`size` and `sha512` of the whole file; `source` and `validators` of what is there of it.

    The first `length` octets are durable and have the digest `digest`. Under the same `boot` the file's own length
    counts: what a killed process has written is in the kernel's hands.
    """

    size: int
    sha512: str
    source: str
    validators: Validators
    length: int
    digest: str
    boot: str


def source_of(uri: str) -> str:
    """The digest by which a record knows an address."""
    return hashlib.sha256(uri.encode()).hexdigest()


def boot_id() -> str:
    """What identifies this run of this machine; empty where it cannot be told."""
    with contextlib.suppress(OSError):
        return _BOOT_ID.read_text(encoding="ascii").strip()
    return ""


def path_of(path: Path) -> Path:
    """Where the record of the unfinished file `path` lies."""
    return path.with_name(path.name + SUFFIX)


def name_of(name: str) -> str:
    """The name of the unfinished file to which a file of this name belongs: its record, or itself."""
    return name[: -len(SUFFIX)] if name.endswith(SUFFIX) else name


def write(path: Path, record: Record, *, durable: bool) -> None:
    """Replace the record of the unfinished file `path`. Raises `TransferError`."""
    document = json.dumps({"format": 1, **asdict(record)}, sort_keys=True).encode()
    write_atomic(path_of(path), document, mode=0o600, durable=durable)


def read(path: Path) -> t.Optional[Record]:
    """The record of the unfinished file `path`; None where there is none that can be used."""
    try:
        with path_of(path).open("rb") as stream:
            document = json.loads(stream.read(_MAX_OCTETS))
        if document.pop("format") != 1:
            return None
        from ..sources import Validators

        record = Record(**{**document, "validators": Validators(**document["validators"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return record if _is_sound(record) else None


def _is_sound(record: Record) -> bool:
    texts = (record.sha512, record.source, record.digest, record.boot)
    numbers = (record.size, record.length)
    said = [text for text in (record.validators.etag, record.validators.last_modified) if text is not None]
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) and not isinstance(number, bool) for number in numbers)
        and 0 <= record.length <= record.size
        and all(isinstance(text, str) and text.isascii() and text.isprintable() for text in said)
    )


def remove(path: Path) -> None:
    """Remove the record of `path`, if there is one; an unfinished file without it is begun anew."""
    with contextlib.suppress(OSError):
        path_of(path).unlink()
