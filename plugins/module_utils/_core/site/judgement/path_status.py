# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trust at use: the archived message judged again, with the present time, anchors and CRLs, without any network.

A judgement stands while nothing that it rests on has changed: the message, the subscription's trust options, who may
sign (see `endorsers.warrants`), the files of the anchors directory, and the rules themselves; not beyond the first end
of a certificate or CRL that it used, and not before the time at which it was made. A refusal is never reused.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import sqlite3
import threading
import typing as t
from dataclasses import asdict, dataclass
from datetime import datetime

from ...errors import TrustError, VmimagesError
from ...times import from_text, to_text
from ...trust import anchor_files
from ..endorsers.warrants import Authorisation, Authority
from ..subscription import Subscription, TrustOptions
from .records import keyed_rows
from .verdict import PathStatus

if t.TYPE_CHECKING:
    from ...trust.anchors import Anchors
    from ...trust.steps import Explanation
    from ...trust.verify import Verified
    from ..store.catalogue import Catalogue
    from .records import ListRecord


#: To be raised when the rules of `trust` become stricter, so that no judgement by the old ones stands.
RULES: t.Final = 2


class AnchorStore:
    """Loads each anchors directory or bundle once in a run, whichever thread asks first.

    The fingerprint is taken before the files are read: what changes in between is then seen by the next run.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._fingerprints: dict[str, str] = {}
        self._loaded: dict[str, Anchors] = {}

    def fingerprint(self, path: str) -> str:
        """What tells the present files of the anchors at `path` from others; TrustError ``anchors_unreadable``."""
        with self._lock:
            return self._fingerprint(path)

    def fingerprints(self) -> dict[str, str]:
        """The fingerprints taken so far, by path."""
        with self._lock:
            return dict(self._fingerprints)

    def get(self, path: str) -> Anchors:
        """The anchors at `path`; TrustError ``anchors_unreadable``, ``anchors_unsafe``."""
        from ...trust.anchors import load

        with self._lock:
            if path not in self._loaded:
                self._fingerprint(path)
                self._loaded[path] = load(path)
            return self._loaded[path]

    def _fingerprint(self, path: str) -> str:
        if path not in self._fingerprints:
            self._fingerprints[path] = anchor_files.fingerprint(path)
        return self._fingerprints[path]


def verify(
    octets: bytes,
    trust: TrustOptions,
    anchors: Anchors,
    now: datetime,
    *,
    crls_at: datetime | None = None,
    explanation: Explanation | None = None,
) -> Verified:
    """Verify a message as the trust options say; TrustError otherwise. `crls_at`: see `verify_message`."""
    from ...trust.verify import verify_message

    return verify_message(
        octets,
        anchors,
        now,
        allow_sha1=trust.allow_sha1,
        allow_host=trust.allow_host,
        crl_mode=trust.crl_mode,
        namespaces_mode=trust.namespaces_mode,
        crls_at=crls_at,
        explanation=explanation,
    )


@functools.lru_cache(maxsize=256)
def _told(trust: TrustOptions) -> t.Mapping[str, t.Any]:
    """The trust options by name: many lists have the same."""
    return asdict(trust)


@dataclass(frozen=True)
class _Judgement:
    """A message that stands: until when its path does, by which CRLs, and which of the authorised pairs signed it."""

    good_until: datetime
    crls: tuple[str, ...]
    signer: tuple[tuple[str, str], ...]

    def status(self, allowed: Authorisation) -> PathStatus:
        """As it is while the signer is authorised."""
        until = allowed.until(self.signer)
        return PathStatus(None, "", self.good_until if until is None else min(self.good_until, until), self.crls)


class Judge:
    """Judges many lists in one run: each anchors directory is looked at once, and loaded only when needed.

    With `crls_at`, for audits, the CRLs are those of that time and the judgements those of an earlier one.
    """

    def __init__(
        self, catalogue: Catalogue, *, anchors: AnchorStore | None = None, crls_at: datetime | None = None
    ) -> None:
        self._catalogue = catalogue
        self._crls_at = crls_at
        self._anchors = anchors or AnchorStore()
        self._judged: dict[tuple[str, datetime], PathStatus] = {}
        self._looked_up: dict[str, tuple[sqlite3.Row | None, sqlite3.Row | None]] = {}
        self._authorities: dict[datetime, Authority] = {}

    def status(self, list_id: str, subscription: Subscription, now: datetime) -> PathStatus:
        """How the current message of `list_id` is judged at `now`; a list without one is judged as good."""
        key = (list_id, now)
        if key not in self._judged:
            self._judged[key] = self._status(list_id, subscription, now)
        return self._judged[key]

    def look_up(self, records: t.Mapping[str, ListRecord]) -> None:
        """Read how the messages of many lists were judged before at once; the others' are read when asked for."""
        statement = "SELECT list_id, basis, status FROM paths WHERE list_id IN ({marks})"
        paths = {row["list_id"]: row for row in keyed_rows(self._catalogue, statement, list(records))}
        self._looked_up.update((name, (record.version, paths.get(name))) for name, record in records.items())

    def allowed(self, subscription: Subscription, now: datetime) -> Authorisation:
        """Who may sign the list of a subscription at `now`, by the registry and the endorser lists as they are."""
        if now not in self._authorities:
            self._authorities[now] = Authority(
                self._catalogue,
                lambda list_id, its_own: self.status(list_id, its_own, now),
                now,
                audit=self._crls_at is not None,
            )
        return self._authorities[now].of(subscription)

    def fingerprints(self) -> dict[str, str]:
        """The state of the trust anchors that were looked at so far, by path."""
        return self._anchors.fingerprints()

    def _status(self, list_id: str, subscription: Subscription, now: datetime) -> PathStatus:
        row, path = self._looked_up.get(list_id) or (
            self._catalogue.standing_version(list_id),
            self._catalogue.row("SELECT basis, status FROM paths WHERE list_id = ?", list_id),
        )
        if row is None:
            return PathStatus(None, "", None)
        try:
            allowed = self.allowed(subscription, now)
            basis = self._basis(row["message_sha256"], subscription, allowed)
            known = self._known(path, basis, now)
            if known is None:
                octets = self._catalogue.load(row["message"], row["message_sha256"])
                known = self._judge(octets, subscription, allowed, now)
                self._remember(list_id, basis, known, now)
        except VmimagesError as error:
            return PathStatus(error.code, error.detail, None)
        return known.status(allowed)

    def _basis(self, message_sha256: str, subscription: Subscription, allowed: Authorisation) -> str:
        fingerprint = self._anchors.fingerprint(subscription.trust.anchors)
        parts = [RULES, message_sha256, fingerprint, _told(subscription.trust), allowed.basis]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @staticmethod
    def _known(row: sqlite3.Row | None, basis: str, now: datetime) -> _Judgement | None:
        if row is None or row["basis"] != basis:
            return None
        status = json.loads(row["status"])
        good_until = from_text(status["good_until"])
        if not from_text(status["judged"]) <= now < good_until:
            return None
        return _Judgement(good_until, tuple(status["crls"]), tuple((dn, ca) for dn, ca in status["signer"]))

    def _judge(self, octets: bytes, subscription: Subscription, allowed: Authorisation, now: datetime) -> _Judgement:
        anchors = self._anchors.get(subscription.trust.anchors)
        verified = verify(octets, subscription.trust, anchors, now, crls_at=self._crls_at)
        signer = allowed.matching(verified.certificate)
        if not signer:
            remark = allowed.remark(verified.certificate)
            text = f"{verified.signer.dn} is not an endorser of this subscription."
            raise TrustError("not_authorised", f"{text} {remark}" if remark else text)
        return _Judgement(verified.good_until, tuple(crl.sha256 for crl in verified.crls), signer)

    def _remember(self, list_id: str, basis: str, judged: _Judgement, now: datetime) -> None:
        """Only what stands: a refusal may end by the clock alone, when a CRL or a certificate becomes valid."""
        record = {
            "good_until": to_text(judged.good_until),
            "judged": to_text(now),
            "crls": judged.crls,
            "signer": judged.signer,
        }
        # On a full disk a judgement is as good as ever, and made again next time.
        with contextlib.suppress(VmimagesError):
            self._catalogue.note(
                "INSERT OR REPLACE INTO paths VALUES (?, ?, ?)", list_id, basis, json.dumps(record, sort_keys=True)
            )
