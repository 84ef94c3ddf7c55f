# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a check is, and what it finds: never the secret itself, only where it is."""

from __future__ import annotations

import functools
import re
import typing as t
from dataclasses import dataclass, field

from ..boot.survey import Survey, survey
from ..disk.layout import Layout, read_layout
from ..mount.copies import raw_of
from ..packages.content.owned import Owned
from ..packages.flaws.data import Flaws
from ..packages.listing import read_databases
from ..packages.model import Database, Package
from ..root.names import shown
from ..root.tree import Root
from .places import Places

#: error blocks an endorsement, warning and note do not; a note asks for nothing.
ERROR: t.Final = "error"
WARNING: t.Final = "warning"
NOTE: t.Final = "note"


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
class Asked:
    """What the endorser says of the image, and what the audit is to compare it with; None: nothing was given.

    `modes` are those that the image is said to boot in; `identity` what it is to say of itself; `listed` the packages
    of a manifest, as (name, version); `scanner` a command, in which ``{root}`` stands for the tree.
    """

    accounts: frozenset[str] = frozenset()
    package_keys: frozenset[str] = frozenset()
    modes: tuple[str, ...] | None = None
    identity: t.Mapping[str, str] | None = None
    flaws: Flaws | None = None
    listed: frozenset[tuple[str, str]] | None = None
    patterns: tuple[re.Pattern[bytes], ...] | None = None
    scanner: tuple[str, ...] = ()
    scanner_timeout: float = 3600.0
    free_space: bool = True


@dataclass(frozen=True)
class Subject:
    """What is audited: the tree, what is known of its places, the image that it lies on, and what was asked.

    What several checks read is read once. Each property raises `GuestError`, as often as it is asked for.
    """

    root: Root
    places: Places
    image: str | None = None
    asked: Asked = field(default_factory=Asked)

    @functools.cached_property
    def survey(self) -> Survey:
        return survey(self.root, image=self.image)

    @functools.cached_property
    def databases(self) -> tuple[Database, ...]:
        return read_databases(self.root)

    @property
    def packages(self) -> list[tuple[Database, Package]]:
        return [(database, package) for database in self.databases for package in database.packages]

    @functools.cached_property
    def owned(self) -> Owned:
        return Owned(self.root)

    @functools.cached_property
    def layout(self) -> Layout | None:
        return None if self.disk is None else read_layout(self.disk)

    @property
    def disk(self) -> str | None:
        """The raw disk of the image."""
        return None if self.image is None else raw_of(self.image, self.root.path)


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
