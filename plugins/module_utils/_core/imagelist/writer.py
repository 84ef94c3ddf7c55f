# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer: one list, one text. Wrapped form, sorted keys, four-space indent, UTF-8, LF."""

from __future__ import annotations

import json
import typing as t

from .model import ENDORSER, IMAGES, WRAPPER, ImageList, SignedList


def write_list(source: t.Union[ImageList, t.Mapping[str, t.Any]]) -> bytes:
    """The list's octets, ending in a line feed. A mapping is the list object itself, without its wrapper.

    ``hv:images`` is always written (readers break without it), one endorser as an object, several as an array.
    Raises ValueError (TypeError) for a value that JSON cannot hold.
    """
    return write_content(WRAPPER, IMAGES, source)


def write_content(wrapper: str, entries: str, source: t.Union[SignedList, t.Mapping[str, t.Any]]) -> bytes:
    """A list of any kind: `wrapper` is the key of the list object, `entries` that of what the list is about."""
    if isinstance(source, SignedList):
        document = {**source.beside, wrapper: _normal(entries, source.raw)}
    else:
        document = {wrapper: _normal(entries, source)}
    text = json.dumps(document, indent=4, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return f"{text}\n".encode()


def _normal(entries: str, raw: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    normal = {entries: [], **raw}
    endorser = normal.get(ENDORSER)
    if isinstance(endorser, (list, tuple)) and len(endorser) == 1:
        normal[ENDORSER] = endorser[0]
    return normal
