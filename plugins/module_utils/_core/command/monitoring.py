# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vmimages status --html``, ``--prometheus`` and ``--check``: what monitoring reads, from the snapshot alone."""

from __future__ import annotations

import sys
import typing as t

from ..errors import VmimagesError
from ..site import settings as site_settings
from ..site.judgement import snapshot
from ..site.reports import nagios, page, prometheus
from ..site.reports.publish import status_of, write_report
from ..site.store.state import StateDirectory
from ..times import utc_now
from .line.output import emit, emit_defect, emit_json

if t.TYPE_CHECKING:
    import argparse

    from ..site.reports.facts import SiteStatus


def report(options: argparse.Namespace) -> int:
    """0 when the report is written, to its file or to standard output."""
    target = options.html or options.prometheus
    text = (page if options.html else prometheus).render(_status(options))
    if target == "-":
        # The page says that it is UTF-8, whatever the locale is.
        sys.stdout.buffer.write(text.encode())
        return 0
    write_report(target, text)
    if options.json:
        emit_json({"written": target})
    return 0


def check(options: argparse.Namespace) -> int:
    """0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN, with one line; also where nothing can be told."""
    try:
        status = _status(options)
        code, line = nagios.check(status)
    except VmimagesError as error:
        status = None
        code, line = nagios.unknown(str(error))
    except Exception as error:
        emit_defect(error, as_json=False)
        status = None
        code, line = nagios.unknown(f"internal_error: An unexpected {type(error).__name__} stopped the check.")
    if options.json:
        emit_json({"code": code, "line": line, "status": status})
    else:
        emit(line)
    return code


def _status(options: argparse.Namespace) -> SiteStatus:
    state = StateDirectory.at(options.state_dir, index=options.index)
    return status_of(snapshot.load(state).summary(), site_settings.load(state.path), utc_now())
