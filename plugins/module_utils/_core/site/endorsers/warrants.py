# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may sign a list now: the subscription's pairs and names, looked up in the registry at the time of the question.

Nothing here asks the network, and nothing is remembered: an endorser that is removed is gone at the next question.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from datetime import datetime

from ...errors import SiteError
from ..subscription import Named, Subscription
from . import registry
from .endorser import Pair

if t.TYPE_CHECKING:
    from cryptography import x509

    from ..store.catalogue import Catalogue


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
        return [sorted({one.pair for one in self.warrants}), [bar.pair for bar in self.bars], list(self.held)]

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
        bar = self._bar(certificate)
        return " ".join((*((bar.text,) if bar else ()), *self.lost))

    def until(self, pairs: t.Collection[Pair]) -> datetime | None:
        """When the last warrant of these pairs ends; None: never."""
        ends = [one.until for one in self.warrants if one.pair in pairs]
        known = [end for end in ends if end is not None]
        return max(known) if known and len(known) == len(ends) else None

    def _bar(self, certificate: x509.Certificate) -> Bar | None:
        for bar in self.bars:
            if _is(certificate, bar.pair):
                return None if any(_is(certificate, pair) for pair in self.held) else bar
        return None


def authorisation(catalogue: Catalogue, subscription: Subscription) -> Authorisation:
    """Who may sign the list of this subscription now."""
    warrants = [Warrant(pair) for pair in subscription.endorsers]
    lost: list[str] = []
    for named in subscription.named:
        granted, why = _registered(catalogue, named)
        warrants += granted
        lost += [why] if why else []
    rows = registry.barred(catalogue)
    bars = tuple(Bar((row["dn"], row["ca"]), _sentence("The pair", row)) for row in rows)
    return Authorisation(tuple(warrants), bars, registry.held(catalogue) if bars else (), tuple(lost))


def require_known(catalogue: Catalogue, subscription: Subscription) -> None:
    """Refuse a subscription with a name that nobody ever had: ``unknown_endorser``."""
    for named in subscription.named:
        if registry.record(catalogue, named.name) is None:
            raise SiteError("unknown_endorser", f"No endorser {named.name!r} is registered.", name=named.name)


def _registered(catalogue: Catalogue, named: Named) -> tuple[list[Warrant], str]:
    row = registry.record(catalogue, named.name)
    if row is None:
        return [], f"No endorser {named.name} is registered."
    if not row["active"]:
        return [], _sentence("The endorser", row)
    return [Warrant(pair) for pair in registry.pairs_of(catalogue, named.name)], ""


def _sentence(what: str, row: t.Any) -> str:
    because = f": {row['reason'].rstrip('.')}" if row["reason"] else ""
    of = f"of the endorser {row['name']}" if what == "The pair" else row["name"]
    return f"{what} {of} was removed by {row['author']} at {row['at']}{because}."


def _is(certificate: x509.Certificate, pair: Pair) -> bool:
    from ...trust.names import signer_matches

    return signer_matches(certificate, *pair)
