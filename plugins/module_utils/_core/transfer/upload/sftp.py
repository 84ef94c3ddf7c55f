# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Publish over SSH with OpenSSH's own ``sftp``: the user's configuration, agent, jump hosts and known hosts all count.

The file is sent under a hidden name, forced to the far end's disk, compared, and renamed over the target. What a cut
left of the same content is continued; since only its length is known then, all of it is read back before it is
published. What a cut left of other content is removed. Every operation is one run of ``sftp`` in batch mode: it asks no
questions and trusts no unknown host.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import posixpath
import re
import subprocess
import tempfile
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ...errors import TransferError
from ..atomic import storage_errors
from ..checksum import Digest, digest_file
from .base import PART_NAME, Payload, Settings, Stored, check_digest, check_stored, part_name, shown_payload

_OPTIONS: t.Final = (
    "BatchMode=yes",
    "ConnectTimeout=30",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
)
_URI: t.Final = re.compile(
    r"sftp://(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@/:\s]+)(?::(?P<port>\d+))?(?P<path>/.*)"
)
_SCP: t.Final = re.compile(r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>\[[0-9A-Fa-f:.]+\]|[^@/:\s]+):(?P<path>(?!//)[^:].*)")
#: ``ls -ln`` of a regular file: mode, links, user, group, size.
_LISTED: t.Final = re.compile(r"^-\S*\s+\S+\s+\S+\s+\S+\s+(\d+)\s", re.MULTILINE)
#: The same of a part, to the end of its name, which is that of its content.
_PART: t.Final = re.compile(rf"{_LISTED.pattern}.*\.([0-9a-f]{{16}})\.part$", re.MULTILINE)
_SYMPTOMS: t.Final = (
    ("Host key verification failed", "host_key_unknown", "the host's key is not known"),
    ("Permission denied (", "login_refused", "it accepts none of our keys"),
    ("Permission denied", "not_writable", "permission denied"),
    ("write local", "disk_full", "there is no room on this host (in TMPDIR) to read it back"),
    # All that the protocol says of a full disk is "Failure".
    ("write remote", "disk_full", "it cannot go on writing, most likely because its file system or a quota is full"),
    ("write to remote file", "disk_full", "it cannot go on writing, as with a full file system or quota"),
    ("No space left", "disk_full", "its file system is full"),
    ("Could not resolve", "unreachable", "its name cannot be resolved"),
    ("Connection refused", "unreachable", "it refuses the connection"),
    ("timed out", "timeout", "it does not answer"),
    ("not found", "not_found", "there is no such file or directory"),
    ("No such file", "not_found", "there is no such file or directory"),
)


@dataclass(frozen=True)
class Far:
    """A file at the far end; `port` None means the configured one, and `path` may be relative to the home."""

    user: t.Optional[str]
    host: str
    port: t.Optional[str]
    path: str


class SftpUploader:
    """An `Uploader` whose targets are ``sftp://user@host:port/full/path`` or, as for scp, ``user@host:path``."""

    readable: t.Final = True
    takes_images: t.Final = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def put(self, payload: Payload, target: str, *, size: int, sha512: str) -> None:
        far = read_target(target)
        part = _part(far.path, sha512)
        with _as_file(payload) as source:
            resumed = self._send(source, far, part, size=size, sha512=sha512)
            if resumed or self._settings.verify == "sha512":
                self._compare(far, part, target, size=size, sha512=sha512)
        self._run(far, f"rename {_quoted(part)} {_quoted(far.path)}")
        check_stored(self.stat(target), target, size)

    def stat(self, target: str) -> t.Optional[Stored]:
        far = read_target(target)
        size = self._size(far, far.path)
        return None if size is None else Stored(size)

    def read(self, target: str, limit: int) -> t.Optional[bytes]:
        stored = self.stat(target)
        if stored is None:
            return None
        if stored.size > limit:
            raise TransferError("upload_failed", f"{target} holds {stored.size} octets, and is no message", path=target)
        with self._fetched(read_target(target)) as path:
            return path.read_bytes()

    def digest(self, target: str) -> Digest:
        with self._fetched(read_target(target)) as path:
            return digest_file(path)

    def sweep(self, target: str) -> None:
        """Nothing: `put` continues or removes what it finds."""

    def _send(self, source: Path, far: Far, part: str, *, size: int, sha512: str) -> bool:
        """Bring all of the source to the part; True when some of it was there before."""
        parts = self._parts(far)
        found = parts.pop(sha512[:16].lower(), None)
        resumed = found is not None and 0 < found <= size
        # Files with long names may share the beginning, and be on their way now.
        others = parts if len(posixpath.basename(far.path)) <= PART_NAME else ()
        commands = [*_directories(far.path), *(f"-rm {_quoted(_part(far.path, other))}" for other in others)]
        if found is not None and not resumed:
            commands.append(f"-rm {_quoted(part)}")
        if found != size:
            commands.append(f"put -f{'a' if resumed else ''} {_quoted(str(source))} {_quoted(part)}")
        commands.append(f"chmod 0644 {_quoted(part)}")
        # Read here once more while it is being sent: what is sent must be what was announced.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            here = pool.submit(digest_file, source)
            self._run(far, *commands)
            if here.result() != Digest(size, sha512.lower()):
                self._run(far, f"-rm {_quoted(part)}")
                raise TransferError("upload_failed", f"{source} is not what was announced: it changed meanwhile")
        if not resumed:
            stored = self._size(far, part)
            check_stored(None if stored is None else Stored(stored), part, size)
        return resumed

    def _compare(self, far: Far, part: str, target: str, *, size: int, sha512: str) -> None:
        with self._fetched(Far(far.user, far.host, far.port, part)) as path:
            found = digest_file(path)
        try:
            check_digest(found, target, size=size, sha512=sha512)
        except TransferError:
            # Whatever it is, it must not be continued.
            self._run(far, f"-rm {_quoted(part)}")
            raise

    def _parts(self, far: Far) -> dict[str, int]:
        """The parts of this file that the far end has: the beginning of a content's digest -> octets."""
        known = _part(far.path, "0" * 16)[: -len(f"{'0' * 16}.part")]
        listed = self._run(far, f"-ls -lan {_quoted(known)}{'?' * 16}.part")
        return {found.group(2): int(found.group(1)) for found in _PART.finditer(listed)}

    def _size(self, far: Far, path: str) -> t.Optional[int]:
        try:
            answer = self._run(far, f"ls -ln {_quoted(path)}")
        except TransferError as error:
            if error.code == "not_found":
                return None
            raise
        listed = _LISTED.search(answer)
        if listed is None:
            raise TransferError("upload_failed", f"{path} at {far.host} exists and is not a file", path=path)
        return int(listed.group(1))

    @contextlib.contextmanager
    def _fetched(self, far: Far) -> t.Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="vmimages-") as directory:
            path = Path(directory) / "file"
            self._run(far, f"get {_quoted(far.path)} {_quoted(str(path))}")
            yield path

    def _run(self, far: Far, *commands: str) -> str:
        """Run the commands in one session and return what they print; one that begins with ``-`` may fail."""
        try:
            done = subprocess.run(
                self._command(far),
                input=os.fsencode("\n".join(commands) + "\n"),
                capture_output=True,
                check=False,
                env={**os.environ, "LC_ALL": "C"},
            )
        except OSError as error:
            why = (error.strerror or "it did not start").lower()
            raise TransferError("tool_missing", f"The program sftp cannot be run: {why}", program="sftp") from None
        if done.returncode != 0:
            raise _failure(far, done.stderr.decode(errors="replace"))
        return done.stdout.decode(errors="replace")

    def _command(self, far: Far) -> list[str]:
        given = self._settings
        command = ["sftp", "-b", "-"]
        for option in _OPTIONS:
            command += ["-o", option]
        if given.ssh_config:
            command += ["-F", given.ssh_config]
        if given.ssh_key:
            command += ["-i", given.ssh_key, "-o", "IdentitiesOnly=yes"]
        if given.ssh_known_hosts:
            command += ["-o", f"UserKnownHostsFile={given.ssh_known_hosts}", "-o", "StrictHostKeyChecking=yes"]
        if far.port:
            command += ["-P", far.port]
        return [*command, "--", f"{far.user}@{far.host}" if far.user else far.host]


def read_target(target: str) -> Far:
    """Read a target. Raises TransferError ``upload_failed``."""
    found = _URI.fullmatch(target) or _SCP.fullmatch(target)
    if found is None or any(ord(character) < 32 or ord(character) == 127 for character in target):
        raise _no_target(target, "is neither sftp://user@host/path nor user@host:path")
    user, host, path = found.group("user"), found.group("host"), found.group("path")
    if host.startswith("-") or (user or "").startswith("-"):
        raise _no_target(target, "holds a host or a user that begins with a hyphen")
    if path.endswith("/") or ".." in path.split("/"):
        raise _no_target(target, "does not name a file")
    return Far(user, host, found.groupdict().get("port"), path)


def _part(path: str, sha512: str) -> str:
    folder, name = posixpath.split(path)
    return posixpath.join(folder, part_name(name, sha512))


def _no_target(target: str, why: str) -> TransferError:
    return TransferError("upload_failed", f"The upload target {target!r} {why}", path=target)


def _directories(path: str) -> t.Iterator[str]:
    """Make what is missing above `path`; each may be there already, and a failure shows when the file is put."""
    above = [posixpath.dirname(path)]
    while posixpath.dirname(above[-1]) not in ("", "/", above[-1]):
        above.append(posixpath.dirname(above[-1]))
    return (f"-mkdir {_quoted(directory)}" for directory in reversed(above) if directory not in ("", "/"))


def _quoted(text: str) -> str:
    """As the batch language takes it; inside quotes it does not expand patterns."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _failure(far: Far, said: str) -> TransferError:
    lines = [line.strip() for line in said.splitlines() if line.strip() and "mkdir" not in line]
    for words, code, why in _SYMPTOMS:
        if any(words in line for line in lines):
            return TransferError(code, f"The upload to {far.host} failed: {why}", host=far.host, said=lines[-3:])
    return TransferError("upload_failed", f"The upload to {far.host} failed", host=far.host, said=lines[-3:])


@contextlib.contextmanager
def _as_file(payload: Payload) -> t.Iterator[Path]:
    if not isinstance(payload, bytes):
        path = Path(payload)
        if any(ord(character) < 32 for character in str(path)):
            raise TransferError("not_readable", f"{shown_payload(payload)!r} has a name that sftp cannot take")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="vmimages-") as directory:
        path = Path(directory) / "message"
        with storage_errors(path):
            path.write_bytes(payload)
        yield path
