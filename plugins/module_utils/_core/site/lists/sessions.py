# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections for asking many lists: one session for all subscriptions that trust the same web servers."""

from __future__ import annotations

import contextlib
import typing as t
from dataclasses import replace

from ...transfer.session import Session

if t.TYPE_CHECKING:
    from ...transfer.policy import Policy
    from ..subscription import Subscription


class Sessions(contextlib.ExitStack):
    """Sessions for `subscriptions`, closed at the end of the block.

    Every host that the administrator has subscribed to is trusted in all of them: it was named for itself.
    """

    def __init__(self, subscriptions: t.Iterable[Subscription]) -> None:
        super().__init__()
        self._sessions: dict[Policy, Session] = {}
        self._policies: dict[Subscription, Policy] = {}
        known = [(subscription, subscription.policy(content=False)) for subscription in subscriptions]
        hosts: frozenset[str] = frozenset().union(*(policy.trusted_hosts for _subscription, policy in known))
        trusting = {own: replace(own, trusted_hosts=hosts) for _subscription, own in known}
        for subscription, own in known:
            policy = self._policies[subscription] = trusting[own]
            if policy not in self._sessions:
                self._sessions[policy] = self.enter_context(Session(policy))

    def of(self, subscription: Subscription) -> Session:
        """The session for one of the subscriptions."""
        return self._sessions[self._policies[subscription]]
