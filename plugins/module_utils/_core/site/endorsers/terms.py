# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the site makes of an endorser list: whom it accepts, and what happens with their image lists."""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass

NEW_ENDORSERS: t.Final = ("report", "accept")
LISTS: t.Final = ("report", "subscribe")

#: Makes the refusal of an option from its name and what is wrong.
Refuse = t.Callable[[str, str], Exception]

#: What is settled by the endorser list itself, and never by a template.
_SETTLED: t.Final = frozenset({"uri", "identifier", "endorsers", "authorities", "kind", "origin", "terms"})


@dataclass(frozen=True)
class Terms:
    """`accept`: persons that are accepted whatever `new_endorsers` says of the others; `template`: the options of the
    subscriptions to their lists, as JSON."""

    new_endorsers: str = "report"
    accept: tuple[str, ...] = ()
    lists: str = "report"
    template: str = "{}"

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any], invalid: Refuse) -> Terms:
        """Read module options or a journal line's data; `invalid` makes the error to raise for a wrong one."""
        new_endorsers = options.get("new_endorsers") or "report"
        lists = options.get("lists") or "report"
        for name, value, known in (("new_endorsers", new_endorsers, NEW_ENDORSERS), ("lists", lists, LISTS)):
            if value not in known:
                raise invalid(name, f"{value!r} is none of {', '.join(known)}")
        template = {key: value for key, value in (options.get("subscription") or {}).items() if value is not None}
        for key in sorted(_SETTLED.intersection(template)):
            raise invalid(f"subscription.{key}", "the endorser list says this")
        return cls(
            new_endorsers=new_endorsers,
            accept=tuple(sorted(set(options.get("accept") or ()))),
            lists=lists,
            template=json.dumps(template, sort_keys=True),
        )

    def as_dict(self) -> dict[str, t.Any]:
        """For the journal, the diff and the result; `from_options` reads it back."""
        return {
            "new_endorsers": self.new_endorsers,
            "accept": list(self.accept),
            "lists": self.lists,
            "subscription": json.loads(self.template),
        }

    def accepts(self, person: str) -> bool:
        """Whether the site lets this person of the list endorse images."""
        return self.new_endorsers == "accept" or person in self.accept
