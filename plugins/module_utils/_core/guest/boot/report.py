# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What image_boot_info answers: the survey as plain values, with the matrix."""

from __future__ import annotations

import typing as t

from ..root.names import printable
from .matrix import judge
from .survey import Survey


def report(survey: Survey) -> dict[str, t.Any]:
    """The survey and the matrix as mappings and lists, fit to be printed."""
    return printable(_told(survey))


def _told(survey: Survey) -> dict[str, t.Any]:
    disk = survey.disk
    return {
        "system": survey.system.as_dict(),
        "kernels": [kernel.as_dict() for kernel in survey.kernels],
        "loader": survey.loader.as_dict(),
        "pygrub": survey.pygrub.as_dict(),
        "initrds": [survey.initrds[path].as_dict() for path in sorted(survey.initrds)],
        "mounts": [
            {"source": mount.source, "target": mount.target, "type": mount.kind} for mount in survey.fstab.mounts
        ],
        "consoles": survey.consoles.as_dict(),
        "pinning": [{"path": path, "text": text} for path, text in survey.pins],
        "layout": None if disk is None else disk.layout.as_dict(),
        "matrix": {mode: verdict.as_dict() for mode, verdict in judge(survey).items()},
        "problems": [problem.as_dict() for problem in survey.problems],
    }
