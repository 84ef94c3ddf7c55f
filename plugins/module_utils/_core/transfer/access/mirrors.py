# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other places with the same files: nearer, or there when the first one is not."""

from __future__ import annotations

import typing as t
import urllib.parse
from dataclasses import dataclass

_ABOVE: t.Final = (".", "..")


@dataclass(frozen=True)
class Mirror:
    """Files whose address begins with `match` are also at `replace` followed by the rest; both end in a slash."""

    match: str
    replace: str

    def address(self, uri: str) -> t.Optional[str]:
        """Where the file with the address `uri` is here; None if it is not, or would be outside of `replace`."""
        if not uri.startswith(self.match):
            return None
        rest = uri[len(self.match) :]
        steps = [urllib.parse.unquote(step) for step in rest.partition("?")[0].partition("#")[0].split("/")]
        if any(step in _ABOVE or "/" in step or "\\" in step or "\0" in step for step in steps):
            return None
        if self.replace.startswith("file:") and any(character in rest for character in "?#"):
            return None
        return self.replace + rest


def addresses(uri: str, mirrors: t.Iterable[Mirror]) -> tuple[str, ...]:
    """Where the mirrors have the file with the address `uri`, in their order."""
    found = (mirror.address(uri) for mirror in mirrors)
    return tuple(address for address in found if address is not None)
