# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operation did, or in check mode would do: the same for every module and command."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """The result of planning and (outside check mode) applying one operation.

    `before` and `after` describe the meaning that changed, for a diff (never raw octets, never a secret);
    `actions` lists what was or would be done, in order, each a mapping with at least ``action``;
    `data` holds the operation's further return values.
    """

    changed: bool
    before: t.Mapping[str, t.Any] = field(default_factory=dict)
    after: t.Mapping[str, t.Any] = field(default_factory=dict)
    actions: tuple[t.Mapping[str, t.Any], ...] = ()
    warnings: tuple[str, ...] = ()
    data: t.Mapping[str, t.Any] = field(default_factory=dict)
