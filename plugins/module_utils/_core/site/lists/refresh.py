# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refresh: ask the servers of many lists at once, then apply what they offer, each list whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import typing as t
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import timedelta

from ...errors import SiteError, TrustError, VmimagesError
from ...imagelist.check import content_digest
from ...imagelist.difference import compare
from ...outcome import Outcome
from ...times import from_text, to_text
from ...trust.certificate import der_of
from ..endorsers.warrants import Authorisation, authorisation
from ..judgement import snapshot
from ..judgement.assess import active_lists, pending_rebaseline, subscription_of
from ..judgement.path_status import AnchorStore, Judge
from ..subscription import Subscription
from .offer import Accepted, Offer, fetch_offer, judge_octets, require_message
from .polls import note_poll, validators_for
from .report import ListReport, outcome
from .sessions import Sessions

if t.TYPE_CHECKING:
    from ...transfer.fetch import Validators
    from ..store.catalogue import Catalogue, Writer

_PARALLEL: t.Final = 32
#: How long a refusal with the same code is not journaled again.
_REFUSAL_REST: t.Final = timedelta(days=1)


def refresh(catalogue: Catalogue, *, lists: t.Sequence[str] = (), check: bool = False) -> Outcome:
    """Refresh all subscribed lists, or those named by identifier or address (else ``unknown_list``).

    Answers are applied as they come: one list's failure or silence is reported for that list and delays no other; the
    accepted state of a list that fails stays as it was. In check mode the servers are asked and nothing is written.
    """
    names = active_lists(catalogue, lists)
    reports: dict[str, ListReport] = {}
    anchors = AnchorStore()
    subscriptions = {name: subscription_of(catalogue, name) for name in names}
    questions = [
        (
            name,
            authorisation(catalogue, subscriptions[name]),
            last,
            validators_for(catalogue, name, subscriptions[name].uri, last),
        )
        for name in names
        for last in (accepted(catalogue, name, subscriptions[name], anchors),)
    ]
    now = catalogue.now()

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
                return Offer("failed", error=_unexpected(error))

        asked = {pool.submit(ask, *question): question[0] for question in questions}
        for answered in as_completed(asked):
            name = asked[answered]
            reports[name] = settle(catalogue, name, subscriptions[name], answered.result(), anchors, check=check)
    if not check:
        snapshot.write(catalogue)
    return outcome([reports[name] for name in names])


def settle(
    catalogue: Catalogue, name: str, subscription: Subscription, offer: Offer, anchors: AnchorStore, *, check: bool
) -> ListReport:
    """Apply one offer (outside check mode), note the poll, and report."""
    try:
        if offer.error is not None:
            raise offer.error
        if check or offer.status not in ("new", "renewed"):
            report = report_on(catalogue, name, subscription, offer)
        else:
            report = _apply(catalogue, name, subscription, offer, anchors)
    except Exception as unexpected:
        error = unexpected if isinstance(unexpected, VmimagesError) else _unexpected(unexpected)
        report = _failure(catalogue, name, subscription, error)
        if not check and isinstance(error, TrustError):
            _note_refusal(catalogue, name, offer, error)
    if not check:
        note_poll(catalogue, name, subscription.uri, offer, report.error)
    return report


def report_on(catalogue: Catalogue, name: str, subscription: Subscription, offer: Offer) -> ListReport:
    """What accepting `offer` means for the list, told from the index as it is before that."""
    previous = _version(catalogue, name)
    if offer.status not in ("new", "renewed"):
        return ListReport(name, subscription.uri, offer.status, previous, previous)
    _verified, content = require_message(offer)
    rows = catalogue.rows("SELECT image_id, version, sha512, until FROM images WHERE list_id = ?", name)
    standing = {row["image_id"]: row for row in rows if row["until"] is None}
    images = {image.identifier: image for image in content.images}
    sides = compare(
        {name: row["sha512"] for name, row in standing.items()}, {name: image.sha512 for name, image in images.items()}
    )
    owners = catalogue.rows("SELECT image_id FROM owners WHERE list_id <> ?", name)
    return ListReport(
        identifier=name,
        uri=subscription.uri,
        status=offer.status,
        version=content.version,
        previous_version=previous,
        new_images=tuple(sorted(images.keys() - {row["image_id"] for row in rows})),
        withdrawn_images=sides.removed,
        clashes=tuple(sorted(images.keys() & {row["image_id"] for row in owners})),
        changed_images=sides.changed,
        reused_versions=tuple(name for name in sides.changed if images[name].version == standing[name]["version"]),
    )


