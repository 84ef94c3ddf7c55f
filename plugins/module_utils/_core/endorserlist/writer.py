# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The writer of endorser lists: one list, one text, in the form of image lists."""

from __future__ import annotations

import typing as t

from ..imagelist.writer import write_content
from .model import MEMBERS, WRAPPER, EndorserList


def write_list(source: t.Union[EndorserList, t.Mapping[str, t.Any]]) -> bytes:
    """The list's octets, ending in a line feed. A mapping is the list object itself, without its wrapper.

    Raises ValueError (TypeError) for a value that JSON cannot hold.
    """
    return write_content(WRAPPER, MEMBERS, source)
