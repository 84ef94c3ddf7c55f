# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every way of publishing a file must offer, and promise."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ...errors import TransferError
from ..atomic import storage_errors
from ..checksum import BUFFER_SIZE, Digest

#: A local file by its path, or octets in memory.
Payload = t.Union[str, os.PathLike[str], bytes]


@dataclass(frozen=True)
class Stored:
    """What the far end has under a target: `size` in octets; `tag` changes with the content, where there is one."""

    size: int
    tag: str = ""


@dataclass(frozen=True)
class Settings:
    """How a far end is reached; what is secret by the path of its file, never by its value.

    ssh: `ssh_key`, `ssh_known_hosts`, `ssh_config`, beside the user's own agent and configuration. https:
    `client_certificate` and `client_key` (PEM; a grid proxy is both in one), or `token_file`, or `credentials_file`
    (one line ``user:password``); `ca_path` as in a subscription. s3: `endpoint`, `region`, `profile`, and
    `credentials_file` in the format of the AWS tools. `verify`: compare what is there after the upload by its ``size``,
    or read it back for its ``sha512``.
    """

    ssh_key: t.Optional[str] = None
    ssh_known_hosts: t.Optional[str] = None
    ssh_config: t.Optional[str] = None
    client_certificate: t.Optional[str] = None
    client_key: t.Optional[str] = None
    token_file: t.Optional[str] = None
    credentials_file: t.Optional[str] = None
    ca_path: t.Optional[str] = None
    endpoint: t.Optional[str] = None
    region: t.Optional[str] = None
    profile: t.Optional[str] = None
    verify: str = "size"


class Uploader(t.Protocol):
    """A back-end. A target is where the file is to appear, in the back-end's own terms (for ``local``: a path)."""

    @property
    def readable(self) -> bool:
        """Whether what was put can be read back."""

    @property
    def takes_images(self) -> bool:
        """Whether it is more than a place for lists."""

    def put(self, payload: Payload, target: str, *, size: int, sha512: str) -> None:
        """Make `target` exactly the payload, in one step: a reader gets the old file or the new one, never a part.

        Unless the octets sent are `size` and `sha512`, nothing is published. Raises `TransferError` (``upload_failed
        not_found not_readable not_writable disk_full``, and what says that the far end cannot be reached).
        """

    def stat(self, target: str) -> t.Optional[Stored]:
        """Return what is there under `target`, or None."""

    def read(self, target: str, limit: int) -> t.Optional[bytes]:
        """Return what is there under `target`, at most `limit` octets of it, or None."""

    def digest(self, target: str) -> Digest:
        """Read what is there under `target` back whole, and return its digest."""

    def sweep(self, target: str) -> None:
        """Remove what a killed writer of `target` has left and no later one can use."""


class Announced:
    """The payload as a stream that is hashed while it is read, and refuses to end as something else than announced.

    `length` octets in all; the last octet is given only when all of them have the announced digest. Raises
    `TransferError` ``upload_failed`` or ``not_readable`` out of `read`.
    """

    def __init__(self, source: t.BinaryIO, shown: str, *, size: int, sha512: str) -> None:
        self._source = source
        self._shown = shown
        self._state = hashlib.sha512()
        self._sha512 = sha512.lower()
        self._size = size
        self._done = 0

    def __len__(self) -> int:
        return self._size

    def read(self, amount: int = -1) -> bytes:
        """Return up to `amount` octets, empty at the end."""
        left = self._size - self._done
        if left == 0:
            return b""
        octets = self._take(min(left, BUFFER_SIZE if amount < 0 else amount))
        if self._done == self._size and (self._source.read(1) or self._state.hexdigest() != self._sha512):
            self._refuse()
        return octets

    def again(self) -> Announced:
        """The same payload from its beginning."""
        self._source.seek(0)
        return Announced(self._source, self._shown, size=self._size, sha512=self._sha512)

    def _take(self, amount: int) -> bytes:
        with storage_errors(self._shown, reading=True):
            octets = self._source.read(amount)
        if not octets:
            self._refuse()
        self._state.update(octets)
        self._done += len(octets)
        return octets

    def _refuse(self) -> t.NoReturn:
        raise TransferError("upload_failed", f"{self._shown} is not what was announced: it changed meanwhile")


@contextlib.contextmanager
def opened(payload: Payload) -> t.Iterator[t.BinaryIO]:
    """The payload as a binary stream."""
    if isinstance(payload, bytes):
        yield io.BytesIO(payload)
        return
    with storage_errors(payload, reading=True):
        source: t.BinaryIO = Path(payload).open("rb", buffering=0)  # noqa: SIM115
    with source:
        yield source


def shown_payload(payload: Payload) -> str:
    """How the payload is named in a refusal."""
    return "the message" if isinstance(payload, bytes) else os.fspath(payload)


#: Characters of a file's name that the name of its part begins with.
PART_NAME: t.Final = 128


def part_name(name: str, sha512: str) -> str:
    """The hidden name under which a file is sent before it appears; that of its content, so that it can be resumed."""
    return f".{name[:PART_NAME]}.{sha512[:16]}.part"


def check_stored(stored: t.Optional[Stored], target: str, size: int) -> None:
    """Refuse (``upload_failed``) unless the far end says that it has `size` octets."""
    found = "nothing" if stored is None else f"{stored.size} octets"
    if stored is None or stored.size != size:
        raise TransferError("upload_failed", f"After the upload of {size} octets {target} holds {found}", target=target)


def check_digest(found: Digest, target: str, *, size: int, sha512: str) -> None:
    """Refuse (``upload_failed``) unless what was read back is what was sent."""
    if (found.size, found.sha512) != (size, sha512.lower()):
        raise TransferError("upload_failed", f"What was read back from {target} is not what was sent", target=target)
