# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How values of options are read; a wrong one is wrong usage, with its sentence."""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta

from ...durations import parse_duration
from ...errors import SiteError
from ...sizes import parse_size


def duration(text: str) -> timedelta:
    """A number and a unit."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def size(text: str) -> int:
    """Octets, with a unit or without."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return int(text)


def number(text: str) -> int:
    """A whole number from 0 on."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    return int(text)


def moment(text: str, option: str) -> datetime:
    """A point in time in UTC; this one is refused with ``option_invalid``."""
    # Only audits want it, and a gate pays for every import.
    from ...imagelist.fields import read_time

    when = read_time(text)
    if when is None:
        raise SiteError("option_invalid", f"{option}: {text!r} is not a time in UTC, such as 2026-01-31T00:00:00Z.")
    return when
