# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check is, and what it finds: never the secret itself, only where it is."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ..root.names import shown
from ..root.tree import Root
from .places import Places

#: error blocks an endorsement, warning does not.
ERROR: t.Final = "error"
WARNING: t.Final = "warning"


@dataclass(frozen=True)
class Finding:
    """One violation. `line` counts from 1; `severity` None: that of the check; `digest`: of the whole file."""

    path: str
    text: str
    line: int | None = None
    severity: str | None = None
    digest: str | None = None

    def as_dict(self) -> dict[str, t.Any]:
        return {"path": shown(self.path), "line": self.line, "text": shown(self.text), "sha256": self.digest}


@dataclass(frozen=True)
class Subject:
    """What is audited: the tree, what is known of its places, and what the endorser allows."""

    root: Root
    places: Places
    image: str | None = None
    accounts: frozenset[str] = frozenset()


#: The findings; None: the check does not apply to this system.
Search = t.Callable[[Subject], t.Optional[t.Iterable[Finding]]]


@dataclass(frozen=True)
class Repair:
    """A change that is safe: `octets` is the new content, None removes the file."""

    path: str
    octets: bytes | None
    text: str


#: The repairs of what the check finds.
Fix = t.Callable[[Subject, t.Sequence[Finding]], t.Iterable[Repair]]


@dataclass(frozen=True)
class Check:
    """One row of the table."""

    id: str
    clause: str
    severity: str
    title: str
    search: Search = field(repr=False)
    fix: Fix | None = field(default=None, repr=False)


def removing(_subject: Subject, findings: t.Sequence[Finding]) -> t.Iterator[Repair]:
    """Each file that was found goes."""
    for path in dict.fromkeys(finding.path for finding in findings):
        yield Repair(path, None, "removed")
