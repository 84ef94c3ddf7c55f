# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reports that a site's settings name, written anew whenever the snapshot was."""

from __future__ import annotations

import typing as t
from datetime import datetime
from pathlib import Path

from ...errors import VmimagesError
from ...transfer.atomic import write_atomic
from .. import settings as site_settings
from ..settings import Settings
from ..store.state import StateDirectory, locked
from . import page, prometheus
from .facts import SiteStatus, site_status

_PATIENCE: t.Final = 10.0


def status_of(snapshot: t.Mapping[str, t.Any], settings: Settings, now: datetime) -> SiteStatus:
    """The facts of a snapshot by the site's settings."""
    return site_status(snapshot, now, site=settings.site, max_unrefreshed=settings.max_unrefreshed)


def write_report(path: str | Path, text: str) -> None:
    """Replace the file at `path`, readable by everyone; a reader sees the old report or the new one."""
    write_atomic(path, text.encode(), mode=0o644)


def publish(state: StateDirectory, snapshot: t.Callable[[], t.Mapping[str, t.Any]], now: datetime) -> list[str]:
    """Write the reports that the settings name, and return what went wrong: a report never fails what it reports on.

    `snapshot` reads the present snapshot. It is asked under a lock of the reports' own, so that of two writers the
    later one has the last word, and nobody waits with the writers' lock for a slow directory.
    """
    try:
        settings = site_settings.load(state.path)
        wanted = settings.reports
        if wanted.html is None and wanted.prometheus is None:
            return []
        with locked(state.path / "reports.lock", patience=_PATIENCE):
            status = status_of(snapshot(), settings, now)
            return [
                *_attempt(wanted.html, page.render, status),
                *_attempt(wanted.prometheus, prometheus.render, status),
            ]
    except VmimagesError as error:
        return [f"The reports were not written: {error}"]
    except Exception as error:
        return [f"The reports were not written: an unexpected {type(error).__name__}: {error}."]


def _attempt(path: Path | None, render: t.Callable[[SiteStatus], str], status: SiteStatus) -> t.Iterator[str]:
    if path is None:
        return
    try:
        write_report(path, render(status))
    except VmimagesError as error:
        yield f"The report {path} was not written: {error}"
