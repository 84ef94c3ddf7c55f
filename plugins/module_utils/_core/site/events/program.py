# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run somebody else's program and come back in time: a process group of its own, a deadline, bounded output."""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import stat
import subprocess
import threading
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

from ...errors import SiteError

#: How much of the output is kept: its end, where the reason of a failure stands.
MAX_OUTPUT: t.Final = 2048
#: Seconds that a program has after it was asked to end.
GRACE: t.Final = 2.0
_SHELL: t.Final = "/bin/sh"
_TICK: t.Final = 0.02
_CHUNK: t.Final = 65536


@dataclass(frozen=True)
class Ended:
    """How a program ended: `status` is its exit code, negative for a signal; None: not started, or not to be killed."""

    status: int | None
    timed_out: bool
    output: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether it ended by itself, with exit code 0."""
        return self.status == 0 and not self.timed_out


def run(
    arguments: t.Sequence[str],
    *,
    environment: t.Mapping[str, str],
    octets: bytes,
    timeout: float,
    stopped: threading.Event,
) -> Ended:
    """Run `arguments` (no shell) with exactly this environment and `octets` on standard input.

    After `timeout` seconds, or soon after `stopped` is set, the whole process group is ended, then killed. A child that
    the program leaves behind when it ends by itself is left alone. Errors of starting it are part of the answer.
    """
    started = time.monotonic()
    try:
        process = _start(arguments, environment)
    except OSError as error:
        return Ended(None, False, f"{error.strerror}", time.monotonic() - started)
    watch = _Watch(process, octets)
    try:
        timed_out = not watch.until_exit(started + timeout, stopped)
        if timed_out:
            watch.end_group()
        watch.drain()
    finally:
        watch.close()
    status: int | None = None
    with contextlib.suppress(subprocess.TimeoutExpired):
        # What hangs inside the kernel (a dead file server) cannot be killed; nobody waits for it.
        status = process.wait(GRACE)
    return Ended(status, timed_out, watch.kept.decode("utf-8", "replace"), time.monotonic() - started)


def _start(arguments: t.Sequence[str], environment: t.Mapping[str, str]) -> subprocess.Popen[bytes]:
    identity: dict[str, t.Any] = {}
    if os.getuid() != os.geteuid():
        # A shell drops an effective identity for the real one: root's, when root acts for the service's user.
        identity = {"user": os.geteuid(), "group": os.getegid()}
    try:
        return subprocess.Popen(
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={key.encode(): value.encode("utf-8", "replace") for key, value in environment.items()},
            start_new_session=True,
            **identity,
        )
    except OSError as error:
        if error.errno != errno.ENOEXEC or arguments[0] == _SHELL:
            raise
        # A script without a first line that names its interpreter is a shell script, as it is to every shell.
        return _start([_SHELL, *arguments], environment)


class _Watch:
    """A running program, what is still to be written to it, and the end of what it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], octets: bytes) -> None:
        self.kept = b""
        self._process = process
        self._rest = memoryview(octets)
        self._selector = selectors.DefaultSelector()
        for pipe, event in ((process.stdout, selectors.EVENT_READ), (process.stdin, selectors.EVENT_WRITE)):
            descriptor = t.cast("t.IO[bytes]", pipe).fileno()
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, event)

    def until_exit(self, deadline: float, stopped: threading.Event) -> bool:
        """Feed it and listen until it has ended (True), or its time is over, or nobody waits any more."""
        while not self._has_exited():
            if stopped.is_set() or time.monotonic() >= deadline:
                return False
            self._turn(_TICK)
        return True

    def end_group(self) -> None:
        """Ask the group to end, and kill what is left of it; its leader is not reaped yet, so the number is its own."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while not self._has_exited() and time.monotonic() < deadline:
            self._turn(_TICK)
        self._signal(signal.SIGKILL)

    def drain(self) -> None:
        """What is in the pipe now; nobody waits for children that keep it open."""
        output = t.cast("t.IO[bytes]", self._process.stdout).fileno()
        for _round in range(64):
            if not self._read(output):
                break

    def close(self) -> None:
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                t.cast("t.IO[bytes]", pipe).close()

    def _turn(self, seconds: float) -> None:
        if not self._selector.get_map():
            time.sleep(seconds)
        for key, event in self._selector.select(seconds):
            open_still = self._read(key.fd) if event & selectors.EVENT_READ else self._write(key.fd)
            if not open_still:
                self._selector.unregister(key.fd)
                if event & selectors.EVENT_WRITE:
                    t.cast("t.IO[bytes]", self._process.stdin).close()

    def _read(self, descriptor: int) -> bool:
        try:
            octets = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        self.kept = (self.kept + octets)[-MAX_OUTPUT:]
        return bool(octets)

    def _write(self, descriptor: int) -> bool:
        try:
            self._rest = self._rest[os.write(descriptor, self._rest[:_CHUNK]) :]
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False
        return bool(self._rest)

    def _has_exited(self) -> bool:
        found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found is not None

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def require_safe(path: Path, *, owner: int) -> os.stat_result:
    """What `stat` says of a program or a directory that only root, `owner` and this process's user can change.

    Nobody else may write it, or a directory that leads to it (one with the sticky bit may be open to all). Raises
    SiteError ``handlers_unsafe``, ``not_readable``.
    """
    try:
        found = path.stat()
        _require(path, found, owner)
        real = Path(os.path.realpath(path))
        for holder in {*path.parents, *real.parents}:
            status = holder.stat()
            if not status.st_mode & stat.S_ISVTX:
                _require(holder, status, owner)
    except OSError as error:
        raise SiteError("not_readable", f"{path} cannot be looked at: {error.strerror}.", path=str(path)) from error
    return found


def _require(path: Path, found: os.stat_result, owner: int) -> None:
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise SiteError("handlers_unsafe", f"{path} has mode {mode:04o}: others may write to it.", path=str(path))
    if found.st_uid not in (0, owner, os.geteuid()):
        raise SiteError("handlers_unsafe", f"{path} belongs to the user number {found.st_uid}.", path=str(path))
