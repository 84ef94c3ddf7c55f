# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refresh: ask the servers of many lists at once, then apply what they offer, each list whole or not at all."""

from __future__ import annotations

import contextlib
import typing as t
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from queue import Empty, SimpleQueue

from ...errors import VmimagesError, unexpected
from ...outcome import Outcome
from ..judgement import snapshot
from ..judgement.assess import active_lists
from ..judgement.path_status import AnchorStore, Judge
from ..judgement.records import list_records
from ..subscription import Subscription
from .accept import accepted, accepted_of, settle, unchanged_report
from .follow import endorser_lists, follow
from .offer import Accepted, Offer, fetch_offer, judge_octets
from .polls import note_unchanged, validators_for
from .report import ListReport, outcome
from .sessions import Sessions

if t.TYPE_CHECKING:
    from ...transfer.fetch import Validators
    from ..endorsers.warrants import Authorisation
    from ..store.catalogue import Catalogue

_PARALLEL: t.Final = 32
#: How many answers that nothing has changed are noted in one transaction, and for how long none may come before.
_NOTES: t.Final = 500
_PAUSE: t.Final = 0.2


def refresh(catalogue: Catalogue, *, lists: t.Sequence[str] = (), check: bool = False) -> Outcome:
    """Refresh all subscribed lists, or those named by identifier or address (else ``unknown_list``).

    Answers are applied as they come: one list's failure or silence is reported for that list and delays no other; the
    accepted state of a list that fails stays as it was. In check mode the servers are asked and nothing is written.
    """
    names = active_lists(catalogue, lists)
    reports: dict[str, ListReport] = {}
    anchors = AnchorStore()
    records = list_records(catalogue, names)
    subscriptions = {name: records[name].subscription for name in names}
    judge, now = Judge(catalogue, anchors=anchors), catalogue.now()
    judge.look_up(records)
    questions = [
        (name, judge.allowed(subscriptions[name], now), last, validators_for(records[name], last))
        for name in names
        for last in (accepted_of(catalogue, records[name], judge),)
    ]

    with contextlib.ExitStack() as stack:
        sessions = stack.enter_context(Sessions(subscriptions.values()))
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=max(1, min(_PARALLEL, len(names)))))

        def ask(name: str, allowed: Authorisation, last: Accepted | None, validators: Validators | None) -> Offer:
            subscription = subscriptions[name]
            session = sessions.of(subscription)
            try:
                return fetch_offer(
                    subscription, anchors, allowed=allowed, last=last, validators=validators, now=now, session=session
                )
            except Exception as error:
                return Offer("failed", error=unexpected(error, "list"))

        asked = {pool.submit(ask, *question): question for question in questions}
        unauthorised: list[tuple[str, Authorisation, Offer]] = []
        unchanged: list[str] = []
        news = False
        for answered in _as_answered(asked):
            if answered is None or len(unchanged) >= _NOTES:
                note_unchanged(catalogue, unchanged)
                unchanged.clear()
            if answered is None:
                # While a silent server is waited for, gates need verdicts on what the others have brought.
                if news and not check:
                    snapshot.ensure(catalogue)
                news = False
                continue
            (name, allowed, last, _validators), offer = asked[answered], answered.result()
            if offer.status == "unchanged" and last is not None:
                reports[name] = unchanged_report(subscriptions[name], name, last.version)
                unchanged += [] if check else [name]
            elif offer.error is not None and offer.error.code == "not_authorised":
                unauthorised.append((name, allowed, offer))
            else:
                reports[name] = settle(catalogue, name, subscriptions[name], offer, anchors, check=check)
                news = news or reports[name].changes
        note_unchanged(catalogue, unchanged)
        for name, allowed, offer in unauthorised:
            # An endorser list that came in meanwhile may have authorised the signer.
            offer = _judged_again(catalogue, name, subscriptions[name], offer, allowed, anchors)
            reports[name] = settle(catalogue, name, subscriptions[name], offer, anchors, check=check)
    followed, actions = follow(catalogue, endorser_lists(catalogue, names), anchors, check=check)
    if not check:
        snapshot.write(catalogue)
    ended = {action["list"] for action in actions if action["action"] == "unsubscribe"}
    known = {name: report for name, report in reports.items() if name not in ended}
    known.update({report.identifier: report for report in followed if report.identifier in known})
    new = [report for report in followed if report.identifier not in known]
    return outcome([*(known[name] for name in names if name in known), *new], actions)


def _as_answered(asked: t.Collection[Future[Offer]]) -> t.Iterator[Future[Offer] | None]:
    """The questions as they are answered; None whenever the next answer lets wait for it."""
    answers: SimpleQueue[Future[Offer]] = SimpleQueue()
    for future in asked:
        future.add_done_callback(answers.put)
    for _future in asked:
        try:
            yield answers.get(timeout=_PAUSE)
        except Empty:
            yield None
            yield answers.get()


def _judged_again(
    catalogue: Catalogue,
    name: str,
    subscription: Subscription,
    offer: Offer,
    allowed: Authorisation,
    anchors: AnchorStore,
) -> Offer:
    now, judge = catalogue.now(), Judge(catalogue, anchors=anchors)
    present = judge.allowed(subscription, now)
    if present == allowed:
        return offer
    last = accepted(catalogue, name, subscription, anchors)
    try:
        return judge_octets(
            offer.octets, subscription, anchors, allowed=present, last=last, now=now, validators=offer.validators
        )
    except VmimagesError as error:
        return replace(offer, error=error)
