# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Points in time on the command line."""

from __future__ import annotations

import typing as t

from ..errors import SiteError
from ..imagelist.fields import read_time

if t.TYPE_CHECKING:
    from datetime import datetime


def read_option(text: str, option: str) -> datetime:
    """The time that an option names; ``option_invalid``."""
    when = read_time(text)
    if when is None:
        raise SiteError("option_invalid", f"{option}: {text!r} is not a time in UTC, such as 2026-01-31T00:00:00Z.")
    return when
