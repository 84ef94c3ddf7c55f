# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A command on a terminal of its own: what it writes goes to a log and can be waited for, and it never outlives us."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import signal
import subprocess
import threading
import time
import typing as t
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

#: After these nothing more will come.
PANICS: t.Final = (r"Kernel panic - not syncing", r"Panic on CPU \d", r"Domain 0 crashed", r"GRUB.{0,40}Error \d+")
#: What terminals are told beside text: cursors, colours, and carriage returns.
_CONTROLS: t.Final = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][0-9A-Z]|\x1b[=>78cDEHMNOZ]|[\r\0\x07\x0e\x0f]")
_SHOWN: t.Final = 40


def patience(seconds: float) -> float:
    """The seconds to wait for what takes a third of them on a quiet machine: more where others keep it busy."""
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)
    return seconds * min(max(busy, 1.0), 5.0)


class BootFailed(AssertionError):
    """What was waited for did not come; `text` is what came instead."""

    def __init__(self, why: str, text: str, log: Path) -> None:
        last = "\n".join(f"    {line}" for line in text.splitlines()[-_SHOWN:])
        super().__init__(f"{why}. The last lines of {log}:\n{last}")
        self.why = why
        self.text = text


@dataclass(frozen=True)
class Booted:
    """A boot that came to what was waited for: `text` is its console without control characters."""

    text: str
    seconds: float
    log: Path


class Console:
    """The terminal of a command that runs: `wait` for patterns, `send` lines."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int, log: Path) -> None:
        self._process = process
        self._terminal = terminal
        self._log = log
        self._text = ""
        self._rest = b""
        self._ended = False
        self._more = threading.Condition()
        self._mark = 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """All that was written so far, without control characters."""
        with self._more:
            return self._text

    def mark(self) -> int:
        """From here on: what is waited for comes after it."""
        with self._more:
            self._mark = len(self._text)
            return self._mark

    def send(self, line: str) -> None:
        os.write(self._terminal, line.encode() + b"\n")

    def wait(self, *patterns: str, timeout: float, panics: Sequence[str] = PANICS) -> str:
        """Wait until all of the regular expressions (re.MULTILINE) are found after the mark; the text since then.

        Raises `BootFailed` when the time is over, the command ends, or one of `panics` is found.
        """
        wanted = [re.compile(pattern, re.MULTILINE) for pattern in patterns]
        deadly = [re.compile(pattern) for pattern in panics]
        deadline = time.monotonic() + timeout
        with self._more:
            while True:
                text = self._text[self._mark :]
                missing = [pattern.pattern for pattern in wanted if not pattern.search(text)]
                if not missing:
                    return text
                lacks = f"{' and '.join(map(repr, missing))} did not appear"
                found = next((match for pattern in deadly if (match := pattern.search(text))), None)
                if found is not None:
                    raise BootFailed(f"{lacks}: {found[0]}", text, self._log)
                if self._ended:
                    raise BootFailed(f"{lacks}: the command ended", text, self._log)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise BootFailed(f"{lacks} within {timeout:.0f} s", text, self._log)
                self._more.wait(min(left, 1.0))

    def ended(self, *, timeout: float) -> str:
        """Wait until the command ends by itself; the text since the mark. Raises `BootFailed`."""
        self._thread.join(timeout)
        if not self._ended:
            raise BootFailed(f"It did not end within {timeout:.0f} s", self.text, self._log)
        return self.text[self._mark :]

    def _read(self) -> None:
        with self._log.open("wb") as log:
            while octets := self._octets():
                log.write(octets)
                log.flush()
                # A line at a time, and what is there of the last: a control sequence may be cut.
                text = _CONTROLS.sub("", (self._rest + octets).decode("utf-8", "replace"))
                kept = self._rest
                self._rest = b"" if octets.endswith(b"\n") else (self._rest + octets).rpartition(b"\n")[2]
                shown = _CONTROLS.sub("", kept.decode("utf-8", "replace"))
                with self._more:
                    self._text = self._text[: len(self._text) - len(shown)] + text
                    self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def _octets(self) -> bytes:
        try:
            return os.read(self._terminal, 65536)
        except OSError:
            return b""


@contextlib.contextmanager
def running(command: Sequence[str], log: Path) -> Iterator[Console]:
    """The command on a terminal until the end of the block, when it is killed with all of its group."""
    log.parent.mkdir(parents=True, exist_ok=True)
    ours, its = pty.openpty()
    # Without us it would boot on for ever.
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *command], stdin=its, stdout=its, stderr=its, start_new_session=True
    )
    os.close(its)
    console = Console(process, ours, log)
    try:
        yield console
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        console.ended(timeout=10)
        os.close(ours)
