# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Following endorser lists: the site's own subscriptions to the image lists of the endorsers that it accepts.

What is followed is what the accepted version of an endorser list says, offline: a subscription that it no longer asks
for is ended, one with other terms is changed. A new one is committed together with an acceptable message of its list,
as ever. What a person has subscribed to, or has ended, is left alone.
"""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ...errors import TrustError, VmimagesError, unexpected
from ..endorsers import members, registry
from ..endorsers.endorser import Pair
from ..judgement import snapshot
from ..judgement.assess import active_lists, subscription_of
from ..judgement.path_status import AnchorStore, Judge
from ..judgement.records import list_records
from ..judgement.verdict import list_reasons
from ..subscription import Subscription
from .accept import accepted, commit, report_on, settle
from .offer import Accepted, Offer, fetch_offer, require_message
from .polls import note_poll
from .report import ListReport
from .sessions import Sessions

if t.TYPE_CHECKING:
    from ..endorsers.warrants import Authorisation
    from ..store.catalogue import Catalogue

_PARALLEL: t.Final = 16

_Event = tuple[str, dict[str, t.Any]]


@dataclass(frozen=True)
class Following:
    """What the endorser lists ask for: subscriptions to end (with the reason), to change, and to make."""

    ended: tuple[tuple[str, str], ...] = ()
    changed: tuple[Subscription, ...] = ()
    wanted: tuple[Subscription, ...] = ()

    def events(self) -> list[_Event]:
        """The journal's words for all of it that needs no network."""
        return [
            *(("unsubscribed", {"identifier": name, "reason": reason}) for name, reason in self.ended),
            *(("subscribed", subscription.as_dict()) for subscription in self.changed),
        ]

    def actions(self) -> tuple[dict[str, t.Any], ...]:
        """The same for the actions of an outcome."""
        return (
            *({"action": "unsubscribe", "list": name, "reason": reason} for name, reason in self.ended),
            *({"action": "subscribe", "list": subscription.identifier} for subscription in self.changed),
        )


def following(catalogue: Catalogue, names: t.Iterable[str], planned: Subscription | None = None) -> Following:
    """What the endorser lists `names` ask for, as they are now; also those that are not subscribed any more.

    `planned` are the terms that one of them is to have.
    """
    judge = Judge(catalogue)
    found = [_of_list(catalogue, name, judge, planned) for name in names]
    return Following(
        ended=tuple(item for one in found for item in one.ended),
        changed=tuple(item for one in found for item in one.changed),
        wanted=tuple(item for one in found for item in one.wanted),
    )


def endorser_lists(catalogue: Catalogue, names: t.Sequence[str] = ()) -> list[str]:
    """Those of the lists (of all subscribed ones) that are endorser lists."""
    rows = catalogue.rows("SELECT list_id FROM lists WHERE kind = 'endorserlist' AND active = 1 ORDER BY list_id")
    return [row["list_id"] for row in rows if not names or row["list_id"] in names]


def follow(
    catalogue: Catalogue,
    names: t.Sequence[str],
    anchors: AnchorStore,
    *,
    check: bool,
    planned: Subscription | None = None,
) -> tuple[list[ListReport], tuple[dict[str, t.Any], ...]]:
    """Do what the endorser lists `names` ask for: the reports of new lists, and the actions.

    Lists that fail are reported, and tried again by the next refresh. With `check` their servers are asked, and nothing
    is written; with `planned`, terms that are not recorded, what they change and end is told.
    """
    if not names:
        return [], ()
    if planned is not None:
        return [], following(catalogue, names, planned).actions()
    found = _settle_known(catalogue, names, check=check)
    changed = () if check else found.changed
    if not check and (changed or found.wanted):
        # Their servers may be silent for long: gates need verdicts meanwhile.
        snapshot.ensure(catalogue)
    offers = _ask(catalogue, (*changed, *found.wanted), anchors)
    known = [
        settle(catalogue, t.cast(str, subscription.identifier), subscription, offer, anchors, check=check)
        for subscription, offer in zip(changed, offers)
    ]
    new = [
        _introduce(catalogue, subscription, offer, anchors, check=check)
        for subscription, offer in zip(found.wanted, offers[len(changed) :])
    ]
    made = [{"action": "subscribe", "list": report.identifier} for report in new if report.changes]
    return [*known, *new], (*found.actions(), *made)