def acceptance(writer: Writer, name: str, offer: Offer) -> tuple[str, dict[str, t.Any]]:
    """Store the message of an offer that was just judged, and return the journal event that makes it accepted."""
    verified, content = require_message(offer)
    message, digest = writer.archive(name, offer.octets)
    return (
        "accepted",
        {
            "identifier": name,
            "version": content.version,
            "message": message,
            "message_sha256": digest,
            "content_sha512": content_digest(verified.content),
            "signer": verified.signer.as_dict(),
            "path": [hashlib.sha256(der_of(certificate)).hexdigest() for certificate in verified.path],
            "crls": [crl.as_dict() for crl in verified.crls],
            "good_until": to_text(verified.good_until),
        },
    )


def accepted(
    catalogue: Catalogue, name: str, subscription: Subscription, anchors: AnchorStore, *, rebaseline: str | None = None
) -> Accepted | None:
    """What was accepted last for a list, also from an earlier subscription to it, and what may follow it.

    Whether it stands is judged by the terms of `subscription`; `rebaseline` plans an act that is not recorded yet.
    """
    row = catalogue.standing_version(name)
    if row is None:
        return None
    # Where versions have only risen, none of the contents before can be taken for a new one.
    before = catalogue.rows(
        "SELECT DISTINCT content_sha512 FROM versions WHERE list_id = ? AND content_sha512 <> ? "
        "AND EXISTS (SELECT 1 FROM rebaselines WHERE list_id = ? AND state = 'done')",
        name,
        row["content_sha512"],
        name,
    )
    act = pending_rebaseline(catalogue, name)
    return Accepted(
        version=row["version"],
        content_sha512=row["content_sha512"],
        not_after=from_text(json.loads(row["signer"])["not_after"]),
        stands=Judge(catalogue, anchors=anchors).status(name, subscription, catalogue.now()).code is None,
        set_aside=frozenset(one["content_sha512"] for one in before),
        rebaseline=rebaseline or (act["digest"] if act else None),
    )


def _version(catalogue: Catalogue, name: str) -> str | None:
    row = catalogue.standing_version(name)
    return str(row["version"]) if row else None


def _apply(
    catalogue: Catalogue, name: str, subscription: Subscription, offer: Offer, anchors: AnchorStore
) -> ListReport:
    with catalogue.writing() as writer:
        if subscription_of(catalogue, name) != subscription:
            raise SiteError("state_busy", f"The subscription to {name} was changed while its list was fetched.")
        last, allowed = accepted(catalogue, name, subscription, anchors), authorisation(catalogue, subscription)
        if last != offer.against or allowed != offer.allowed:
            # Somebody has accepted another version since, or removed an endorser: what was verified holds, what
            # follows it may not.
            offer = judge_octets(offer.octets, subscription, anchors, allowed=allowed, last=last, now=catalogue.now())
        report = report_on(catalogue, name, subscription, offer)
        if report.changes:
            writer.commit(acceptance(writer, name, offer))
    return report


def _failure(catalogue: Catalogue, name: str, subscription: Subscription, error: VmimagesError) -> ListReport:
    version = _version(catalogue, name)
    status = "refused" if isinstance(error, TrustError) else "failed"
    return ListReport(name, subscription.uri, status, version, version, error=error)


def _unexpected(error: Exception) -> SiteError:
    """A defect met with one list is that list's refusal, and no reason to leave the others unattended."""
    return SiteError("internal_error", f"An unexpected {type(error).__name__} stopped this list: {error}.")


def _note_refusal(catalogue: Catalogue, name: str, offer: Offer, error: TrustError) -> None:
    known = catalogue.row("SELECT code, at FROM refusals WHERE list_id = ?", name)
    # A server that sends other garbage each time does not fill the journal.
    if known is not None and known["code"] == error.code and catalogue.now() < from_text(known["at"]) + _REFUSAL_REST:
        return
    digest = hashlib.sha256(offer.octets).hexdigest()
    record = {"identifier": name, "code": error.code, "detail": error.detail, "message_sha256": digest}
    with catalogue.writing() as writer:
        writer.commit(("refused", record))
