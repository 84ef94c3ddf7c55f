# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an image says of itself (endorsement policy, clause 5): written before the image is measured."""

from __future__ import annotations

import json
import typing as t

from ...root.draft import Draft
from ..wishes import Wishes

IDENTITY: t.Final = "/etc/hepix-image.json"
#: What an image is to say, each a text.
FIELDS: t.Final = ("uuid", "title", "version", "created", "endorser")


def plan_identity(draft: Draft, wishes: Wishes) -> None:
    """Plan the file, if it was asked for. Raises `GuestError`."""
    if wishes.identity is None:
        return
    text = json.dumps(dict(wishes.identity), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    draft.change(IDENTITY, text.encode(), "P49", "The image does not say, or says otherwise, which image it is.")
