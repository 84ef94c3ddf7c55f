# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command prints: short aligned tables, or one JSON document."""

from __future__ import annotations

import json
import os
import sys
import traceback
import typing as t

from ...errors import REMEDIES, VmimagesError
from ...plain import plain

if t.TYPE_CHECKING:
    import logging

    from ...outcome import Outcome

#: The exit code where some lists, images or handlers failed, and the others are done.
SOME_FAILED: t.Final = 3
_ERROR: t.Final = 3
_WARNING: t.Final = 4

#: Levels of syslog and of Python's logging.
_LEVELS: t.Final = {_ERROR: 40, _WARNING: 30}
_LOGGERS: t.Final[list[logging.Logger]] = []


def log_to(logger: logging.Logger) -> None:
    """Let this logger know as well what was done, and what went wrong."""
    _LOGGERS.append(logger)


def note_actions(actions: t.Iterable[t.Mapping[str, t.Any]]) -> None:
    """What was done, for the log alone: each as ``action key=value ...``."""
    for action in actions if _LOGGERS else ():
        words = [f"{key}={value}" for key, value in action.items() if key != "action" and value is not None]
        for logger in _LOGGERS:
            logger.info("%s", printable(" ".join([str(action.get("action")), *words])))


def _complain(level: int, text: str) -> None:
    """One line on standard error, with its level where the journal reads it, and to the log."""
    sys.stderr.write(f"{_mark(level)}vmimages: {text}\n")
    for logger in _LOGGERS:
        logger.log(_LEVELS[level], "%s", text)


def _mark(level: int) -> str:
    """What systemd takes from the beginning of a line as its level (sd-daemon(3))."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return ""
    return f"<{level}>" if stream == f"{found.st_dev}:{found.st_ino}" else ""


def emit_json(document: t.Any) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(plain(document), indent=2, sort_keys=True) + "\n")


def emit_outcome(outcome: Outcome, told: t.Mapping[str, t.Any] | None = None) -> None:
    """What a change came to, and what was told of it, as one JSON document."""
    document = {**outcome.data, "changed": outcome.changed, "actions": outcome.actions, "warnings": outcome.warnings}
    emit_json(document if told is None else {**document, "events": told})


def emit(*lines: str) -> None:
    """Lines for a person, on standard output."""
    for line in lines:
        sys.stdout.write(f"{line}\n")


def emit_warnings(warnings: t.Iterable[str]) -> None:
    """Warnings for a person, on standard error."""
    for warning in warnings:
        _complain(_WARNING, f"warning: {printable(warning)}")


def emit_failures(failures: t.Iterable[tuple[str, t.Mapping[str, t.Any]]]) -> None:
    """What failed while other things went on, on standard error: what it is, its code, what was found, what to do."""
    for name, error in failures:
        line = f"{name}: {error['code']}: {error['detail']} {error['remedy']}"
        _complain(_ERROR, printable(line))


def emit_progress(lines: t.Iterable[str]) -> None:
    """How far something is, on standard error."""
    for line in lines:
        sys.stderr.write(f"vmimages: {printable(line)}\n")
    sys.stderr.flush()


def emit_error(error: VmimagesError, *, as_json: bool) -> None:
    """A refusal: its code, what was found, and what to do."""
    if as_json:
        emit_json({"error": error.as_dict()})
    else:
        _complain(_ERROR, printable(str(error)))


def emit_notes(*notes: str) -> None:
    """More about an error, on standard error."""
    for note in notes:
        sys.stderr.write(f"  {printable(note)}\n")


def emit_holders(image: t.Mapping[str, t.Any]) -> None:
    """Where several images are these octets, that one of them has answered."""
    holders = image.get("holders", ())
    if len(holders) > 1:
        emit_notes(f"These octets are {len(holders)} images; this is the verdict on {image['identifier']}:")
        for one in holders:
            state = "endorsed" if one["endorsed"] else "no longer endorsed"
            emit_notes(f"  {one['identifier']} version {one['version']} of list {one['list']}, {state}")


def emit_defect(error: Exception, *, as_json: bool) -> None:
    """A defect of ours: the sentence, and the traceback to report on standard error."""
    traceback.print_exception(type(error), error, error.__traceback__)
    detail = f"An unexpected {type(error).__name__} stopped the command: {error}."
    if as_json:
        remedy = REMEDIES["internal_error"]
        emit_json({"error": {"code": "internal_error", "detail": detail, "remedy": remedy, "context": {}}})
    else:
        _complain(_ERROR, f"internal_error: {printable(detail)} {REMEDIES['internal_error']}")


def table(heads: t.Sequence[str], rows: t.Sequence[t.Sequence[t.Any]]) -> list[str]:
    """Aligned lines with a line of heads; nothing without rows. None is shown as a dash."""
    if not rows:
        return []
    cells = [list(heads), *([printable(_cell(value)) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in cells]


def printable(text: str) -> str:
    """The text without anything that moves a terminal: titles and addresses are written by others."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _cell(value: t.Any) -> str:
    return "-" if value is None or value == "" else str(value)
