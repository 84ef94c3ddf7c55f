# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a refresh did, list by list, and as one outcome."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from ...outcome import Outcome

if t.TYPE_CHECKING:
    from ...errors import VmimagesError
    from ...imagelist.difference import Sides


@dataclass(frozen=True)
class ListReport:
    """What a refresh did for one list, or would do; images are told by their UUIDs, endorsers by their names.

    `changed_images` have other octets than before, `reused_versions` are those of them whose version stayed the same.
    `endorsers` are those of an endorser list that were added, removed or changed.
    """

    identifier: str
    uri: str
    status: str
    version: str | None
    previous_version: str | None
    new_images: tuple[str, ...] = ()
    withdrawn_images: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    changed_images: tuple[str, ...] = ()
    reused_versions: tuple[str, ...] = ()
    endorsers: Sides | None = None
    error: VmimagesError | None = None

    @property
    def changes(self) -> bool:
        """Whether a message was accepted."""
        return self.status in ("new", "renewed")

    def warnings(self) -> tuple[str, ...]:
        """What a person should hear of."""
        clashes = (
            f"Image {image} of list {self.identifier} is refused: its UUID belongs to another list (uuid_clash)."
            for image in self.clashes
        )
        reused = (
            f"Image {image} of list {self.identifier} has other octets under the version it had before."
            for image in self.reused_versions
        )
        return (*clashes, *reused)

    def as_dict(self) -> dict[str, t.Any]:
        """For results and ``--json``."""
        about: dict[str, t.Any] = {
            "identifier": self.identifier,
            "uri": self.uri,
            "status": self.status,
            "version": self.version,
            "previous_version": self.previous_version,
            **({"error": self.error.as_dict()} if self.error else {}),
        }
        if self.endorsers is not None:
            sides = self.endorsers
            return {
                **about,
                "new_endorsers": list(sides.added),
                "gone_endorsers": list(sides.removed),
                "changed_endorsers": list(sides.changed),
            }
        return {
            **about,
            "new_images": list(self.new_images),
            "withdrawn_images": list(self.withdrawn_images),
            "changed_images": list(self.changed_images),
            "clashes": list(self.clashes),
        }


def outcome(reports: t.Sequence[ListReport], actions: t.Sequence[t.Mapping[str, t.Any]] = ()) -> Outcome:
    """The reports as one outcome; clashes and failures are warnings, the caller decides whether to fail.

    `actions` are what was done beside accepting lists.
    """
    changed = [report for report in reports if report.changes]
    return Outcome(
        changed=bool(changed or actions),
        before={report.identifier: {"version": report.previous_version} for report in changed},
        after={report.identifier: {"version": report.version} for report in changed},
        actions=(
            *({"action": "accept", "list": item.identifier, "version": item.version} for item in changed),
            *actions,
        ),
        warnings=tuple(warning for report in reports for warning in report.warnings()),
        data={
            "lists": [report.as_dict() for report in reports],
            "failures": [
                {"list": report.identifier, "image": None, **report.error.as_dict()}
                for report in reports
                if report.error is not None
            ],
        },
    )
