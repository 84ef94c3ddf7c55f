# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mail addresses that others wrote: one plain address, or nothing."""

from __future__ import annotations

import re
import typing as t

#: RFC 5321's usual form: a dot-atom, and a domain of labels; no quotes, no literals, no comments, nothing but ASCII.
_ATOM: t.Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~][A-Za-z0-9!#$%&'*+/=?^_`{|}~-]*"
_LABEL: t.Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: t.Final = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)", re.ASCII)


def is_address(text: t.Any) -> bool:
    """Whether `text` is one mail address that can stand in a header and on a command line as it is."""
    if not isinstance(text, str) or len(text) > 254:
        return False
    parts = _ADDRESS.fullmatch(text)
    return parts is not None and len(parts.group(1)) <= 64
