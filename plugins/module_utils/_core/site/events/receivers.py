# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is told: each handler, which is a program, and the endorsers, by mail.

A receiver makes a job of a happening, with what the catalogue knows; the job then runs in a thread, without catalogue.
"""

from __future__ import annotations

import email
import email.policy
import threading
import typing as t
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from pathlib import Path

from ...times import to_text
from ...transfer.atomic import fsync_directory, storage_errors, write_atomic
from . import program
from .environment import EVENTS, Teller
from .happenings import FOR_ENDORSERS, FOR_HANDLERS, Happening
from .mail import notice, post
from .program import Ended

if t.TYPE_CHECKING:
    from ..settings import EventSettings, Settings
    from ..store.catalogue import Catalogue


@dataclass(frozen=True)
class Told:
    """One event that was told, or one message, and how that ended."""

    event: str
    ended: Ended


Job = t.Callable[[threading.Event], "list[Told]"]


class Attempt(t.NamedTuple):
    """What is known about an attempt when its record is written: its number, and when the next one is."""

    number: int
    again: datetime | None


class Receiver(t.Protocol):
    """Somebody who is told of happenings of some kinds."""

    @property
    def key(self) -> str:
        """Its name among the cursors."""

    @property
    def kinds(self) -> frozenset[str]:
        """What it hears of."""

    @property
    def framed(self) -> bool:
        """Whether it is told when a run begins and ends."""

    @property
    def attempts(self) -> int:
        """How often a happening is tried."""

    def job(self, happening: Happening, attempt: int) -> Job:
        """What tells of a happening. Raises `VmimagesError`."""

    def frame(self, event: str) -> Job:
        """What frames a run (only of a receiver that is `framed`)."""

    def record(self, told: Told, happening: Happening | None, attempt: Attempt) -> tuple[str, dict[str, t.Any]] | None:
        """The journal line about it, None for none."""


@dataclass(frozen=True)
class Handler:
    """One program of the handlers' directory."""

    path: Path
    settings: EventSettings
    teller: Teller
    kinds: frozenset[str] = FOR_HANDLERS
    framed: bool = True

    @property
    def key(self) -> str:
        return f"handler:{self.path.name}"

    @property
    def attempts(self) -> int:
        return self.settings.attempts

    def job(self, happening: Happening, attempt: int) -> Job:
        return self._job(EVENTS[happening.kind], happening, attempt)

    def frame(self, event: str) -> Job:
        return self._job((event,), None, 1)

    def _job(self, events: t.Sequence[str], happening: Happening | None, attempt: int) -> Job:
        """The events in their order; after one that had to be killed the others wait for the next attempt."""
        more = {"handler": self.path.name, "attempt": attempt}
        calls = [
            (event, self.teller.environment(event, happening), self.teller.document(event, happening, **more))
            for event in events
        ]

        def run(stopped: threading.Event) -> list[Told]:
            told: list[Told] = []
            for event, environment, octets in calls:
                ended = program.run(
                    [str(self.path)],
                    environment=environment,
                    octets=octets,
                    timeout=self.settings.timeout,
                    stopped=stopped,
                )
                told.append(Told(event, ended))
                if ended.timed_out:
                    break
            return told

        return run

    def record(self, told: Told, happening: Happening | None, attempt: Attempt) -> tuple[str, dict[str, t.Any]] | None:
        about: dict[str, t.Any] = {"list": None, "image": None, "version": None, "of": None}
        if happening is not None:
            about = {
                "list": happening.list,
                "image": happening.image,
                "version": happening.version,
                "of": happening.sequence,
            }
        event = "handled" if told.ended.good else "handler_failed"
        return event, {**about, "handler": self.path.name, "event": told.event, **_ending(told.ended, attempt)}


@dataclass(frozen=True)
class Mail:
    """The endorsers: each message is kept in the outbox, and sent where the settings say how."""

    catalogue: Catalogue
    teller: Teller
    settings: Settings
    owner: int
    key: str = "mail"
    kinds: frozenset[str] = FOR_ENDORSERS
    framed: bool = False

    @property
    def attempts(self) -> int:
        return self.settings.events.attempts if self.settings.events else 5

    def path(self, happening: Happening) -> Path:
        """Where the message is kept."""
        return self.catalogue.state.path / "outbox" / f"{happening.name}.eml"

    def job(self, happening: Happening, attempt: int) -> Job:
        """Writes the message, once; what is sent, now or later, is what was written."""
        octets = self._written(happening)
        recipients = notice.recipients(_read(octets))
        mail, owner = self.settings.mail, self.owner

        def run(stopped: threading.Event) -> list[Told]:
            if mail is None:
                return [Told("Written", Ended(0, False, "", 0.0))]
            if not recipients:
                return [Told("Written", Ended(0, False, "The accepted list names no usable mail address.", 0.0))]
            return [Told("Sent", post.send(mail, recipients, octets, owner=owner, stopped=stopped))]

        return run

    def frame(self, event: str) -> Job:
        """Nobody is mailed that a run begins or ends."""
        return lambda stopped: []

    def record(self, told: Told, happening: Happening | None, attempt: Attempt) -> tuple[str, dict[str, t.Any]] | None:
        if happening is None:
            return None
        path = self.path(happening)
        try:
            recipients = notice.recipients(_read(path.read_bytes()))
        except OSError:
            recipients = []
        event = ("mailed" if told.event == "Sent" else "mail_written") if told.ended.good else "mail_failed"
        return event, {
            "list": happening.list,
            "code": happening.code,
            "of": happening.sequence,
            "message": path.name,
            "recipients": recipients,
            **_ending(told.ended, attempt),
        }

    def _written(self, happening: Happening) -> bytes:
        path = self.path(happening)
        if not path.parent.is_dir():
            with storage_errors(path.parent):
                path.parent.mkdir(mode=0o755, exist_ok=True)
            fsync_directory(path.parent.parent)
        with storage_errors(path, reading=True):
            if path.exists():
                return path.read_bytes()
        octets = notice.compose(self.catalogue, self.teller, self.settings, happening).as_bytes()
        write_atomic(path, octets, mode=0o644)
        return octets


def _read(octets: bytes) -> EmailMessage:
    return email.message_from_bytes(octets, policy=email.policy.SMTP)


def _ending(ended: Ended, attempt: Attempt) -> dict[str, t.Any]:
    return {
        "attempt": attempt.number,
        "status": ended.status,
        "timed_out": ended.timed_out,
        "seconds": round(ended.seconds, 3),
        "output": ended.output,
        "retry": to_text(attempt.again) if attempt.again else None,
    }
