# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate says: one sentence for whoever started the domain, and one line for the host's log."""

from __future__ import annotations

import json
import os
import re
import syslog
import typing as t

from ...errors import VmimagesError
from .check import Answer

_IDENTITY: t.Final = "vmimages-gate"
_PLAIN: t.Final = re.compile(r"[A-Za-z0-9_.:+-]*")


def sentence(answer: Answer) -> str:
    """Why a domain may not start: the first refusal with its code and remedy, and how many there are."""
    first, *others = answer.errors
    more = f" ({len(others)} further refusals)" if others else ""
    return f"{first}{more}"


def write(answer: Answer, operation: str) -> None:
    """Tell syslog, and so the journal, what was answered."""
    if answer.exempt:
        _write(syslog.LOG_INFO, f"exempt {_named(answer, operation)}")
    elif answer.allowed:
        based = " ".join(
            f"{quoted(finding.disk)}={finding.image['identifier']}"
            for finding in answer.findings
            if finding.image is not None
        )
        _write(syslog.LOG_INFO, f"allowed {_named(answer, operation)} {based}")
    else:
        word = "warned" if answer.passes else "refused"
        _write(syslog.LOG_WARNING, f"{word} {_named(answer, operation)}: {sentence(answer)}")


def write_failure(error: VmimagesError, operation: str) -> None:
    """Tell that no answer was possible, which is a refusal."""
    _write(syslog.LOG_ERR, f"refused operation={operation}: {error}")


def quoted(text: str) -> str:
    """A name that somebody has given, as one word of a line: with anything but letters, digits and ``_ . : + -`` in
    quotes, as JSON has them."""
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _named(answer: Answer, operation: str) -> str:
    domain, uuid = quoted(answer.domain.name), quoted(answer.domain.uuid) or "-"
    return f"operation={operation} domain={domain} uuid={uuid} user={os.getuid()}"


def _write(priority: int, text: str) -> None:
    """Names are given by others: nothing of them may begin a line of its own."""
    line = "".join(character if character.isprintable() else "\ufffd" for character in text)
    syslog.openlog(_IDENTITY, syslog.LOG_PID, syslog.LOG_DAEMON)
    try:
        syslog.syslog(priority, line)
    finally:
        syslog.closelog()
