# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an image boots, where nobody has handed it on: read from its file in the cache, without a trace."""

from __future__ import annotations

import tempfile
import typing as t
from pathlib import Path

from ...errors import GuestError, HypervisorError
from .approval import Approved


class BootFacts:
    """What image_boot_info says of images, each looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, t.Mapping[str, t.Any]] = {}

    def of(self, approved: Approved) -> t.Mapping[str, t.Any]:
        """The report with its matrix. It takes root, and mounts the image read-only for a moment.

        Raises `HypervisorError` ``boot_facts_missing``, `GuestError` as `mount_image` and `survey`.
        """
        if approved.path not in self._known:
            self._known[approved.path] = _look(approved)
        return self._known[approved.path]


def _look(approved: Approved) -> t.Mapping[str, t.Any]:
    # Whoever hands on boot_info needs none of these.
    from ...guest.boot.report import report
    from ...guest.boot.survey import survey
    from ...guest.mount.images import mount_image, unmount_image
    from ...guest.root.tree import Root

    with tempfile.TemporaryDirectory(prefix="hepix-instance-") as directory:
        mounted = str(Path(directory) / "root")
        try:
            mount_image(approved.path, mounted, writable=False, check=False, kind=approved.format)
        except GuestError as error:
            if error.code not in ("system_not_found", "disk_malformed"):
                raise
            raise HypervisorError(
                "boot_facts_missing", f"The image cannot be looked at: {error.sentence}", path=approved.path
            ) from error
        try:
            with Root(mounted) as root:
                # By its mount: of another format, it is a copy that is mounted.
                return report(survey(root, image=None))
        finally:
            unmount_image(mounted, check=False)
