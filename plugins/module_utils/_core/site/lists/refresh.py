# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Refresh: ask the servers of many lists at once, then apply what they offer, each list whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import typing as t
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import datetime

from ...errors import SiteError, TrustError, VmimagesError
from ...imagelist.check import content_digest
from ...outcome import Outcome
from ...times import from_text, to_text
from ...transfer.fetch import Validators
from ..judgement import snapshot
from ..judgement.assess import active_lists, pending_rebaseline, subscription_of
from ..judgement.path_status import AnchorStore, Judge
from ..subscription import Subscription
from .offer import Accepted, Offer, fetch_offer, judge_octets, require_message
from .sessions import Sessions

if t.TYPE_CHECKING:
    from ..store.catalogue import Catalogue, Writer

_PARALLEL: t.Final = 32


@dataclass(frozen=True)
class ListReport:
    """What a refresh did for one list, or would do."""

    identifier: str
    uri: str
    status: str
    version: str | None
    previous_version: str | None
    new_images: tuple[str, ...] = ()
    withdrawn_images: tuple[str, ...] = ()
    clashes: tuple[str, ...] = ()
    error: VmimagesError | None = None

    @property
    def changes(self) -> bool:
        """Whether a message was accepted."""
        return self.status in ("new", "renewed")

    def warnings(self) -> tuple[str, ...]:
        """What a person should hear of."""
        return tuple(
            f"Image {image} of list {self.identifier} is refused: its UUID belongs to another list (uuid_clash)."
            for image in self.clashes
        )

    def as_dict(self) -> dict[str, t.Any]:
        """For results and ``--json``."""
        return {
            "identifier": self.identifier,
            "uri": self.uri,
            "status": self.status,
            "version": self.version,
            "previous_version": self.previous_version,
            "new_images": list(self.new_images),
            "withdrawn_images": list(self.withdrawn_images),
            "clashes": list(self.clashes),
            **({"error": self.error.as_dict()} if self.error else {}),
        }


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
        (name, last, _validators(catalogue, name, last))
        for name in names
        for last in (accepted(catalogue, name, subscriptions[name], anchors),)
    ]
    now = catalogue.now()

    with contextlib.ExitStack() as stack:
        sessions = stack.enter_context(Sessions(subscriptions.values()))
        pool = stack.enter_context(ThreadPoolExecutor(max_workers=max(1, min(_PARALLEL, len(names)))))

        def ask(name: str, last: Accepted | None, validators: Validators | None) -> Offer:
            subscription = subscriptions[name]
            session = sessions.of(subscription)
            return fetch_offer(subscription, anchors, last=last, validators=validators, now=now, session=session)

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
    except VmimagesError as error:
        report = _failure(catalogue, name, subscription, error)
        if not check and isinstance(error, TrustError):
            _note_refusal(catalogue, name, offer, error)
    if not check:
        note_poll(catalogue, name, offer, report.error)
    return report


def report_on(catalogue: Catalogue, name: str, subscription: Subscription, offer: Offer) -> ListReport:
    """What accepting `offer` means for the list, told from the index as it is before that."""
    previous = _version(catalogue, name)
    if offer.status not in ("new", "renewed"):
        return ListReport(name, subscription.uri, offer.status, previous, previous)
    _verified, content = require_message(offer)
    endorsed = {image.identifier for image in content.images}
    rows = catalogue.rows("SELECT image_id, until FROM images WHERE list_id = ?", name)
    owners = catalogue.rows("SELECT image_id FROM owners WHERE list_id <> ?", name)
    return ListReport(
        identifier=name,
        uri=subscription.uri,
        status=offer.status,
        version=content.version,
        previous_version=previous,
        new_images=tuple(sorted(endorsed - {row["image_id"] for row in rows})),
        withdrawn_images=tuple(sorted({row["image_id"] for row in rows if row["until"] is None} - endorsed)),
        clashes=tuple(sorted(endorsed & {row["image_id"] for row in owners})),
    )


def accept(writer: Writer, name: str, offer: Offer) -> None:
    """Commit an offer that was just judged against the state that `writer` holds: message first, then the line."""
    verified, content = require_message(offer)
    message, digest = writer.archive(name, offer.octets)
    writer.commit(
        (
            "accepted",
            {
                "identifier": name,
                "version": content.version,
                "message": message,
                "message_sha256": digest,
                "content_sha512": content_digest(verified.content),
                "signer": verified.signer.as_dict(),
                "path": [hashlib.sha256(_der(certificate)).hexdigest() for certificate in verified.path],
                "crls": [crl.as_dict() for crl in verified.crls],
                "good_until": to_text(verified.good_until),
            },
        )
    )


