# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a context disk, and whether that stops it: the site's limits are enforced, told, or left alone."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from ...errors import REMEDIES, ContextError

#: What becomes of a breach of the site's limits (option ``restrict``).
RESTRICTIONS: t.Final = ("enforce", "warn", "off")


@dataclass(frozen=True)
class Finding:
    """One thing that was found: a stable `code`, `where` in the options, the sentence, and whether it is a breach."""

    code: str
    where: str
    detail: str
    breach: bool

    @property
    def sentence(self) -> str:
        """What was found and what to do, for people."""
        return f"{self.where}: {self.detail}. {REMEDIES[self.code]}"

    def as_dict(self) -> dict[str, t.Any]:
        """The finding for results."""
        level = "refused" if self.breach else "warning"
        return {"code": self.code, "where": self.where, "level": level, "sentence": self.sentence}


@dataclass
class Lint:
    """Collects findings while a disk is composed; `settle` then refuses the disk if there is a breach to enforce."""

    restrict: str = "enforce"
    findings: list[Finding] = field(default_factory=list)

    def breach(self, code: str, where: str, detail: str) -> None:
        """Note that a limit of the site would be crossed."""
        if self.restrict != "off":
            self._note(Finding(code=code, where=where, detail=detail, breach=self.restrict == "enforce"))

    def warn(self, code: str, where: str, detail: str) -> None:
        """Note what is allowed, and probably not meant."""
        if self.restrict != "off":
            self._note(Finding(code=code, where=where, detail=detail, breach=False))

    def _note(self, finding: Finding) -> None:
        if finding not in self.findings:
            self.findings.append(finding)

    def settle(self) -> None:
        """Raise `ContextError` for the first breach; its context tells all findings."""
        breaches = [finding for finding in self.findings if finding.breach]
        if not breaches:
            return
        first = breaches[0]
        more = "" if len(breaches) == 1 else f" ({len(breaches) - 1} more findings like this one are in the context)"
        raise ContextError(
            first.code,
            f"{first.where}: {first.detail}{more}",
            findings=[finding.as_dict() for finding in self.findings],
        )
