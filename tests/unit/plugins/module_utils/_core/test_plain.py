# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import types
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from ansible_collections.hepix.vmimages.plugins.module_utils._core.plain import plain


@dataclass(frozen=True)
class Example:
    when: datetime
    where: Path


def test_everything_a_result_holds_becomes_json() -> None:
    when = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
    value = {
        "mapping": types.MappingProxyType({"a": (1, 2)}),
        "set": {"b", "a"},
        "age": timedelta(hours=12),
        "item": Example(when=when, where=Path("/a/b")),
        "none": None,
    }
    assert json.loads(json.dumps(plain(value))) == {
        "mapping": {"a": [1, 2]},
        "set": ["a", "b"],
        "age": "12h",
        "item": {"when": "2026-01-02T02:04:05Z", "where": "/a/b"},
        "none": None,
    }


@pytest.mark.parametrize("value", [b"octets", object(), Example, {"deep": [b""]}])
def test_octets_and_unknown_types_are_refused(value: object) -> None:
    with pytest.raises(TypeError, match="not a plain value"):
        plain(value)
