# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an endorser list must satisfy before it may be applied: the same steps as an image list."""

from __future__ import annotations

import datetime
import typing as t

from ..imagelist.check import check_content, count
from ..trust.steps import Explanation
from .model import EndorserList
from .reader import read_list

if t.TYPE_CHECKING:
    from cryptography import x509


def check_list(
    content: bytes,
    certificate: x509.Certificate,
    when: datetime.datetime,
    *,
    identifier: t.Optional[str],
    endorsers: t.Optional[t.Sequence[tuple[str, str]]],
    remark: str = "",
    last_accepted: t.Optional[t.Mapping[str, str]],
    rebaseline: t.Optional[str] = None,
    set_aside: t.Collection[str] = (),
    explanation: t.Optional[Explanation] = None,
) -> EndorserList:
    """Steps 11 to 16 of a verified endorser list; parameters and codes are those of `imagelist.check.check_list`.

    `endorsers` are the authorities that the subscription names: who may say for the VO whom it has elected.
    """
    return check_content(
        content,
        certificate,
        when,
        read=read_list,
        tell=lambda found: count(len(found.members), "endorser"),
        identifier=identifier,
        endorsers=endorsers,
        remark=remark,
        last_accepted=last_accepted,
        rebaseline=rebaseline,
        set_aside=set_aside,
        explanation=explanation,
    )
