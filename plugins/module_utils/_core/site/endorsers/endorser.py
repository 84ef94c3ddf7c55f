# Copyright: the hepix.vmimages contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An endorser as a thing of its own: one person, with all the (DN, CA) pairs under which this person may sign."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

from ...errors import SiteError

#: A subject's and its issuer's name, both in slash form.
Pair = tuple[str, str]

MAX_PAIRS: t.Final = 100
_LONGEST: t.Final = 200
_UNPRINTABLE: t.Final = re.compile(r"[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True)
class Endorser:
    """One endorser of the site's registry; `name` is how subscriptions and decisions speak of this person."""

    name: str
    pairs: tuple[Pair, ...]
    email: str = ""
    comment: str = ""

    @classmethod
    def from_options(cls, options: t.Mapping[str, t.Any], *, option: str = "") -> Endorser:
        """Read module options or a journal line's data; ``endorser_invalid`` names the option that is wrong."""
        where = f"{option}." if option else ""
        pairs = read_pairs(options.get("pairs"), f"{where}pairs", required=True)
        return cls(
            name=read_name(options.get("name"), f"{where}name"),
            pairs=pairs,
            email=_text(options.get("email"), f"{where}email"),
            comment=_text(options.get("comment"), f"{where}comment"),
        )

    def as_dict(self) -> dict[str, t.Any]:
        """For the journal, the diff and the result; `from_options` reads it back."""
        return {"name": self.name, "pairs": as_dicts(self.pairs), "email": self.email, "comment": self.comment}


def as_dicts(pairs: t.Iterable[Pair]) -> list[dict[str, str]]:
    """Pairs as options give them."""
    return [{"dn": dn, "ca": ca} for dn, ca in pairs]


def likeness(pair: Pair) -> Pair:
    """The same for every spelling of a pair: one certificate under two names would outlive the removal of one."""
    from ...trust.naming.names import common_spelling

    return common_spelling(pair[0]), common_spelling(pair[1])


def read_pair(item: t.Mapping[str, t.Any], option: str, refuse: t.Callable[[str, str], SiteError]) -> Pair:
    """One pair, each name in the slash form; raises what `refuse` makes of an option's path and a sentence."""
    for key in ("dn", "ca"):
        value = item.get(key)
        if not isinstance(value, str) or not value.startswith("/"):
            raise refuse(f"{option}.{key}", f"{value!r} is not a name in slash form, such as /DC=org/CN=x")
    return item["dn"], item["ca"]


def read_pairs(value: t.Any, option: str, *, required: bool) -> tuple[Pair, ...]:
    """Pairs in a fixed order, each once; ``endorser_invalid``."""
    items = value or ()
    if required and not items:
        raise invalid(option, "at least one pair (dn and ca) is needed: nobody is known by a name alone")
    if len(items) > MAX_PAIRS:
        raise invalid(option, f"there are more than {MAX_PAIRS} pairs")
    found = [read_pair(item, f"{option}[{number}]", invalid) for number, item in enumerate(items)]
    return tuple(sorted(set(found)))


def read_name(value: t.Any, option: str) -> str:
    """A name: text of one line that does not begin like the slash form of a certificate's name."""
    name = _text(value, option)
    if not name or name.startswith("/"):
        raise invalid(option, "a name is needed, such as erin; it does not begin with a slash")
    return name


def invalid(option: str, text: str) -> SiteError:
    """The refusal of an option."""
    return SiteError("endorser_invalid", f"{option}: {text}.", option=option)


def _text(value: t.Any, option: str) -> str:
    text = "" if value is None else value
    if not isinstance(text, str) or _UNPRINTABLE.search(text) or len(text) > _LONGEST:
        raise invalid(option, f"this is not one line of at most {_LONGEST} characters")
    return text.strip()
