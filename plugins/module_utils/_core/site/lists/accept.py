# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accepting what a list's server offers: the list whole or not at all, by what is known when it is committed."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import typing as t
from dataclasses import replace
from datetime import timedelta

from ...endorserlist.kinds import ENDORSER_LIST
from ...errors import SiteError, TrustError, VmimagesError, unexpected
from ...times import from_text, to_text
from ..endorsers import members
from ..judgement.assess import pending_rebaseline, subscription_of
from ..judgement.path_status import AnchorStore, Judge
from ..judgement.records import keyed_rows
from ..subscription import Subscription
from .offer import Accepted, Offer, judge_octets, require_message
from .polls import note_poll
from .report import ListReport

if t.TYPE_CHECKING:
    from ...imagelist.difference import Sides
    from ..judgement.records import ListRecord
    from ..store.catalogue import Catalogue, Writer

#: How long a refusal with the same code is not journaled again.
_REFUSAL_REST: t.Final = timedelta(days=1)


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
    except Exception as found:
        error = found if isinstance(found, VmimagesError) else unexpected(found, "list")
        report = _failure(catalogue, name, subscription, error)
        if not check and isinstance(error, TrustError):
            _note_refusal(catalogue, name, offer, error)
    if not check:
        note_poll(catalogue, name, subscription.uri, offer, report.error)
    return report


def report_on(catalogue: Catalogue, name: str, subscription: Subscription, offer: Offer) -> ListReport:
    """What accepting `offer` means for the list, told from the index as it is before that."""
    previous = _version(catalogue, name)
    told = ListReport(name, subscription.uri, offer.status, previous, previous, endorsers=_nobody(subscription))
    if offer.status not in ("new", "renewed"):
        return told
    from ...endorserlist.model import EndorserList
    from ...imagelist.difference import compare
    from ...imagelist.model import ImageList

    _verified, content = require_message(offer)
    told = replace(told, version=content.version)
    if isinstance(content, EndorserList):
        return replace(told, endorsers=members.difference(catalogue, name, content))
    if not isinstance(content, ImageList):
        raise SiteError("internal_error", f"The list {name} is of no known kind.")
    rows = catalogue.rows("SELECT image_id, version, sha512, until FROM images WHERE list_id = ?", name)
    standing = {row["image_id"]: row for row in rows if row["until"] is None}
    images = {image.identifier: image for image in content.images}
    sides = compare(
        {name: row["sha512"] for name, row in standing.items()}, {name: image.sha512 for name, image in images.items()}
    )
    statement = "SELECT image_id, list_id FROM owners WHERE image_id IN ({marks})"
    others = {row["image_id"] for row in keyed_rows(catalogue, statement, list(images)) if row["list_id"] != name}
    return replace(
        told,
        new_images=tuple(sorted(images.keys() - {row["image_id"] for row in rows})),
        withdrawn_images=sides.removed,
        clashes=tuple(sorted(others)),
        changed_images=sides.changed,
        reused_versions=tuple(name for name in sides.changed if images[name].version == standing[name]["version"]),
    )


def acceptance(writer: Writer, name: str, offer: Offer) -> tuple[str, dict[str, t.Any]]:
    """Store the message of an offer that was just judged, and return the journal event that makes it accepted."""
    from ...imagelist.check import content_digest
    from ...trust.certificates import der_of

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
    row, act = catalogue.standing_version(name), pending_rebaseline(catalogue, name)
    judge = Judge(catalogue, anchors=anchors)
    due = rebaseline or (act["digest"] if act else None)
    return _accepted(catalogue, subscription, judge, name, row, due)


def accepted_of(catalogue: Catalogue, record: ListRecord, judge: Judge) -> Accepted | None:
    """The same of a list whose record was looked up."""
    act = record.rebaseline
    due = act["content_sha512"] if act else None
    return _accepted(catalogue, record.subscription, judge, record.list_id, record.version, due)


def _accepted(
    catalogue: Catalogue, subscription: Subscription, judge: Judge, name: str, row: sqlite3.Row | None, due: str | None
) -> Accepted | None:
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
    return Accepted(
        version=row["version"],
        content_sha512=row["content_sha512"],
        not_after=from_text(json.loads(row["signer"])["not_after"]),
        stands=judge.status(name, subscription, catalogue.now()).code is None,
        set_aside=frozenset(one["content_sha512"] for one in before),
        rebaseline=due,
    )


def _version(catalogue: Catalogue, name: str) -> str | None:
    row = catalogue.standing_version(name)
    return str(row["version"]) if row else None


def commit(
    writer: Writer,
    subscription: Subscription,
    offer: Offer,
    anchors: AnchorStore,
    *,
    first: t.Sequence[tuple[str, dict[str, t.Any]]] = (),
    rebaseline: str | None = None,
) -> ListReport:
    """Commit the message of an offer, behind the events `first` and in one piece with them.

    What was verified holds; what it may follow, and who may sign, is asked again: somebody may have accepted another
    version since, or removed an endorser. Raises the list's refusal.
    """
    catalogue, name = writer.catalogue, t.cast(str, subscription.identifier)
    last = accepted(catalogue, name, subscription, anchors, rebaseline=rebaseline)
    allowed = Judge(catalogue, anchors=anchors).allowed(subscription, catalogue.now())
    if last != offer.against or allowed != offer.allowed:
        offer = judge_octets(offer.octets, subscription, anchors, allowed=allowed, last=last, now=catalogue.now())
    report = report_on(catalogue, name, subscription, offer)
    events = [*first, *([acceptance(writer, name, offer)] if report.changes else [])]
    if events:
        writer.commit(*events)
    return report


def _apply(
    catalogue: Catalogue, name: str, subscription: Subscription, offer: Offer, anchors: AnchorStore
) -> ListReport:
    with catalogue.writing() as writer:
        if subscription_of(catalogue, name) != subscription:
            raise SiteError("state_busy", f"The subscription to {name} was changed while its list was fetched.")
        return commit(writer, subscription, offer, anchors)


def _failure(catalogue: Catalogue, name: str, subscription: Subscription, error: VmimagesError) -> ListReport:
    version = _version(catalogue, name)
    status = "refused" if isinstance(error, TrustError) else "failed"
    return ListReport(name, subscription.uri, status, version, version, endorsers=_nobody(subscription), error=error)


def unchanged_report(subscription: Subscription, name: str, version: str) -> ListReport:
    """The server says that nothing has changed since `version`, the accepted one."""
    return ListReport(name, subscription.uri, "unchanged", version, version, endorsers=_nobody(subscription))


def _nobody(subscription: Subscription) -> Sides | None:
    """No change among the endorsers of an endorser list; an image list has none."""
    if subscription.kind != ENDORSER_LIST:
        return None
    from ...imagelist.difference import Sides

    return Sides((), (), ())


def _note_refusal(catalogue: Catalogue, name: str, offer: Offer, error: TrustError) -> None:
    known = catalogue.row("SELECT code, at FROM refusals WHERE list_id = ?", name)
    # A server that sends other garbage each time does not fill the journal.
    if known is not None and known["code"] == error.code and catalogue.now() < from_text(known["at"]) + _REFUSAL_REST:
        return
    digest = hashlib.sha256(offer.octets).hexdigest()
    record = {"identifier": name, "code": error.code, "detail": error.detail, "message_sha256": digest}
    with catalogue.writing() as writer:
        writer.commit(("refused", record))