def accepted(
    catalogue: Catalogue, name: str, subscription: Subscription, anchors: AnchorStore, *, rebaseline: str | None = None
) -> Accepted | None:
    """What was accepted last for a list, also from an earlier subscription to it, and what may follow it.

    Whether it stands is judged by the terms of `subscription`; `rebaseline` plans an act that is not recorded yet.
    """
    row = catalogue.row(
        "SELECT version, content_sha512, signer FROM versions WHERE list_id = ? ORDER BY sequence DESC", name
    )
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
    row = catalogue.row("SELECT version FROM versions WHERE list_id = ? ORDER BY sequence DESC", name)
    return str(row["version"]) if row else None


def outcome(reports: t.Sequence[ListReport]) -> Outcome:
    """The reports as one outcome; clashes and failures are warnings, the caller decides whether to fail."""
    changed = [report for report in reports if report.changes]
    return Outcome(
        changed=bool(changed),
        before={report.identifier: {"version": report.previous_version} for report in changed},
        after={report.identifier: {"version": report.version} for report in changed},
        actions=tuple({"action": "accept", "list": item.identifier, "version": item.version} for item in changed),
        warnings=tuple(warning for report in reports for warning in report.warnings()),
        data={
            "lists": [report.as_dict() for report in reports],
            "failures": [
                {"list": report.identifier, "image": None, **report.error.as_dict()}
                for report in reports
                if report.error is not None
            ],
        },
    )


def _apply(
    catalogue: Catalogue, name: str, subscription: Subscription, offer: Offer, anchors: AnchorStore
) -> ListReport:
    with catalogue.writing() as writer:
        if subscription_of(catalogue, name) != subscription:
            raise SiteError("state_busy", f"The subscription to {name} was changed while its list was fetched.")
        last = accepted(catalogue, name, subscription, anchors)
        again = judge_octets(offer.octets, subscription, anchors, last=last, now=catalogue.now())
        report = report_on(catalogue, name, subscription, again)
        if report.changes:
            accept(writer, name, again)
    return report


def _failure(catalogue: Catalogue, name: str, subscription: Subscription, error: VmimagesError) -> ListReport:
    version = _version(catalogue, name)
    status = "refused" if isinstance(error, TrustError) else "failed"
    return ListReport(name, subscription.uri, status, version, version, error=error)


def _note_refusal(catalogue: Catalogue, name: str, offer: Offer, error: VmimagesError) -> None:
    if not isinstance(error, TrustError):
        return
    digest = hashlib.sha256(offer.octets).hexdigest()
    known = catalogue.row("SELECT code, message_sha256 FROM refusals WHERE list_id = ?", name)
    if known is not None and (known["code"], known["message_sha256"]) == (error.code, digest):
        return
    record = {"identifier": name, "code": error.code, "detail": error.detail, "message_sha256": digest}
    with catalogue.writing() as writer:
        writer.commit(("refused", record))


def note_poll(catalogue: Catalogue, name: str, offer: Offer, error: VmimagesError | None) -> None:
    """Note what the server answered: after a success its validators, after a failure none, to be told everything."""
    now = to_text(catalogue.now())
    if error is not None:
        catalogue.note(
            "INSERT INTO polls VALUES (?, NULL, NULL, NULL, ?, ?, ?) ON CONFLICT (list_id) DO UPDATE SET etag = NULL, "
            "last_modified = NULL, checked = excluded.checked, code = excluded.code, detail = excluded.detail",
            name,
            now,
            error.code,
            error.detail,
        )
    elif offer.status == "unchanged":
        catalogue.note("UPDATE polls SET refreshed = ?, checked = ? WHERE list_id = ?", now, now, name)
    else:
        validators = offer.validators or Validators(etag=None, last_modified=None)
        catalogue.note(
            "INSERT OR REPLACE INTO polls VALUES (?, ?, ?, ?, ?, NULL, NULL)",
            name,
            now,
            validators.etag,
            validators.last_modified,
            now,
        )


def last_refreshed(catalogue: Catalogue, name: str) -> datetime | None:
    """When a list was last fetched, or confirmed by its server, with success."""
    row = catalogue.row("SELECT refreshed FROM polls WHERE list_id = ?", name)
    return from_text(row["refreshed"]) if row and row["refreshed"] else None


def _validators(catalogue: Catalogue, name: str, last: Accepted | None) -> Validators | None:
    """None, to be told everything, also when another message than the accepted one is waited for."""
    row = catalogue.row("SELECT etag, last_modified FROM polls WHERE list_id = ?", name)
    if row is None or not (row["etag"] or row["last_modified"]):
        return None
    if last is not None and (not last.stands or last.rebaseline is not None):
        return None
    return Validators(etag=row["etag"], last_modified=row["last_modified"])


def _der(certificate: t.Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return t.cast("bytes", certificate.public_bytes(Encoding.DER))
