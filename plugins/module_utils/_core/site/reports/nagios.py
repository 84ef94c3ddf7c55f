# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of a site for Nagios and its kin: one line with performance data, and an exit code."""

from __future__ import annotations

import typing as t

from .facts import SiteStatus
from .words import counted, one_line

OK: t.Final = 0
WARNING: t.Final = 1
CRITICAL: t.Final = 2
UNKNOWN: t.Final = 3

_NAMES: t.Final = {OK: "OK", WARNING: "WARNING", CRITICAL: "CRITICAL", UNKNOWN: "UNKNOWN"}
_CODES: t.Final = {"good": OK, "warning": WARNING, "critical": CRITICAL}
_SHOWN: t.Final = 3
_LONGEST: t.Final = 160


def check(status: SiteStatus) -> tuple[int, str]:
    """The exit code and the line; of many problems the worst are named, the others counted."""
    code = _CODES[status.state]
    found = list(_problems(status))
    words = [_plain(text) for text in found[:_SHOWN]]
    if len(found) > _SHOWN:
        words.append(f"and {len(found) - _SHOWN} more")
    return code, f"{_head(code)} - {'; '.join(words) or _summary(status)} | {_performance(status)}"


def unknown(reason: str) -> tuple[int, str]:
    """The exit code and the line for a site whose state cannot be told."""
    return UNKNOWN, f"{_head(UNKNOWN)} - {_plain(reason)}"


def _head(code: int) -> str:
    return f"VMIMAGES {_NAMES[code]}"


def _problems(status: SiteStatus) -> t.Iterator[str]:
    for severity in ("critical", "warning"):
        yield from (problem.text for problem in status.problems if problem.severity == severity)
        for item in status.lists:
            yield from (
                f"list {item.identifier}: {problem.code}: {problem.text}"
                for problem in item.problems
                if problem.severity == severity
            )
            yield from (
                f"image {image.identifier} may not run: {image.code}"
                for image in item.images
                if image.state == severity
            )


def _summary(status: SiteStatus) -> str:
    allowed = sum(image.allowed for image in status.images)
    lists, images = counted(len(status.lists), "list"), counted(status.size, "image")
    return f"{lists}, {images}, {allowed} may run"


def _performance(status: SiteStatus) -> str:
    images = status.images
    ages = [int(item.age.total_seconds()) for item in status.lists if item.age is not None]
    values = [
        f"lists={len(status.lists)};;;0",
        f"unrefreshed={sum(item.has('unrefreshed') for item in status.lists)};;0;0",
        f"images={status.size};;;0",
        f"allowed={sum(image.allowed for image in images)};;;0",
        f"problem_images={sum(image.state != 'good' for image in images)};0;;0",
    ]
    if ages:
        values.append(f"oldest_refresh={max(0, *ages)}s;;;0")
    return " ".join(values)


def _plain(text: str) -> str:
    """One line without the sign that ends the text."""
    return one_line(text, _LONGEST).replace("|", "/")
