# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Subscribe and unsubscribe: the administrator's word about a list, committed only once a message of it was accepted
(or when told not to ask the server)."""

from __future__ import annotations

import typing as t
from dataclasses import replace
from datetime import timedelta

from ...endorserlist.kinds import IMAGE_LIST
from ...errors import SiteError, VmimagesError
from ...outcome import Outcome
from ..endorsers.warrants import require_known
from ..judgement import snapshot
from ..judgement.assess import active_lists, require_list, subscription_of
from ..judgement.path_status import AnchorStore, Judge
from ..subscription import Subscription
from .accept import accepted, commit, report_on, settle
from .offer import Accepted, Offer, fetch_offer, require_message
from .polls import last_refreshed, note_poll
from .rebaseline import Act, action, describe, event, is_due, warnings
from .report import ListReport

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue

_NOTHING: t.Final[t.Mapping[str, t.Any]] = {"subscription": None, "list": None, "rebaseline": None}


def subscribe(
    catalogue: Catalogue,
    wanted: Subscription,
    *,
    refresh: str = "stale",
    max_age: timedelta = timedelta(hours=1),
    move: bool = False,
    act: Act | None = None,
    check: bool = False,
) -> Outcome:
    """Make the subscription as `wanted`, and fetch its list when it is new, changed, or (`refresh`) due.

    ``stale`` asks the server when the last success is longer ago than `max_age`. A new subscription, or a new address
    (`move`), is committed together with an acceptable message, and not at all when there is none; any other change
    counts at once, so that an endorser can be removed while the server is down. With ``never`` nothing is fetched, and
    then `wanted` must name the identifier. `act` re-baselines the list, and has its server asked when it is new.
    Raises the list's own refusal, ``subscription_clash``, ``subscription_invalid``, and ``unknown_endorser`` for a name
    that the site's registry never held.
    """
    require_known(catalogue, wanted)
    present = _present(catalogue, wanted, move=move)
    if present is not None and wanted.identifier is None:
        wanted = replace(wanted, identifier=present.identifier)
    if act is not None and wanted.identifier is None:
        raise SiteError("subscription_invalid", "identifier: needed to re-baseline a list.")
    due = act if act is not None and is_due(catalogue, wanted.identifier or "", act) else None
    report: ListReport | None
    if present == wanted and due is None:
        report = _refresh_known(catalogue, wanted, refresh=refresh, max_age=max_age, check=check)
    elif refresh == "never":
        if wanted.identifier is None:
            raise SiteError("subscription_invalid", "identifier: needed when the list is not fetched.")
        report = None
        if not check:
            _record(catalogue, wanted, present, due)
            snapshot.write(catalogue)
    elif present is not None and present.uri == wanted.uri:
        report = _redefine(catalogue, wanted, present, due, check=check)
    else:
        wanted, report = _introduce(catalogue, wanted, due, move=move, check=check)
    made = describe(catalogue, wanted.identifier or "", act, planned=due is not None and check) if act else None
    return _outcome(wanted, present, report, due, made)


def unsubscribe(
    catalogue: Catalogue,
    *,
    identifier: str | None = None,
    uri: str | None = None,
    kind: str = IMAGE_LIST,
    check: bool = False,
) -> Outcome:
    """End a subscription; the messages and the accepted version are kept, so that a later one cannot be rolled back.

    Raises ``subscription_clash`` for a list of another kind.
    """
    try:
        name = require_list(catalogue, identifier or uri or "")
    except SiteError:
        return Outcome(changed=False, data=_NOTHING)
    present = subscription_of(catalogue, name)
    _require_kind(catalogue, name, kind)
    if not check:
        with catalogue.writing() as writer:
            writer.commit(("unsubscribed", {"identifier": name}))
        snapshot.write(catalogue)
    return Outcome(
        changed=True,
        before=present.as_dict(),
        actions=({"action": "unsubscribe", "list": name},),
        data=_NOTHING,
    )


def _present(catalogue: Catalogue, wanted: Subscription, *, move: bool) -> Subscription | None:
    """The subscription that `wanted` speaks of, if there is one; ``subscription_clash`` where it would be a second."""
    found = None
    if wanted.identifier is not None:
        _require_kind(catalogue, wanted.identifier, wanted.kind)
    for name in active_lists(catalogue):
        other = subscription_of(catalogue, name)
        if other.identifier == wanted.identifier:
            if other.uri != wanted.uri and not move:
                raise _clash(f"List {name} is subscribed already, at {other.uri}, and {wanted.uri} is another address.")
            found = other
        elif other.uri == wanted.uri:
            if wanted.identifier is not None:
                raise _clash(f"{wanted.uri} is subscribed already, as list {name} and not {wanted.identifier}.")
            _require_kind(catalogue, name, wanted.kind)
            found = other
    return found


def _require_kind(catalogue: Catalogue, name: str, kind: str) -> None:
    """What a list is about never changes: its archived messages are read by it."""
    row = catalogue.row("SELECT kind FROM lists WHERE list_id = ?", name)
    if row is not None and row["kind"] != kind:
        raise _clash(f"List {name} is of the kind {row['kind']}: it is subscribed to with {row['kind']}_subscribe.")


def _refresh_known(
    catalogue: Catalogue, wanted: Subscription, *, refresh: str, max_age: timedelta, check: bool
) -> ListReport | None:
    name = t.cast("str", wanted.identifier)
    last = last_refreshed(catalogue, name)
    due = last is None or last + max_age <= catalogue.now()
    if refresh == "never" or (refresh == "stale" and not due):
        if not check:
            snapshot.ensure(catalogue)
        return None
    report = _ask(catalogue, wanted, None, check=check)
    if not check:
        snapshot.write(catalogue)
    if report.error is not None:
        raise report.error
    return report


def _redefine(
    catalogue: Catalogue, wanted: Subscription, present: Subscription, act: Act | None, *, check: bool
) -> ListReport:
    """Other terms for a subscribed list, or an act: committed first, whatever its server says then."""
    if not check:
        _record(catalogue, wanted, present, act)
        snapshot.write(catalogue)
    report = _ask(catalogue, wanted, act, check=check)
    if not check:
        snapshot.write(catalogue)
    return report


def _ask(catalogue: Catalogue, wanted: Subscription, act: Act | None, *, check: bool) -> ListReport:
    """Ask the server of a subscribed list, and apply what it answers; `act` is about to be recorded, or has been."""
    name = t.cast(str, wanted.identifier)
    anchors = AnchorStore()
    last = accepted(catalogue, name, wanted, anchors, rebaseline=act.digest if act else None)
    offer = _fetch(catalogue, wanted, anchors, last)
    return settle(catalogue, name, wanted, offer, anchors, check=check)


def _fetch(catalogue: Catalogue, wanted: Subscription, anchors: AnchorStore, last: Accepted | None) -> Offer:
    """Ask for the whole message, whatever the server said before."""
    allowed = Judge(catalogue, anchors=anchors).allowed(wanted, catalogue.now())
    return fetch_offer(wanted, anchors, allowed=allowed, last=last, validators=None, now=catalogue.now())


def _record(catalogue: Catalogue, wanted: Subscription, present: Subscription | None, act: Act | None) -> None:
    with catalogue.writing() as writer:
        writer.commit(*_events(catalogue, wanted, present, act))


def _events(
    catalogue: Catalogue, wanted: Subscription, present: Subscription | None, act: Act | None
) -> list[tuple[str, dict[str, t.Any]]]:
    events = [("subscribed", wanted.as_dict())] if wanted != present else []
    return [*events, event(catalogue, t.cast(str, wanted.identifier), act)] if act else events


def _introduce(
    catalogue: Catalogue, wanted: Subscription, act: Act | None, *, move: bool, check: bool
) -> tuple[Subscription, ListReport]:
    """A new subscription or address: its list must be acceptable now, then both are committed, in this order."""
    anchors = AnchorStore()
    last = None
    if wanted.identifier:
        digest = act.digest if act else None
        last = accepted(catalogue, wanted.identifier, wanted, anchors, rebaseline=digest)
    offer = _fetch(catalogue, wanted, anchors, last)
    _verified, content = require_message(offer)
    pinned = replace(wanted, identifier=content.identifier)
    if wanted.identifier is None:
        last = accepted(catalogue, content.identifier, pinned, anchors)
        if last is not None:
            offer = _fetch(catalogue, pinned, anchors, last)
            require_message(offer)
    if check:
        _present(catalogue, pinned, move=move)
        return pinned, report_on(catalogue, content.identifier, pinned, offer)
    return pinned, _commit(catalogue, pinned, offer, act, anchors, move=move)


def _commit(
    catalogue: Catalogue, pinned: Subscription, offer: Offer, act: Act | None, anchors: AnchorStore, *, move: bool
) -> ListReport:
    name = t.cast("str", pinned.identifier)
    with catalogue.writing() as writer:
        present = _present(catalogue, pinned, move=move)
        events = _events(catalogue, pinned, present, act)
        # One piece: no subscription without its message.
        digest = act.digest if act else None
        report = commit(writer, pinned, offer, anchors, first=events, rebaseline=digest)
    note_poll(catalogue, name, pinned.uri, offer, None)
    snapshot.write(catalogue)
    return report


def _outcome(
    wanted: Subscription,
    present: Subscription | None,
    report: ListReport | None,
    act: Act | None,
    made: dict[str, t.Any] | None,
) -> Outcome:
    redefined = wanted != present
    accepts = report is not None and report.changes
    actions: list[dict[str, t.Any]] = []
    before: dict[str, t.Any] = present.as_dict() if present else {}
    after: dict[str, t.Any] = wanted.as_dict()
    if redefined:
        actions.append({"action": "subscribe", "list": wanted.identifier})
    if act is not None:
        actions.append(action(wanted.identifier or "", act))
        before["rebaseline"] = None
        after["rebaseline"] = {"digest": act.digest, "reason": act.reason}
    if report is not None and accepts:
        actions.append({"action": "accept", "list": report.identifier, "version": report.version})
        before["version"] = report.previous_version
        after["version"] = report.version
    return Outcome(
        changed=redefined or accepts or act is not None,
        before=before,
        after=after,
        actions=tuple(actions),
        warnings=(*_warnings(report), *warnings(made)),
        data={
            "subscription": wanted.as_dict(),
            "list": report.as_dict() if report else None,
            "rebaseline": made,
        },
    )


def _warnings(report: ListReport | None) -> tuple[str, ...]:
    if report is None:
        return ()
    failure = (f"The list was not refreshed: {report.error}",) if report.error else ()
    return (*failure, *report.warnings())


def _clash(text: str) -> VmimagesError:
    return SiteError("subscription_clash", text)
