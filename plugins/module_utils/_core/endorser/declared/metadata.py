# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Further keys that an endorser puts into a list, such as AppDB's ``ad:vo`` and ``ad:mpuri``."""

from __future__ import annotations

import typing as t

from ...errors import PublishError

_LARGEST: t.Final = 10**18 - 1
_DEPTH: t.Final = 8


def read_metadata(value: t.Any, option: str, derived: t.Container[str]) -> dict[str, t.Any]:
    """The metadata, when a strict reader can read every value and no key is one of those that we derive.

    Raises PublishError ``publish_invalid``.
    """
    if value is None:
        return {}
    if not isinstance(value, t.Mapping):
        raise _invalid(option, "this is not a dictionary")
    for key, item in value.items():
        _check_key(key, option)
        if key in derived:
            raise _invalid(f"{option}.{key}", "this key is derived; use the option that stands for it")
        _check(item, f"{option}.{key}", _DEPTH)
    return dict(value)


def _check(value: t.Any, option: str, depth: int) -> None:
    if not depth:
        raise _invalid(option, f"this is nested deeper than {_DEPTH} levels")
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise _invalid(option, "an integer has at most 18 digits")
    elif isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise _invalid(option, "this holds a character that a list cannot hold")
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check(item, f"{option}[{index}]", depth - 1)
    elif isinstance(value, t.Mapping):
        for key, item in value.items():
            _check_key(key, option)
            _check(item, f"{option}.{key}", depth - 1)
    else:
        raise _invalid(option, f"a value of type {type(value).__name__} cannot stand in a list; write it as a text")


def _check_key(key: t.Any, option: str) -> None:
    if not isinstance(key, str):
        raise _invalid(option, f"the key {key!a} is not a text")
    _check(key, option, 1)


def _invalid(option: str, what: str) -> PublishError:
    return PublishError("publish_invalid", f"{option}: {what}.", option=option)
