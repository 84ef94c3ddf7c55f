# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subscribe to a VO's list of endorsers as a whole, and do at once what it asks for."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import timedelta

from ...endorserlist.kinds import ENDORSER_LIST
from ...outcome import Outcome
from ..endorsers import members
from ..judgement import snapshot
from ..judgement.assess import subscription_of
from ..judgement.path_status import AnchorStore
from ..subscription import Subscription
from .follow import ending, follow
from .subscribe import subscribe, unsubscribe

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue
    from .report import ListReport


#: The outcome's data where there is no subscription.
NOTHING: t.Final[t.Mapping[str, t.Any]] = {
    "subscription": None,
    "list": None,
    "endorsers": [],
    "followed": [],
    "failures": [],
}


def subscribe_endorsers(
    catalogue: Catalogue,
    wanted: Subscription,
    *,
    refresh: str = "stale",
    max_age: timedelta = timedelta(hours=1),
    move: bool = False,
    check: bool = False,
) -> Outcome:
    """Make the subscription to an endorser list as `wanted`, as `subscribe` does; then subscribe to the image lists
    of the endorsers that the site accepts, and end what it no longer follows.

    An image list that fails is among the ``failures`` of the outcome; everything else is done all the same.
    """
    outcome = subscribe(catalogue, wanted, refresh=refresh, max_age=max_age, move=move, check=check)
    name = outcome.data["subscription"]["identifier"]
    changes = any(action["action"] == "subscribe" for action in outcome.actions)
    planned = replace(wanted, identifier=name) if check and changes else None
    return _followed(catalogue, outcome, name, check=check, planned=planned)


def unsubscribe_endorsers(
    catalogue: Catalogue, *, identifier: str | None = None, uri: str | None = None, check: bool = False
) -> Outcome:
    """End the subscription to an endorser list, and with it those that the site made because of it."""
    row = catalogue.row(
        "SELECT list_id FROM lists WHERE kind = ? AND (list_id = ? OR uri = ?)",
        ENDORSER_LIST,
        (identifier or "").lower(),
        uri or "",
    )
    outcome = unsubscribe(catalogue, identifier=identifier, uri=uri, kind=ENDORSER_LIST, check=check)
    name = row["list_id"] if row else ""
    if check and outcome.changed:
        outcome = replace(outcome, actions=(*outcome.actions, *ending(catalogue, name).actions()))
    return _followed(catalogue, outcome, name, check=check)


def _followed(
    catalogue: Catalogue, outcome: Outcome, name: str, *, check: bool, planned: Subscription | None = None
) -> Outcome:
    reports: list[ListReport] = []
    actions: tuple[dict[str, t.Any], ...] = ()
    persons = None
    known = catalogue.row("SELECT active FROM lists WHERE list_id = ?", name)
    if known is not None:
        reports, actions = follow(catalogue, [name], AnchorStore(), check=check, planned=planned)
        if actions and not check:
            snapshot.write(catalogue)
        if known["active"]:
            persons = members.accepted(catalogue, name, subscription_of(catalogue, name).terms)
    return replace(
        outcome,
        changed=outcome.changed or bool(actions),
        actions=(*outcome.actions, *actions),
        warnings=(*outcome.warnings, *(warning for report in reports for warning in report.warnings())),
        data={
            "subscription": outcome.data["subscription"],
            "list": outcome.data["list"],
            "endorsers": persons or [],
            "followed": [report.as_dict() for report in reports],
            "failures": [
                {"list": report.identifier or None, "image": None, **report.error.as_dict()}
                for report in reports
                if report.error is not None
            ],
        },
    )
