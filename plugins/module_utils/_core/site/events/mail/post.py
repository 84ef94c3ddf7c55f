# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hand a message over to the site's mail server, or to its sendmail program."""

from __future__ import annotations

import os
import threading
import time
import typing as t

from ....errors import SiteError
from .. import program
from ..environment import PATH
from ..program import Ended

if t.TYPE_CHECKING:
    from pathlib import Path

    from ...settings import MailSettings

TIMEOUT: t.Final = 30.0


def send(
    mail: MailSettings, recipients: t.Sequence[str], octets: bytes, *, owner: int, stopped: threading.Event
) -> Ended:
    """Send `octets` (lines end in CRLF) to the envelope recipients; the answer says how that went."""
    if mail.sendmail is not None:
        return _by_sendmail(mail, recipients, octets, owner=owner, stopped=stopped)
    return _by_smtp(mail, recipients, octets)


def _by_sendmail(
    mail: MailSettings, recipients: t.Sequence[str], octets: bytes, *, owner: int, stopped: threading.Event
) -> Ended:
    path = t.cast("Path", mail.sendmail)
    try:
        program.require_safe(path, owner=owner)
    except SiteError as error:
        return Ended(None, False, str(error), 0.0)
    return program.run(
        [str(path), "-i", "-f", mail.sender, *recipients],
        environment={"PATH": PATH},
        octets=octets.replace(b"\r\n", b"\n"),
        timeout=TIMEOUT,
        stopped=stopped,
    )


def _by_smtp(mail: MailSettings, recipients: t.Sequence[str], octets: bytes) -> Ended:
    import smtplib

    started = time.monotonic()
    host, port = mail.smtp or ("localhost", 25)
    try:
        with smtplib.SMTP(host, port, local_hostname=os.uname().nodename, timeout=TIMEOUT) as server:
            refused = server.sendmail(mail.sender, list(recipients), octets)
    except smtplib.SMTPRecipientsRefused as error:
        return Ended(1, False, _answers(error.recipients), time.monotonic() - started)
    except (smtplib.SMTPException, OSError) as error:
        return Ended(1, False, f"{type(error).__name__}: {error}"[: program.MAX_OUTPUT], time.monotonic() - started)
    return Ended(0, False, _answers(refused), time.monotonic() - started)


def _answers(refused: t.Mapping[str, tuple[int, bytes]]) -> str:
    """What the server said of the recipients that it did not take."""
    lines = [f"{name}: {code} {text.decode('utf-8', 'replace')}" for name, (code, text) in sorted(refused.items())]
    return "; ".join(lines)[: program.MAX_OUTPUT]