def _settle_known(catalogue: Catalogue, names: t.Sequence[str], *, check: bool) -> Following:
    """End and change subscriptions as the endorser lists say; what is to be made new is only told."""
    found = following(catalogue, names)
    if found.events() and not check:
        with catalogue.writing() as writer:
            found = following(catalogue, names)
            if found.events():
                writer.commit(*found.events())
        # What one endorser list has given up, another one may ask for.
        found = replace(found, wanted=following(catalogue, names).wanted)
    return found


def _ask(catalogue: Catalogue, wanted: t.Sequence[Subscription], anchors: AnchorStore) -> list[Offer]:
    """Ask the lists' servers side by side, for the whole messages."""
    if not wanted:
        return []
    judge, now = Judge(catalogue, anchors=anchors), catalogue.now()
    questions = [
        (
            subscription,
            judge.allowed(subscription, now),
            accepted(catalogue, subscription.identifier, subscription, anchors) if subscription.identifier else None,
        )
        for subscription in wanted
    ]
    with Sessions(wanted) as sessions, ThreadPoolExecutor(max_workers=min(_PARALLEL, len(wanted))) as pool:

        def ask(subscription: Subscription, allowed: Authorisation, last: Accepted | None) -> Offer:
            session = sessions.of(subscription)
            try:
                return fetch_offer(
                    subscription, anchors, allowed=allowed, last=last, validators=None, now=now, session=session
                )
            except Exception as error:
                return Offer("failed", error=unexpected(error, "list"))

        return list(pool.map(lambda question: ask(*question), questions))


def _introduce(
    catalogue: Catalogue, subscription: Subscription, offer: Offer, anchors: AnchorStore, *, check: bool
) -> ListReport:
    """Commit a new subscription with the message of its list."""
    try:
        _verified, content = require_message(offer)
        pinned = replace(subscription, identifier=content.identifier)
        if check:
            return report_on(catalogue, content.identifier, pinned, offer)
        with catalogue.writing() as writer:
            if _is_settled(catalogue, pinned):
                version = accepted(catalogue, content.identifier, pinned, anchors)
                known = version.version if version else None
                return ListReport(content.identifier, pinned.uri, "same", known, known)
            report = commit(writer, pinned, offer, anchors, first=[("subscribed", pinned.as_dict())])
        note_poll(catalogue, content.identifier, pinned.uri, offer, None)
        return report
    except Exception as found:
        error = found if isinstance(found, VmimagesError) else unexpected(found, "list")
        status = "refused" if isinstance(error, TrustError) else "failed"
        return ListReport(subscription.identifier or "", subscription.uri, status, None, None, error=error)


def _of_list(catalogue: Catalogue, name: str, judge: Judge, planned: Subscription | None) -> Following:
    record = list_records(catalogue, [name])[name]
    subscription = planned if planned is not None and planned.identifier == name else record.subscription
    present = _derived(catalogue, name)
    if not record.active:
        return _ending(name, present)
    status = judge.status(name, record.subscription, catalogue.now())
    if list_reasons(record.facts(), status, catalogue.now()):
        # Nobody of it is authorised as it is; what it asks for is known again when it is good again.
        return Following()
    asked = _asked(catalogue, subscription, name)
    changed: list[Subscription] = []
    wanted: list[Subscription] = []
    for one in asked:
        standing = _standing(present, one)
        if standing is None:
            if not _is_settled(catalogue, one):
                wanted.append(one)
            continue
        pinned = replace(one, identifier=standing)
        if present.pop(standing) != pinned:
            changed.append(pinned)
    ended = tuple((gone, _why(catalogue, subscription, its_own)) for gone, its_own in present.items())
    return Following(ended, tuple(changed), tuple(wanted))


