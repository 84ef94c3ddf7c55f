# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kept versions of one list, in the order in which they came: what each changed, and what lies between two.

The same for what an endorser published and for what a site accepted. Every message is read again: its keeper says so
(``archive_damaged``, ``history_unreadable``) where it is no longer the one that was kept.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ..errors import SiteError, VmimagesError
from ..trust.message.smime import read_message
from .difference import difference, images_by_identifier
from .fields import read_document

#: What a list object may be wrapped in; of old it was not.
_WRAPPERS: t.Final = ("hv:imagelist", "hv:endorserlist")


@dataclass(frozen=True)
class Kept:
    """One version: `facts` for results, and `load` for its message as it was kept; raises VmimagesError."""

    version: str
    facts: t.Mapping[str, t.Any]
    load: t.Callable[[], bytes]

    def content(self) -> t.Mapping[str, t.Any]:
        """The list object of the message."""
        document = read_document(read_message(self.load()).content)
        for wrapper in _WRAPPERS:
            if isinstance(document.get(wrapper), dict):
                return t.cast("t.Mapping[str, t.Any]", document[wrapper])
        return document


def describe(kept: t.Iterable[Kept]) -> tuple[list[dict[str, t.Any]], list[VmimagesError]]:
    """The versions for results, and what is wrong with their messages.

    ``changes`` are the identifiers of the images that a version added, removed and changed, None where it or the one
    before cannot be read; ``intact`` says whether it can.
    """
    described: list[dict[str, t.Any]] = []
    problems: list[VmimagesError] = []
    before: t.Mapping[str, t.Any] | None = {}
    for one in kept:
        content = None
        try:
            content = one.content()
        except VmimagesError as error:
            problems.append(error)
        changes = None if content is None or before is None else difference(before, content).identifiers()
        images = None if content is None else len(images_by_identifier(content))
        described.append({**one.facts, "images": images, "intact": content is not None, "changes": changes})
        before = content
    return described, problems


def between(kept: t.Sequence[Kept], first: str, second: str) -> dict[str, t.Any]:
    """What changed from version `first` to version `second`, per key; ``option_invalid`` for one that was not kept."""
    earlier, later = _latest(kept, first), _latest(kept, second)
    return {"from": first, "to": second, **difference(earlier.content(), later.content()).as_dict()}


def _latest(kept: t.Sequence[Kept], version: str) -> Kept:
    """The last one of this version: after a re-baselining there may be two."""
    found = [one for one in kept if one.version == version]
    if not found:
        known = ", ".join(dict.fromkeys(one.version for one in kept)) or "none"
        raise SiteError("option_invalid", f"between: there is no version {version!r} (there are: {known}).")
    return found[-1]
