# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values as plain JSON types: what a module returns and what the command prints with --json."""

from __future__ import annotations

import dataclasses
import typing as t
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePath

from .durations import duration_text
from .times import to_text


def plain(value: t.Any) -> t.Any:
    """`value` with mappings as dict, sequences and sets as list, times as ``YYYY-MM-DDThh:mm:ssZ``, paths as text.

    Raises `TypeError` for octets and for every other type, so that nothing is published by accident.
    """
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    raise TypeError(f"not a plain value: {type(value).__name__}")