def ending(catalogue: Catalogue, name: str) -> Following:
    """What the end of the subscription to an endorser list brings with it."""
    return _ending(name, _derived(catalogue, name))


def _ending(name: str, present: t.Iterable[str]) -> Following:
    return Following(ended=tuple((one, _words("The site no longer subscribes to", name)) for one in present))


def _asked(catalogue: Catalogue, subscription: Subscription, name: str) -> list[Subscription]:
    """The subscriptions to the lists of all persons who are accepted; one for a list that several persons sign."""
    terms = subscription.terms
    if terms is None or terms.lists != "subscribe":
        return []
    given = [
        (one.person, uri, identifier)
        for one in members.elected(catalogue, name)
        if terms.accepts(one.person) and not _is_barred(catalogue, one.pairs)
        for uri, identifier in one.lists
    ]
    # Where one person states the list's identifier and another one does not, it is one list.
    stated = {uri: identifier for _person, uri, identifier in given if identifier}
    addresses: dict[str, tuple[str, str | None]] = {}
    persons: dict[str, list[str]] = {}
    for person, uri, identifier in given:
        known = identifier or stated.get(uri)
        addresses.setdefault(known or uri, (uri, known))
        persons.setdefault(known or uri, []).append(person)
    return [subscription.derived(uri, known, persons[key]) for key, (uri, known) in addresses.items()]


def _is_barred(catalogue: Catalogue, pairs: t.Sequence[Pair]) -> bool:
    """Whether the site has taken away every one of these pairs."""
    return {(row["dn"], row["ca"]) for row in registry.barred(catalogue)}.issuperset(pairs)


def _derived(catalogue: Catalogue, name: str) -> dict[str, Subscription]:
    """The site's own subscriptions that an endorser list has brought, by the identifiers of their lists."""
    found = {one: subscription_of(catalogue, one) for one in active_lists(catalogue)}
    return {one: subscription for one, subscription in found.items() if subscription.origin == name}


def _standing(present: t.Mapping[str, Subscription], wanted: Subscription) -> str | None:
    if wanted.identifier is not None:
        return wanted.identifier if wanted.identifier in present else None
    return next((one for one, subscription in present.items() if subscription.uri == wanted.uri), None)


def _is_settled(catalogue: Catalogue, wanted: Subscription) -> bool:
    """Whether a person, or another endorser list, has the list already; or a person has ended it."""
    row = catalogue.row(
        "SELECT 1 FROM lists WHERE (list_id = ? OR uri = ?) AND (active = 1 OR ended = '')",
        wanted.identifier or "",
        wanted.uri,
    )
    return row is not None


def _why(catalogue: Catalogue, of: Subscription, subscription: Subscription) -> str:
    """Why the endorser list `of` does not ask for a subscription any more."""
    terms, name = of.terms, of.identifier or ""
    for named in subscription.named:
        if members.pairs_of(catalogue, name, named.name) is None:
            return members.absence(catalogue, name, named.name)
        if terms is not None and terms.lists == "subscribe" and not terms.accepts(named.name):
            return f"The site does not accept {named.name} of the endorser list {name}."
        if _is_barred(catalogue, members.pairs_of(catalogue, name, named.name) or ()):
            return f"The site has taken away what {named.name} of the endorser list {name} signs with."
    if terms is not None and terms.lists != "subscribe":
        return _words("The site no longer follows", name)
    return (
        f"The endorser list {name} no longer gives this list for {' or '.join(one.name for one in subscription.named)}."
    )


def _words(what: str, name: str) -> str:
    return f"{what} the endorser list {name}."
