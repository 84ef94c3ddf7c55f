# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may sign a list now: the subscription's pairs and names, looked up in the registry and in the accepted endorser
lists at the time of the question.

Nothing here asks the network, and nothing is remembered: an endorser that is removed is gone at the next question.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, replace
from datetime import datetime

from ...errors import SiteError
from ..judgement.records import list_records
from ..judgement.verdict import PathStatus, earliest, list_end, list_reasons
from ..subscription import Named, Subscription
from . import registry
from .endorser import Pair

if t.TYPE_CHECKING:
    from cryptography import x509

    from ..store.catalogue import Catalogue
    from .terms import Terms


@dataclass(frozen=True)
class Warrant:
    """One pair that may sign; `until` ends that by the clock alone (None: nothing does)."""

    pair: Pair
    until: datetime | None = None


@dataclass(frozen=True)
class Bar:
    """A pair that was taken away, and the sentence that says by whom."""

    pair: Pair
    text: str


@dataclass(frozen=True)
class Authorisation:
    """Who may sign a list. `bars` come first, unless an endorser `held` has the same pair; `lost` says in sentences
    which endorsers that the subscription names authorise nobody."""

    warrants: tuple[Warrant, ...]
    bars: tuple[Bar, ...] = ()
    held: tuple[Pair, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def basis(self) -> list[t.Any]:
        """What a judgement of a signer rests on, as plain JSON."""
        return [sorted({one.pair for one in self.warrants}), [barred.pair for barred in self.bars], list(self.held)]

    def pairs_for(self, certificate: x509.Certificate) -> tuple[Pair, ...]:
        """The pairs among which the signer must be found; none for a signer whose pair was taken away.

        That is asked of the certificate: one name can be written in several ways.
        """
        if self._bar(certificate) is not None:
            return ()
        return tuple(one.pair for one in self.warrants)

    def matching(self, certificate: x509.Certificate) -> tuple[Pair, ...]:
        """Those of the pairs that are the signer's."""
        return tuple(pair for pair in self.pairs_for(certificate) if _is(certificate, pair))

    def remark(self, certificate: x509.Certificate) -> str:
        """What to say of a signer that is not authorised, beside that; may be empty."""
        barred = self._bar(certificate)
        return " ".join((*((barred.text,) if barred else ()), *self.lost))

    def until(self, pairs: t.Collection[Pair]) -> datetime | None:
        """When the last warrant of these pairs ends; None: never."""
        ends = [one.until for one in self.warrants if one.pair in pairs]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None

    def _bar(self, certificate: x509.Certificate) -> Bar | None:
        for barred in self.bars:
            if _is(certificate, barred.pair):
                return None if any(_is(certificate, pair) for pair in self.held) else barred
        return None


class Authority:
    """Tells who may sign the lists of a site at one point in time; what is asked again is looked up once.

    `standing` tells how the message of a list is judged now, offline. In an `audit` it is not known when the servers of
    endorser lists were asked in vain, and does not count.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        standing: t.Callable[[str, Subscription], PathStatus],
        now: datetime,
        *,
        audit: bool = False,
    ) -> None:
        self._catalogue = catalogue
        self._standing = standing
        self._now = now
        self._audit = audit
        self._granted: dict[Named, tuple[tuple[Warrant, ...], str]] = {}
        self._terms: dict[str, Terms | None] = {}
        rows = registry.barred(catalogue)
        self._bars = tuple(Bar((row["dn"], row["ca"]), _removed("The pair", row)) for row in rows)
        self._held = registry.held(catalogue) if rows else ()

    def of(self, subscription: Subscription) -> Authorisation:
        """Who may sign the list of this subscription."""
        warrants = [Warrant(pair) for pair in subscription.endorsers]
        lost: list[str] = []
        for named in subscription.named:
            granted, why = self._grant(named)
            if granted and subscription.origin == named.endorser_list and not self._is_accepted(named):
                # The site's own subscription, which the next refresh will end.
                granted, why = (), f"The site does not accept {named.name} of the endorser list {named.endorser_list}."
            warrants += granted
            lost += [why] if why else []
        return Authorisation(tuple(warrants), self._bars, self._held, tuple(lost))

    def _grant(self, named: Named) -> tuple[tuple[Warrant, ...], str]:
        if named not in self._granted:
            find = self._elected if named.endorser_list else self._registered
            self._granted[named] = find(named)
        return self._granted[named]

    def _is_accepted(self, named: Named) -> bool:
        """Whether the terms on which the site follows an endorser list let this person of it endorse images."""
        if not named.endorser_list:
            return True
        if named.endorser_list not in self._terms:
            record = list_records(self._catalogue, [named.endorser_list])[named.endorser_list]
            self._terms[named.endorser_list] = record.subscription.terms
        terms = self._terms[named.endorser_list]
        return terms is None or terms.accepts(named.name)

    def _registered(self, named: Named) -> tuple[tuple[Warrant, ...], str]:
        row = registry.record(self._catalogue, named.name)
        if row is None:
            return (), f"No endorser {named.name} is registered."
        if not row["active"]:
            return (), _removed("The endorser", row)
        return tuple(Warrant(pair) for pair in registry.pairs_of(self._catalogue, named.name)), ""

    def _elected(self, named: Named) -> tuple[tuple[Warrant, ...], str]:
        """The pairs of somebody whom an endorser list names, while that list is one to be believed."""
        person, list_id = named.name, named.endorser_list
        from . import members

        name = f"the endorser list {list_id}"
        if self._catalogue.row("SELECT 1 FROM lists WHERE list_id = ? AND kind = 'endorserlist'", list_id) is None:
            return (), f"The site does not subscribe to {name}, which should name {person}."
        record = list_records(self._catalogue, [list_id])[list_id]
        facts, subscription = record.facts(), record.subscription
        facts = replace(facts, refreshed=None) if self._audit else facts
        if not record.active:
            return (), f"The site no longer subscribes to {name}, which named {person}."
        if record.version is None:
            return (), f"No version of {name}, which should name {person}, was accepted so far."
        pairs = members.pairs_of(self._catalogue, list_id, person)
        if pairs is None:
            return (), members.absence(self._catalogue, list_id, person)
        status = self._standing(list_id, subscription)
        reasons = list_reasons(facts, status, self._now)
        if reasons:
            return (), f"{person} is named by {name}, which is not believed ({reasons[0].code}): {reasons[0].text}"
        end = earliest(facts.expires, list_end(facts, status))
        return tuple(Warrant(pair, end) for pair in pairs), ""


def require_known(catalogue: Catalogue, subscription: Subscription) -> None:
    """Refuse a subscription with a name that nobody ever had here: ``unknown_endorser``."""
    from . import members

    for named in subscription.named:
        if named.endorser_list:
            known = members.ever(catalogue, named.endorser_list, named.name)
            where = f"in the endorser list {named.endorser_list}"
        else:
            known, where = registry.record(catalogue, named.name) is not None, "registered"
        if not known:
            raise SiteError("unknown_endorser", f"No endorser {named.name!r} is {where}.", name=named.name)


def _removed(what: str, row: t.Any) -> str:
    because = f": {row['reason'].rstrip('.')}" if row["reason"] else ""
    of = f"of the endorser {row['name']}" if what == "The pair" else row["name"]
    return f"{what} {of} was removed by {row['author']} at {row['at']}{because}."


def _is(certificate: x509.Certificate, pair: Pair) -> bool:
    from ...trust.naming.names import signer_matches

    return signer_matches(certificate, *pair)
